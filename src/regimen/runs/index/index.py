"""The index of all runs: built from their directories; only those that changed since the last read are parsed."""

from __future__ import annotations

import gc
import os
import sqlite3
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from regimen.runs.index import liveness, summary
from regimen.runs.index.summary import COLUMNS, FORMAT, RunSummary

FILE = ".index.sqlite"
TABLE = "CREATE TABLE runs (run TEXT PRIMARY KEY, mtime_ns INT, size INT, inode INT, row TEXT, crc INT)"

BUSY_S = 1.0
"""How long another process may hold the file before it is done without."""

IN_THE_WAY = (
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL),
    *(sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL),
)
"""Errors of a file that may be sound, but cannot be used now: in use elsewhere, not ours to write, no space."""

VERSION = zlib.crc32(f"{FORMAT} {' '.join(COLUMNS)}".encode()) & 0x7FFFFFFF
"""Version of the file's format; a file of another version is rebuilt."""


class Stamp(NamedTuple):
    """File attributes that change with the content of a file."""

    mtime_ns: int
    size: int
    inode: int


class Kept(NamedTuple):
    """What is remembered of a run: the stamp of the run.json that was read, and its row as JSON."""

    stamp: Stamp
    text: str


class Store:
    """The file of one root.

    It is no record: whatever goes wrong with it, runs are read from their directories instead. The journal is
    SQLite's plain one, because write-ahead logging needs memory shared by all readers, which NFS has not.
    """

    def __init__(self, root: Path) -> None:
        """Args: root: folder of runs; the file is made in it."""
        self.path = root / FILE

    def load(self) -> dict[str, Kept]:
        """Return run (path below the root) -> what is kept of it; nothing where there is no usable file."""
        if not self.path.exists():
            return {}
        with self._tolerant(), closing(self._open("rw")) as db:
            if _version(db) == VERSION:
                rows = db.execute("SELECT run, mtime_ns, size, inode, row, crc FROM runs").fetchall()
                if any(zlib.crc32(row[4].encode()) != row[5] for row in rows):
                    raise sqlite3.DatabaseError("a row is not what was written")
                return {row[0]: Kept(Stamp(*row[1:4]), row[4]) for row in rows}
        return {}

    def save(self, changed: dict[str, Kept], gone: Iterable[str]) -> None:
        """Store the rows that were read and delete those of removed runs, in one short transaction.

        Args:
            changed: run -> what to keep; runs whose names SQLite may not take are left out, and read every time.
            gone: runs to delete from the cache.
        """
        with self._tolerant(), closing(self._open("rwc")) as db:
            db.execute("BEGIN IMMEDIATE")
            if _version(db) != VERSION:
                db.execute("DROP TABLE IF EXISTS runs")
                db.execute(TABLE)
                db.execute(f"PRAGMA user_version = {VERSION}")
            rows = [(run, *k.stamp, k.text, zlib.crc32(k.text.encode())) for run, k in changed.items() if run.isascii()]
            db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.executemany("DELETE FROM runs WHERE run = ?", [(run,) for run in gone])
            db.execute("COMMIT")

    def _open(self, mode: str) -> sqlite3.Connection:
        where = f"{self.path.absolute().as_uri()}?mode={mode}"
        db = sqlite3.connect(where, uri=True, timeout=BUSY_S, isolation_level=None)
        db.execute("PRAGMA synchronous = OFF")  # a crash of the machine may break it: it is checked, and rebuilt
        return db

    @contextmanager
    def _tolerant(self) -> Iterator[None]:
        """Ignore the file if it cannot be used; remove it if it is corrupt."""
        try:
            yield
        except (sqlite3.Error, TypeError, AttributeError) as error:  # the latter of cells of another kind
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in IN_THE_WAY:
                return
            for name in (f"{FILE}-journal", FILE):
                with suppress(OSError):
                    self.path.with_name(name).unlink(missing_ok=True)


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


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
        with without_garbage_collection():
            found = [run for root in self.roots for run, _ in read_root(root)]
            liveness.judge(found)
            return sorted(found, key=lambda run: (run.began, run.id), reverse=True)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Make thousands of small objects, none of them garbage, without looking for garbage among them all the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_root(root: Path) -> list[tuple[RunSummary, Stamp | None]]:
    """Return the runs of one root as recorded; cache those that had to be read.

    Args:
        root: folder of runs and of sweeps.

    Returns:
        Each run with the stamp of its run.json; None where that was written so recently that it may change unseen.
    """
    store = Store(root)
    kept = store.load()
    settled = time.time_ns() - SETTLED_NS
    found: list[tuple[RunSummary, Stamp | None]] = []
    unchanged: dict[str, Kept] = {}
    changed: dict[str, Kept] = {}
    gone = set(kept)
    for run, stamp in scan(root):
        known = kept.get(run)
        if known is not None and known.stamp == stamp:
            unchanged[f"{root}/{run}"] = known
        elif (fresh := summary.read(f"{root}/{run}")) is not None:
            is_settled = stamp.mtime_ns < settled
            found.append((fresh, stamp if is_settled else None))
            if is_settled:
                changed[run] = Kept(stamp, summary.pack(fresh))
        else:
            continue
        gone.discard(run)
    if changed or gone:
        store.save(changed, gone)
    rows = summary.unpack([entry.text for entry in unchanged.values()], list(unchanged))
    return found + [(row, entry.stamp) for row, entry in zip(rows, unchanged.values(), strict=True)]


def scan(root: Path) -> Iterator[tuple[str, Stamp]]:
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
