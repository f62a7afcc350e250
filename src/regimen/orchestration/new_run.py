"""Create one run from a checked configuration, and start or submit it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from regimen.display.console import say
from regimen.runs.outcome import not_started
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import signals
from regimen.system.errors import raise_if_any
from regimen.system.secrets import redacted

if TYPE_CHECKING:
    from regimen.config.compose import ComposedConfig
    from regimen.config.yaml_io import PlainConfig
    from regimen.orchestration.preflight_report import PreflightReport
    from regimen.runs.create import Decided
    from regimen.system.git import Repository


def check_scheduler(jobs: Iterable[ComposedConfig], existing: Iterable[PlainConfig] = ()) -> None:
    """Ask the schedulers named by `hardware.scheduler` whether they would accept the jobs; write nothing.

    Args:
        jobs: checked configurations; those without a scheduler are skipped.
        existing: frozen configurations of further jobs.

    Raises:
        ConfigError: one line for each reason of a refusal.
    """
    configs = [*existing, *(job.plain for job in jobs)]
    if any(config["hardware"].get("scheduler") for config in configs):
        from regimen.orchestration.slurm.submit import check

        raise_if_any(check(configs))


def create_run(
    composed: ComposedConfig,
    root: Path,
    report: PreflightReport,
    run_id: str | None = None,
    git: Repository | None = None,
    **fields: Unpack[Decided],
) -> Run:
    """Create a run directory with the frozen configuration, `run.json` and Hydra's own files.

    Args:
        composed: checked configuration.
        root: folder of runs.
        report: report of the checks: resolved inputs and the runs they come from.
        run_id: name of the directory; by default made from time, task and agent.
        git: state of the repository, for a caller that creates many runs; by default it is read now.
        fields: further fields of the first record.
    """
    from regimen.config.yaml_io import as_yaml
    from regimen.runs.create import create_run_dir

    argv = ["launch.py", *sys.argv[1:]]
    decided: Decided = {
        "parents": report.parents,
        "pending": report.pending,
        "environment": composed.environment or None,
        **fields,
    }
    if report.estimate.main:
        decided["estimated_memory"] = report.estimate
    run_dir = create_run_dir(
        root,
        composed.plain,
        argv,
        composed.overrides,
        run_id,
        files=report.inputs,
        references=report.references,
        git=git,
        **decided,
    )
    run = Run(run_dir)
    folder = run.dir / ".hydra"
    with not_started(run):
        folder.mkdir()
        shutil.copyfile(run.config_path, folder / "config.yaml")
        for name, data in {"hydra": composed.hydra_record(), "overrides": composed.overrides}.items():
            (folder / f"{name}.yaml").write_text(redacted(as_yaml(data)), encoding="utf-8")
    return run


def start_run(composed: ComposedConfig, root: Path, report: PreflightReport, **fields: Unpack[Decided]) -> int:
    """Create a run, then supervise it here or submit it to its scheduler; return the exit code.

    Args:
        composed: checked configuration.
        root: folder of runs.
        report: preflight report.
        fields: further fields of the first record.
    """
    if composed.config.hardware.scheduler:
        return _submit_run(composed, root, report)
    from regimen.runs.supervisor import supervise

    with signals.handled(signals.leave):
        run = create_run(composed, root, report, **fields)
        with not_started(run):
            return supervise(run)


def _submit_run(composed: ComposedConfig, root: Path, report: PreflightReport) -> int:
    from regimen.orchestration.slurm.submit import submit
    from regimen.orchestration.slurm.wait import wait
    from regimen.runs import code_snapshot

    run = create_run(composed, root, report, status=Status.QUEUED, code=str(code_snapshot.take(composed.plain)))
    with not_started(run):
        job = submit([run])[run.id]
    say(f"submitted: {os.path.relpath(run.dir)} as job {job}. To follow it: regimen queue")
    return wait([run]) if composed.config.wait else 0
