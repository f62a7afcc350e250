"""Data of the support page: which kinds of runs the tests make, and the file that holds them."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, order=True)
class RunCase:
    """One kind of run: what it does and how it was started.

    Attributes:
        stage: option of `conf/stage`.
        task: option of `conf/task`, or `own` for a task of the test; of a run that opens no environment the task of its
            data, empty for imported data.
        sim: option of `conf/sim`, or the library of a task that brings its own simulator, `own` for one of the test;
            empty without a simulator.
        agent: option of `conf/agent`, `scripted` or `human`; empty for a stage that uses none.
        env_id: name of the task in its library.
        physics: engine of Isaac Lab as typed; empty for the task's own.
        device: torch device.
        workers: processes that train together.
        nodes: machines.
        actors: processes that act for a learner.
        transport: channel between these: `http` or `ray`.
        scheduler: `slurm`, `submitit_local`, or empty.
        array: whether it was a task of an array of the scheduler.
        resumed: whether it was stopped and resumed.
        pipeline: option of `conf/pipeline` of which it is a step.
        experiment: option of `conf/experiment`.
        loggers: options of `conf/logger`, joined by commas.
    """

    stage: str
    task: str
    sim: str
    agent: str
    env_id: str = ""
    physics: str = ""
    device: str = "cpu"
    workers: int = 1
    nodes: int = 1
    actors: int = 0
    transport: str = ""
    scheduler: str = ""
    array: bool = False
    resumed: bool = False
    pipeline: str = ""
    experiment: str = ""
    loggers: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object, without the fields that have their default."""
        values = asdict(self)
        return {f.name: values[f.name] for f in fields(self) if values[f.name] != f.default}


Tests = dict[RunCase, set[str]]
"""Case -> ids of the tests that make such a run, `tests/<file>::<function>` without parameters."""


@dataclass
class SupportData:
    """Content of the data file.

    Attributes:
        runs: the cases and their tests.
        files: test files of which a recording has at least one test.
    """

    runs: Tests = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Return the content of a data file."""
        data = json.loads(file.read_text(encoding="utf-8"))
        return cls({RunCase(**row["run"]): set(row["tests"]) for row in data["runs"]}, set(data["files"]))

    @property
    def text(self) -> str:
        """Content of a data file: sorted, a line for each case."""
        rows = ({"run": case.to_dict(), "tests": sorted(self.runs[case])} for case in sorted(self.runs))
        runs, files = (",\n".join(map(json.dumps, lines)) for lines in (rows, sorted(self.files)))
        return f'{{"runs": [\n{runs}\n],\n"files": [\n{files}\n]}}\n'

    def merge(self, recording: str) -> None:
        """Take a recording, see `line_of`.

        A recorded test replaces its earlier runs by those that it made; a test that no longer exists is left out, and
        one that was not recorded, such as a skipped one, stays.

        Args:
            recording: lines of tests that have ended, in any order.
        """
        lines = [json.loads(line) for line in recording.splitlines()]
        replaced = {line["test"] for line in lines}
        merged = {case: {test for test in tests - replaced if exists(test)} for case, tests in self.runs.items()}
        for line in lines:
            for run in line["runs"]:
                merged.setdefault(RunCase(**run), set()).add(line["test"])
        self.runs = {case: tests for case, tests in merged.items() if tests}
        files = self.files | {test.partition("::")[0] for test in replaced}
        self.files = {file for file in files if (ROOT / file).is_file()}


def line_of(test: str, cases: Iterable[RunCase]) -> str:
    """Return the line of a recording for a test that has ended.

    Args:
        test: its id, with or without parameters.
        cases: of the runs that it made; none if it failed.
    """
    return json.dumps({"test": test.partition("[")[0], "runs": [case.to_dict() for case in sorted(set(cases))]}) + "\n"


def exists(test: str) -> bool:
    """Return whether the test file of an id has a test function of this name."""
    file, _, name = test.partition("::")
    return name in _functions(ROOT / file)


@cache
def _functions(file: Path) -> frozenset[str]:
    """Return the names of a file's functions, those of a class as `Class::function`."""
    if not file.is_file():
        return frozenset()
    body = ast.parse(file.read_text(encoding="utf-8")).body
    own = {part.name for part in body if isinstance(part, ast.FunctionDef)}
    classes = [part for part in body if isinstance(part, ast.ClassDef)]
    return frozenset(
        own | {f"{c.name}::{part.name}" for c in classes for part in c.body if isinstance(part, ast.FunctionDef)}
    )
