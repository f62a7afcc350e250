"""`regimen rerun` and `regimen resume`: repeat a run with its frozen configuration, or continue it in place."""

from __future__ import annotations

import argparse
import os
from typing import Any

from regimen.config import groups
from regimen.display.console import say
from regimen.orchestration.repeated_run import cautions, create, is_scheduled
from regimen.runs import outcome
from regimen.runs.history.result_equality import differences
from regimen.runs.history.run_view import RunView, open_view, open_view_dir
from regimen.runs.record import FILE
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import signals
from regimen.system.errors import RunReferenceError, raise_if_any


def rerun_verb(argv: list[str]) -> int:
    """Repeat a run and compare the results: `regimen rerun <run>`; only compare: `regimen rerun <run> --check`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen rerun", description="Repeat a run with the same configuration and seed."
    )
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--check", action="store_true", help="start nothing; compare a rerun with its original")
    args = parser.parse_args(argv)
    run = open_view(args.run)
    if args.check:
        return _check(run)
    for line in cautions(run):
        say(f"warning: {line}")
    if is_scheduled(run.config):
        from regimen.orchestration.slurm.submit import check

        raise_if_any(check([run.config]))
    with signals.handled(signals.leave):
        again = create(run, ["regimen", "rerun", *argv])
        code = start(again, run.config)
    return code or compare_results(run, open_view_dir(again.dir))


def resume_verb(argv: list[str]) -> int:
    """Resume a run in place: `regimen resume <run>`, the same as `python launch.py resume=<run>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen resume", description="Resume a run in place.")
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    from regimen.cli.launch import launch

    return launch([f"resume={parser.parse_args(argv).run}"], groups.config_home())


def start(run: Run, config: dict[str, Any]) -> int:
    """Start a run that `create` made, on this machine or by the scheduler of its configuration; return the exit code.

    Args:
        run: not started.
        config: of the original.
    """
    from regimen.runs.supervisor import supervise

    with outcome.not_started(run):
        if not is_scheduled(config):
            return supervise(run)
        from regimen.orchestration.slurm.submit import submit
        from regimen.orchestration.slurm.wait import wait

        job = submit([run])[run.id]
    say(f"submitted: {os.path.relpath(run.dir)} as job {job}; after its end: regimen rerun {run.id} --check")
    return wait([run]) if config.get("wait") else 0


def _check(run: RunView) -> int:
    original = run.record.rerun_of
    if not original:
        raise RunReferenceError(f"{run.id} is no rerun. Repeat it first: regimen rerun {run.id}")
    return compare_results(open_view(original), run)


def compare_results(run: RunView, again: RunView) -> int:
    """Print whether two results are equal; return 0 if they are, or if a run has not finished."""
    if gone := next((one.id for one in (run, again) if not (one.dir / FILE).exists()), None):
        say(f"not compared: {gone} was removed meanwhile")
        return 0
    for one in (run, again):
        if one.status != Status.FINISHED:
            say(f"not compared: {one.id} is {one.status}")
            return 0
    found = differences(run, again)
    if not found:
        say(f"equal: {again.id} has the same result as {run.id}, bit for bit")
        return 0
    say(f"not equal: {again.id} differs from {run.id}")
    for line in found:
        say(f"  {line}")
    return outcome.EXIT_FAILED
