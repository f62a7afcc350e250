"""Plugin of pytest: `--support-record FILE` appends a line for each test with the kinds of runs that it made.

A run counts when it was started as a user starts it and is finished, and the test that made it passed.
`tools/support_matrix.py` makes `docs/support.md` of the file.
"""

from __future__ import annotations

import fcntl
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support_cases import RunCase

FOUND = pytest.StashKey[list["RunCase"]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--support-record", metavar="FILE", help="append the kinds of runs that each test makes")


def pytest_configure(config: pytest.Config) -> None:
    """Record, if that is asked for."""
    if file := config.getoption("--support-record"):
        config.pluginmanager.register(SupportRecord(Path(file).absolute()), "support_record")


class SupportRecord:
    """Looks for finished runs below the temporary folders of this process whenever a test has ended."""

    def __init__(self, file: Path) -> None:
        """Begin a recording.

        Args:
            file: lines are appended to it, by several processes of pytest-xdist as well.
        """
        self.file, self.root = file, Path()
        self.since = datetime.now(UTC).replace(microsecond=0)
        self._seen: set[Path] = set()
        file.parent.mkdir(parents=True, exist_ok=True)

    @pytest.fixture(autouse=True)
    def _temporary_folders(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.root = tmp_path_factory.getbasetemp()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Take the runs before the folders of the test are removed, and record them when it has ended."""
        report = yield
        if report.when == "call" and not report.skipped:
            found = self._new_cases()
            item.stash[FOUND] = found if report.passed else []
        elif report.failed:
            item.stash[FOUND] = []
        if report.when == "teardown" and FOUND in item.stash:
            self._append(item.nodeid, item.stash[FOUND])
        return report

    def _new_cases(self) -> list[RunCase]:
        """Return the cases of the runs that have finished since the last call."""
        from helpers.run_cases import case_of, run_folders

        cases = {folder: case_of(folder, self.since) for folder in run_folders(self.root) if folder not in self._seen}
        found = {folder: case for folder, case in cases.items() if case is not None}
        self._seen |= found.keys()
        return list(found.values())

    def _append(self, test: str, cases: list[RunCase]) -> None:
        from support_cases import line_of

        with self.file.open("a", encoding="utf-8") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            out.write(line_of(test, cases))
