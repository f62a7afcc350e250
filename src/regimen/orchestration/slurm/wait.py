"""`wait=true`: wait until submitted jobs have ended, and print their progress."""

from __future__ import annotations

import time
from collections import Counter

from regimen.display.console import describe, say
from regimen.orchestration.slurm import job_states
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files, signals
from regimen.system.errors import PreflightError

POLL_S = 1.0
QUERY_S = 5.0
"""Interval in s between queries of the scheduler: each query loads a shared machine."""

PROGRESS_S = 30.0


def wait(runs: list[Run]) -> int:
    """Wait for submitted runs; return the exit code of a single run, 0 or 1 for several.

    Ctrl-C ends the waiting, not the jobs.

    Args:
        runs: runs submitted by `submit`.
    """
    try:
        with signals.handled(signals.leave):
            return _Watch(runs).wait()
    except signals.Interrupted as error:
        live = [run for run in runs if not run.status.is_final]
        names = " ".join(run.id for run in live) if len(live) <= 4 else "all"
        say(f"the jobs continue. To see them: regimen queue. To stop them: regimen cancel {names}")
        return signals.exit_code(error.number)


class _Watch:
    """The unfinished runs, with the last line printed for each."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = list(runs)
        self.open = {run.id: run for run in runs}
        self.printed: dict[str, str] = {}
        self.query_due = 0.0
        self.show_due = time.monotonic() + PROGRESS_S
        self.states: dict[str, JobState] = {}

    def wait(self) -> int:
        while True:
            if time.monotonic() >= self.query_due:
                self._query_scheduler()
            self._report_changes()
            if not self.open:
                break
            if time.monotonic() >= self.show_due:
                self._show_progress()
            time.sleep(POLL_S)
        codes = [int(run.record.exit_code or 0) for run in self.runs]
        if len(codes) == 1:
            return codes[0]
        say(", ".join(f"{count} {status}" for status, count in Counter(run.status for run in self.runs).items()))
        return outcome.EXIT_FAILED if any(codes) else 0

    def _query_scheduler(self) -> None:
        self.query_due = time.monotonic() + QUERY_S
        try:
            self.states = job_states.reconcile(self.open.values(), lambda status: not status.is_final)
        except PreflightError as error:
            self._print_if_new("", str(error))
            return
        self.printed.pop("", None)

    def _report_changes(self) -> None:
        """Print changed states, and drop the runs that have ended."""
        for name, run in list(self.open.items()):
            record = run.record
            status, state = record.status, self.states.get(name)
            text = f"{status:<9} {name}"
            if status.is_final or (state is None and not status.is_open):
                del self.open[name]
                text += f"  exit code {record.exit_code}"
            elif state is not None and state.waits and state.reason:
                text += f"  {state.reason}"
            self._print_if_new(name, text + (f"  {record.reason}" if record.reason else ""))

    def _print_if_new(self, name: str, text: str) -> None:
        if self.printed.get(name) != text:
            self.printed[name] = text
            say(text)

    def _show_progress(self) -> None:
        self.show_due = time.monotonic() + PROGRESS_S
        for name, run in self.open.items():
            text = describe(files.read_json(run.dir / "progress.json") or {})
            where = f"on {self.states[name].node}" if name in self.states else ""
            if run.status == Status.RUNNING:
                say("  ".join(filter(None, [f"running   {name}", where, text])))
