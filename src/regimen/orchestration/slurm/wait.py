"""`wait=true`: stay until the jobs of runs have ended, and show how they do."""

from __future__ import annotations

import time
from collections import Counter

from regimen.display.console import describe, say
from regimen.orchestration.slurm import reconcile
from regimen.orchestration.slurm.job_states import JobState
from regimen.runs import outcome
from regimen.runs.run import Run
from regimen.system import files, signals
from regimen.system.errors import PreflightError

POLL_S = 1.0
ASK_S = 5.0
"""How often the scheduler is asked: each question is work for a machine that all users share."""

PROGRESS_S = 30.0
FINAL = ("finished", "failed", "diverged")
"""Statuses that are the run's own last word; the others may be followed by another attempt."""


def wait(runs: list[Run]) -> int:
    """Wait for the ends of runs that a scheduler has; return their exit code, 1 for several of which one failed.

    Ctrl-C ends the waiting and not the jobs.

    Args:
        runs: given to a scheduler by `submit`.
    """
    try:
        with signals.handled(signals.leave):
            return _Watch(runs).wait()
    except signals.Interrupted as error:
        going = [run for run in runs if run.status not in FINAL]
        names = " ".join(run.id for run in going) if len(going) <= 4 else "all"
        say(f"the jobs go on without this command. To see them: regimen queue. To stop them: regimen cancel {names}")
        return signals.exit_code(error.number)


class _Watch:
    """The runs that are not over yet, and what was said of each."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = list(runs)
        self.open = {run.id: run for run in runs}
        self.said: dict[str, str] = {}
        self.ask_due = 0.0
        self.show_due = time.monotonic() + PROGRESS_S
        self.states: dict[str, JobState] = {}

    def wait(self) -> int:
        while True:
            if time.monotonic() >= self.ask_due:
                self._ask()
            self._look()
            if not self.open:
                break
            if time.monotonic() >= self.show_due:
                self._show()
            time.sleep(POLL_S)
        codes = [int(run.info["exit_code"] or 0) for run in self.runs]
        if len(codes) == 1:
            return codes[0]
        say(", ".join(f"{count} {status}" for status, count in Counter(run.status for run in self.runs).items()))
        return outcome.EXIT_FAILED if any(codes) else 0

    def _ask(self) -> None:
        self.ask_due = time.monotonic() + ASK_S
        try:
            self.states = reconcile.reconcile(
                self.open.values(), (*reconcile.OPEN, "killed")
            )  # killed: to be judged yet
        except PreflightError as error:
            self._say("", str(error))
            return
        self.said.pop("", None)

    def _look(self) -> None:
        """Say what has changed, and leave out the runs that are over."""
        for name, run in list(self.open.items()):
            info = run.info
            status, state = str(info["status"]), self.states.get(name)
            text = f"{status:<9} {name}"
            if status in FINAL or (state is None and status not in ("queued", "running")):
                del self.open[name]
                text += f"  exit code {info['exit_code']}"
            elif state is not None and state.waits and state.reason:
                text += f"  {state.reason}"
            self._say(name, text + (f"  {info['reason']}" if info["reason"] else ""))

    def _say(self, name: str, text: str) -> None:
        if self.said.get(name) != text:
            self.said[name] = text
            say(text)

    def _show(self) -> None:
        self.show_due = time.monotonic() + PROGRESS_S
        for name, run in self.open.items():
            text = describe(files.read_json(run.dir / "progress.json") or {})
            where = f"on {self.states[name].node}" if name in self.states else ""
            if run.status == "running":
                say("  ".join(filter(None, [f"running   {name}", where, text])))
