"""`-m`: check all jobs of a sweep, describe or run them, report the result."""

from __future__ import annotations

from pathlib import Path

from regimen.display.console import say
from regimen.orchestration import dry_run
from regimen.orchestration.new_run import check_scheduler
from regimen.orchestration.sweep.jobs import PreparedSweep, expand, preflight_all
from regimen.orchestration.sweep.record import ROOT
from regimen.orchestration.sweep.report import report
from regimen.system import files, signals


def run(overrides: list[str], config_dirs: list[Path]) -> int:
    """Run a sweep; return the exit code, 0 if every job finished or is queued.

    Args:
        overrides: arguments, with values such as `seed=0,1,2`.
        config_dirs: folder of config.yaml, then the user's own.

    Raises:
        ConfigError: the problems of all jobs; no job was started.
    """
    jobs = expand(overrides, config_dirs)
    reports = preflight_all(jobs, ROOT)
    check_scheduler(jobs)
    sweep = PreparedSweep(overrides, config_dirs)
    if jobs[0].config.dry_run:
        say(dry_run.describe_sweep(jobs, reports, ROOT / "<sweep>" / "<sweep>.000"))
        return 0
    for line in dict.fromkeys(line for preflight_report in reports for line in preflight_report.warnings):
        say(f"warning: {line}")
    sweep.open()
    folder = files.create_unique_dir(ROOT)
    stopped = 0
    try:
        with signals.handled(signals.leave):
            sweep.run(folder)
    except signals.Interrupted as error:
        stopped = signals.exit_code(error.number)
    finally:  # the jobs ran, even if the sweeper fails
        code = report(folder)
    return stopped or code
