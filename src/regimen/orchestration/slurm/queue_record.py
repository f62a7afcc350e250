"""The `queue` field of run.json: which scheduler has the run, and as which job."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regimen.runs.run import Run
from regimen.system import files


def note(run: Run, kind: str, job: str, folder: Path, parents: Iterable[str], **more: Any) -> None:
    """Write which job a run is.

    Args:
        run: which may have begun already.
        kind: of scheduler.
        job: its name there.
        folder: of its logs.
        parents: jobs it waits for.
        more: what else is known of the job.
    """
    queue = {"kind": kind, "job": job, "folder": str(folder), "submitted": files.now(), "after": list(parents), **more}
    run.amend(lambda info: {"queue": {**queue, **_kept(info)}})


def _kept(info: dict[str, Any]) -> dict[str, Any]:
    """Return what the job itself has written meanwhile."""
    return {k: v for k, v in (info["queue"] or {}).items() if k in ("restarts", "again")}
