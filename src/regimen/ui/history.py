"""The state behind all pages: the runs as they are now, and what was opened of them."""

from __future__ import annotations

import asyncio
import shlex
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from regimen.orchestration.slurm.job_states import ask_schedulers
from regimen.runs.history.curves import MetricColumns
from regimen.runs.history.filters import Filter, near_misses, order, parse, select
from regimen.runs.history.lineage import Lineage
from regimen.runs.history.run_view import RunView, open_view_dir
from regimen.runs.index.index import ROOTS
from regimen.runs.index.live import LiveIndex
from regimen.runs.index.summary import RunSummary
from regimen.system.errors import ConfigError, RunReferenceError

REFRESH_S = 2.0
"""Least time between two looks at all run directories."""

SHARE = 10.0
"""The time between two looks is at least so many times what a look takes."""

UNUSED_S = 30.0
"""Time without a reader after which the directories are no longer looked at."""

KEPT_CURVES = 8
"""Runs whose metrics stay in memory."""

NEWEST_FIRST = "-started"


@dataclass
class Selection:
    """What a filter selects.

    Attributes:
        runs: in order.
        total: number of all runs.
        problem: why the filter is none, empty if it is one.
        hints: near values, where nothing matches.
    """

    runs: Sequence[RunSummary]
    total: int
    problem: str = ""
    hints: list[str] = field(default_factory=list)


class History:
    """All runs below some folders, for the pages of a server."""

    def __init__(self, roots: Sequence[Path] = ROOTS) -> None:
        """Args: roots: folders of runs and of sweeps."""
        self._index = LiveIndex(roots, ask_schedulers)
        self._lock = threading.RLock()
        self._columns: OrderedDict[str, MetricColumns] = OrderedDict()
        self._selections: OrderedDict[tuple[int, str, str], Selection] = OrderedDict()
        self._by_id: dict[str, RunSummary] = {}
        self._family: tuple[int, Lineage] | None = None
        self._asked = time.monotonic()

    @property
    def version(self) -> int:
        """Raised whenever any run changed; 0 before the first look."""
        return self._index.version

    @property
    def rows(self) -> list[RunSummary]:
        """All runs, newest first."""
        self._asked = time.monotonic()
        return self._index.rows

    def refresh(self) -> bool:
        """Look at the directories; return whether anything changed."""
        with self._lock:
            changed = self._index.refresh()
            if changed:
                self._by_id = {row.id: row for row in self._index.rows}
            return changed

    async def watch(self) -> None:
        """Look at the directories for as long as the server works, and only while pages are read."""
        while True:
            took = 0.0
            if time.monotonic() - self._asked < UNUSED_S or not self.version:
                begin = time.monotonic()
                await asyncio.to_thread(self.refresh)
                took = time.monotonic() - begin
            await asyncio.sleep(max(REFRESH_S, SHARE * took))

    async def ready(self) -> None:
        """Wait until the runs are there, and bring them up to date where no page was read for a while."""
        stale = time.monotonic() - self._asked > UNUSED_S
        self._asked = time.monotonic()
        if stale:
            await asyncio.to_thread(self.refresh)
        elif not self.version:
            await asyncio.to_thread(self._begin)

    def _begin(self) -> None:
        """Look at the directories unless `watch` has done so meanwhile."""
        with self._lock:
            if not self.version:
                self.refresh()

    def find(self, run_id: str) -> RunSummary | None:
        """Return the row of a run, None where there is none of this id (any more)."""
        self._asked = time.monotonic()
        return self._by_id.get(run_id)

    def open(self, run_id: str) -> RunView:
        """Return a run as its files describe it now.

        Raises:
            RunReferenceError: there is no run of this id (any more), or its record cannot be read.
        """
        row = self.find(run_id)
        if row is None or not row.dir.is_dir():
            raise RunReferenceError(f"There is no run {run_id} below outputs or multirun (any more).")
        return open_view_dir(row.dir)

    def select(self, text: str, sort: str = NEWEST_FIRST) -> Selection:
        """Return the runs that the words of a filter select, as `regimen runs` does; the last ones are remembered.

        Args:
            text: words such as `task=reach status=failed since=3d`; quotes hold spaces.
            sort: keys, as of `regimen runs --sort`.
        """
        rows = self.rows
        key = (self.version, text, sort)
        is_timed = "since=" in text or "until=" in text  # which means another moment each time
        if key in self._selections and not is_timed:
            return self._selections[key]
        found = self._select(text, sort, rows)
        self._selections[key] = found
        while len(self._selections) > KEPT_CURVES:
            self._selections.popitem(last=False)
        return found

    def _select(self, text: str, sort: str, rows: list[RunSummary]) -> Selection:
        try:
            filters = words(text)
            chosen = select(filters, rows)
            ordered = chosen if sort == NEWEST_FIRST else order(chosen, sort, rows)
        except ConfigError as error:
            return Selection([], len(rows), str(error))
        return Selection(ordered, len(rows), hints=near_misses(filters, rows) if not ordered else [])

    @property
    def family(self) -> Lineage:
        """Parents and children of all runs."""
        version, rows = self.version, self.rows
        if self._family is None or self._family[0] != version:
            self._family = (version, Lineage(rows))
        return self._family[1]

    def columns(self, run: RunView) -> MetricColumns:
        """Return the metrics of a run, those that were read before included; `refresh` reads on."""
        key = str(run.dir)
        found = self._columns.pop(key, None) or MetricColumns(run.dir, orjson.loads)
        self._columns[key] = found
        while len(self._columns) > KEPT_CURVES:
            self._columns.popitem(last=False)
        return found


def words(text: str) -> list[Filter]:
    """Return the filters of a typed line.

    Raises:
        ConfigError: a word is no filter, or a quote is open.
    """
    try:
        return parse(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"`{text}`: a quote is not closed.") from error
