"""The index of all runs: built from their directories; only those that changed since the last read are parsed."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from regimen.runs.index import liveness, summary
from regimen.runs.index.cache import Kept, Stamp, Store
from regimen.runs.index.summary import RunSummary

ROOTS = (Path("outputs"), Path("multirun"))
"""Where runs are looked for: directly below, and one folder deeper for the jobs of a sweep."""

SETTLED_NS = 2_000_000_000
"""A file written more recently than this could be written again within one tick of its file system's clock."""


class Index:
    """All runs below some folders.

    Args:
        roots: folders of runs and of sweeps.
    """

    def __init__(self, roots: Sequence[Path] = ROOTS) -> None:
        self.roots = roots

    def rows(self) -> list[RunSummary]:
        """Return all runs as they are now, newest first.

        A run whose run.json cannot be read is among them, with the status `unreadable`; one recorded as `running`
        that no process works on has the status `lost`.
        """
        with _no_garbage_collection():
            found = [run for root in self.roots for run in _rows(root)]
            liveness.judge(found)
            return sorted(found, key=lambda run: (run.began, run.id), reverse=True)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Make thousands of small objects, none of them garbage, without looking for garbage among them all the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _rows(root: Path) -> list[RunSummary]:
    """Return the runs of one root; cache those that had to be read."""
    store = Store(root)
    kept = store.load()
    settled = time.time_ns() - SETTLED_NS
    found: dict[str, RunSummary] = {}
    changed: dict[str, Kept] = {}
    for run, stamp in _scan(root):
        known = kept.get(run)
        if known is not None and known.stamp == stamp:
            found[run] = summary.unpack(known.text, f"{root}/{run}")
            continue
        fresh = summary.read(f"{root}/{run}")
        if fresh is None:
            continue
        found[run] = fresh
        if stamp.mtime_ns < settled:
            changed[run] = Kept(stamp, summary.pack(fresh))
    gone = kept.keys() - found.keys()
    if changed or gone:
        store.save(changed, gone)
    return list(found.values())


def _scan(root: Path) -> Iterator[tuple[str, Stamp]]:
    """Yield (path below the root, stamp of its run.json) of every run."""
    for name in _folders(str(root)):
        stamp = _stamp(f"{root}/{name}/run.json")
        if stamp:
            yield name, stamp
            continue
        for job in _folders(f"{root}/{name}"):
            stamp = _stamp(f"{root}/{name}/{job}/run.json")
            if stamp:
                yield f"{name}/{job}", stamp


def _folders(path: str) -> list[str]:
    """Return the names of the folders in a folder; those that begin with a dot are no runs."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir()]
    except OSError:  # it is gone, or not ours to read
        return []


def _stamp(path: str) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
