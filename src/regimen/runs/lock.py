"""Exclusive lock of a run: one supervisor and its workers at a time, across machines.

The lock of `.supervisor` is a plain `flock`, not `files.locked` nor a library: workers inherit its open file, so that
it lasts until the last of them has ended, and a check for a free run takes it shared. The file's time is
the heartbeat for other machines and must not change with the lock.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from regimen.runs.record import read_record
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.runs.timeouts import HEARTBEAT_FRESH_S, HEARTBEAT_S
from regimen.system import files, host
from regimen.system.errors import PreflightError

ATTEMPTS, ATTEMPT_S = 5, 0.05

WRITTEN = ("checkpoints", "judging", "data", "figures", "logs", "tb", "videos", "report", ".hydra")
"""Folders of a run that Regimen itself writes to; loggers have folders of their own."""


@contextmanager
def hold_lock(run: Run) -> Iterator[IO[str]]:
    """Hold the exclusive lock of a run for this process and its workers; it is released when the last of them ends.

    Args:
        run: to work on.

    Raises:
        PreflightError: another process works on it, or its directory is not writable.
    """
    try:
        file = files.open_own(_lock(run), "a")  # append mode keeps its modification time
    except OSError as error:
        raise PreflightError(f"Cannot work in {run.dir}: {error.strerror}. It must be yours to write in.") from error
    with file:
        if not _locked(file):
            raise PreflightError(_taken(run))
        if read_record(run.dir) is None:
            raise PreflightError(f"There is no run {run.id} any more: it was removed at this very moment.")
        if _has_living_owner(run):
            raise PreflightError(_taken(run))
        if links := list(_links_outside(run.dir, run.dir)):
            raise PreflightError(
                f"{os.path.relpath(links[0])} is a link that leads out of the run directory: nothing is written there. "
                "Put the files themselves in its place, or start a new run."
            )
        heartbeat(run)
        yield file


def _links_outside(folder: Path, run_dir: Path) -> Iterator[Path]:
    """Yield what is a link to somewhere else in a run directory and the folders that Regimen writes to."""
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_symlink() and not path.resolve().is_relative_to(run_dir):
            yield path
        elif folder == run_dir and entry.name in WRITTEN and entry.is_dir(follow_symlinks=False):
            yield from _links_outside(path, run_dir)


def _locked(file: IO[str]) -> bool:
    """Take the lock; retry, because a check for a free run holds it for an instant."""
    for _ in range(ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(ATTEMPT_S)
    return False


def is_free(run: Run) -> bool:
    """Return whether no process works on the run, so that `hold_lock` would succeed."""
    with suppress(FileNotFoundError), files.open_own(_lock(run), "r") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return not _has_living_owner(run)


def heartbeat(run: Run) -> None:
    """Set the heartbeat of the run to the present time."""
    with suppress(OSError):
        os.utime(_lock(run), follow_symlinks=False)


@contextmanager
def heartbeats(run: Run) -> Iterator[None]:
    """Renew the heartbeat of the run from a thread, during work that may take longer than its interval.

    Args:
        run: held by this process.
    """
    done = threading.Event()

    def renew() -> None:
        while not done.wait(HEARTBEAT_S):
            heartbeat(run)

    thread = threading.Thread(target=renew, name="heartbeats", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def seconds_since_heartbeat(folder: Path) -> float:
    """Return the age of the heartbeat of a run in seconds, infinite if there is none.

    Args:
        folder: the run directory.
    """
    try:
        return time.time() - (folder / ".supervisor").stat().st_mtime
    except OSError:
        return float("inf")


def _has_living_owner(run: Run) -> bool:
    """Return whether the recorded supervisor is alive, for file systems that do not share locks between machines."""
    record = read_record(run.dir)
    if record is None or record.status != Status.RUNNING or not record.supervisor or record.supervisor.is_this_one:
        return False
    alive = host.is_alive(record.supervisor)
    return seconds_since_heartbeat(run.dir) < HEARTBEAT_FRESH_S if alive is None else alive


def _lock(run: Run) -> Path:
    return run.dir / ".supervisor"


def _taken(run: Run) -> str:
    record = read_record(run.dir)  # None if a clean holds the run and has moved it away
    owner = record.supervisor if record else None
    if owner is None:
        return f"running already: run {run.id} is being started by another process."
    if host.is_alive(owner) is False:
        return (
            f"running still: the supervisor of run {run.id} is gone, but its worker is saving what it has. "
            "Try again in a minute."
        )
    where = f"process {owner.pid} on {owner.host}"
    return f"running already: run {run.id} is worked on by {where}. Stop that one first (kill {owner.pid})."
