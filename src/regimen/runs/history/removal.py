"""Removal of runs: lock the run against supervisors, move it to a trash folder atomically, then delete it."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from regimen.runs.history import retention
from regimen.runs.index import summary
from regimen.runs.index.index import Index
from regimen.runs.index.summary import COLUMNS, RunSummary
from regimen.system import files

TRASH = ".trash-"
"""Beginning of the folder a run is moved to below its root; no list of runs looks into it."""

BATCH = 200
"""Runs moved before they are deleted; each keeps a file open."""

CHANGED = "it has changed meanwhile"


@dataclass
class Moved:
    """A run out of sight, which can still be put back.

    Attributes:
        run: its row.
        trash: where it is now.
        lock: its `.supervisor`, held, so that no other process resumes or deletes the run.
    """

    run: RunSummary
    trash: Path
    lock: IO[str]

    def put_back(self) -> str:
        """Undo the move; return what to add to the reason if that cannot be done."""
        try:
            self.trash.rename(self.run.dir)
        except OSError as error:
            return f"; it could not be put back ({error.strerror}) and is in {self.trash}"
        finally:
            self.lock.close()
        return ""

    def delete(self) -> dict[str, str]:
        """Remove it for good; return id -> what is left, if something is."""
        self.lock.close()  # before: NFS keeps a file that is open, and with it the folder
        try:
            delete(self.trash)
        except OSError as error:
            return {self.run.id: f"parts of it are left in {self.trash}: {error.strerror}"}
        return {}


def remove(runs: Sequence[RunSummary], roots: Sequence[Path]) -> dict[str, str]:
    """Remove runs; return id -> why, of those that stayed.

    A run is first moved, and put back if it changed since it was chosen, or if a run that stays, perhaps made
    meanwhile, names it. Newer runs go first: where a child cannot be removed, its parents are not.

    Args:
        runs: as they were when they were chosen.
        roots: folders of runs and of sweeps.
    """
    stayed: dict[str, str] = {}
    ordered = sorted(runs, key=lambda run: run.began, reverse=True)
    for first in range(0, len(ordered), BATCH):
        moved = [one for run in ordered[first : first + BATCH] for one in _moved(run, roots, stayed)]
        changed = [one for one in moved if not _is_same(one.run, summary.read(os.fspath(one.trash)))]
        stayed |= {one.run.id: CHANGED + one.put_back() for one in changed}
        going = [one for one in moved if one not in changed]
        needed = retention.needed_by([one.run for one in going], Index(roots).rows())
        for one in going:
            if one.run.id in needed:
                stayed[one.run.id] = needed[one.run.id] + one.put_back()
            else:
                stayed |= one.delete()
    return stayed


def remove_files(run: RunSummary, paths: Sequence[Path]) -> str | None:
    """Remove some files of a run; return why not, if it is worked on, or if one lies elsewhere by a link.

    Args:
        run: as it was when they were chosen.
        paths: in its directory.
    """
    try:
        with _lock(run.dir):
            if not _is_same(run, summary.read(run.path)):
                return CHANGED
            for path in paths:
                if not path.resolve().is_relative_to(run.dir.resolve()):
                    return f"{path} leads out of its directory: remove what is there by hand"
            for path in paths:
                path.unlink(missing_ok=True)
    except OSError as error:
        return _why(error)
    return None


def leftovers(roots: Iterable[Path]) -> list[Path]:
    """Return what an interrupted removal left behind, without what another process is removing now.

    Args:
        roots: folders of runs, of sweeps and of copies of code.
    """
    return [
        path
        for root in roots
        for path in sorted(root.glob(f"{TRASH}*"))
        if not path.is_symlink() and not _is_held(path)
    ]


def delete(folder: Path) -> None:
    """Remove a folder, of which another process may remove parts at the same time."""
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue


def delete_unused(copy: Path, since: float) -> None:
    """Remove a copy of code, unless a launch has chosen it since; it is moved first, so that no part of it is used.

    Args:
        copy: folder that `code_snapshot.take` returned.
        since: time in seconds since the epoch.
    """
    trash = copy.with_name(f"{TRASH}code-{copy.name}-{secrets.token_hex(2)}")
    try:
        copy.rename(trash)
    except FileNotFoundError:  # another process was first
        return
    if trash.stat().st_mtime > since:
        with suppress(OSError):  # the launch has made another copy meanwhile
            trash.rename(copy)
            return
    delete(trash)


def _moved(run: RunSummary, roots: Sequence[Path], stayed: dict[str, str]) -> Iterator[Moved]:
    """Yield the run, moved; note in `stayed` why it cannot be."""
    root = next(root for root in roots if run.dir.is_relative_to(root))
    trash = root / f"{TRASH}{run.id}-{secrets.token_hex(2)}"
    try:
        lock = _lock(run.dir)
    except OSError as error:
        stayed[run.id] = _why(error)
        return
    try:
        run.dir.rename(trash)
    except OSError as error:
        stayed[run.id] = _why(error)
        lock.close()
    else:
        yield Moved(run, trash, lock)


def _why(error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        return "another process has started to work on it"
    if isinstance(error, FileNotFoundError):
        return "it is gone already"
    return f"it cannot be removed: {error.strerror}"


def _lock(folder: Path, mode: str = "a") -> IO[str]:
    """Take the lock that a supervisor holds while it works; BlockingIOError where one does."""
    # append mode keeps its modification time, which is the heartbeat
    file = files.open_own(folder / ".supervisor", mode)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file


def _is_held(folder: Path) -> bool:
    try:
        _lock(folder, "r+").close()  # nothing is created in a folder that another process deletes
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_same(before: RunSummary, now: RunSummary | None) -> bool:
    """Return whether a record is what it was; `lost` is not recorded, and a moved run has another name and folder."""
    names = [name for name in COLUMNS if name not in ("id", "status", "sweep")]
    return now is not None and all(getattr(now, name) == getattr(before, name) for name in names)
