"""The index of a process that shows all runs for hours: rows stay in memory, and only what changed is read again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen.runs.index import liveness, summary
from regimen.runs.index.index import ROOTS, SETTLED_NS, Stamp, read_root, scan, without_garbage_collection
from regimen.runs.index.summary import RunSummary
from regimen.runs.status import Status


@dataclass
class _Known:
    """A run in memory: its row, the stamp of the run.json that was read, and the status as recorded there."""

    row: RunSummary
    stamp: Stamp | None
    recorded: Status


class LiveIndex:
    """All runs below some folders, for repeated reading.

    Attributes:
        version: raised whenever a run was added, removed, changed, or has another status.
        rows: all runs as of the last `refresh`, newest first.
    """

    def __init__(
        self, roots: Sequence[Path] = ROOTS, ask: Callable[[list[RunSummary]], None] = lambda rows: None
    ) -> None:
        """Prepare an index; nothing is read before the first `refresh`.

        Args:
            roots: folders of runs and of sweeps.
            ask: updates the rows of runs that a scheduler has.
        """
        self.version = 0
        self.rows: list[RunSummary] = []
        self._roots, self._ask = roots, ask
        self._known: dict[str, _Known] = {}
        self._shown: dict[str, tuple[int, Status]] = {}

    def refresh(self) -> bool:
        """Read what changed; return whether anything did."""
        with without_garbage_collection():
            known: dict[str, _Known] = {}
            for root in self._roots:
                known |= self._again(root) if self._known else self._first(root)
            self._known = known
            for entry in known.values():
                entry.row.status = entry.recorded
            rows = [entry.row for entry in known.values()]
            liveness.judge(rows)
            self._ask(rows)
            shown = {row.path: (id(known[row.path].row), row.status) for row in rows}
            if shown == self._shown and self.version:
                return False
            self.rows = sorted(rows, key=lambda run: (run.began, run.id), reverse=True)
            self._shown = shown
            self.version += 1
            return True

    def _first(self, root: Path) -> dict[str, _Known]:
        return {row.path: _Known(row, stamp, row.status) for row, stamp in read_root(root)}

    def _again(self, root: Path) -> dict[str, _Known]:
        """Return the runs of a root; those whose run.json has the stamp of the last time are not read."""
        settled = time.time_ns() - SETTLED_NS
        found = {}
        for name, stamp in scan(root):
            path = f"{root}/{name}"
            old = self._known.get(path)
            if old is not None and old.stamp == stamp:
                found[path] = old
            elif (row := summary.read(path)) is not None:
                if old is not None and old.stamp is None and summary.pack(row) == summary.pack(_as_recorded(old)):
                    row = old.row  # it was read again only because it was new
                found[path] = _Known(row, stamp if stamp.mtime_ns < settled else None, row.status)
        return found


def _as_recorded(known: _Known) -> RunSummary:
    known.row.status = known.recorded
    return known.row
