"""Write the field `queue` of run.json: scheduler and job of a run."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from regimen.runs.run import Run
from regimen.system import files


def record_job(run: Run, kind: str, job: str, folder: Path, parents: Iterable[str], **more: Any) -> None:
    """Record the job of a run in run.json, keeping fields that the job has already written.

    Args:
        run: run that was submitted and may have started.
        kind: scheduler: `slurm` or `submitit_local`.
        job: id of the job.
        folder: folder of its logs.
        parents: jobs that must succeed first.
        more: further fields.
    """
    queue = {"kind": kind, "job": job, "folder": str(folder), "submitted": files.now(), "after": list(parents), **more}

    def change(info: dict[str, Any]) -> dict[str, Any]:
        written_by_job = {k: v for k, v in (info["queue"] or {}).items() if k in ("restarts", "again")}
        return {"queue": {**queue, **written_by_job}}

    run.amend(change)
