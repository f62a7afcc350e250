"""The actors of a run as processes of its learner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from regimen.agents.actor_learner.actor import TOKEN_VARIABLE
from regimen.agents.actor_learner.actor_group import END_GRACE_S, ActorGroup, End, log_name
from regimen.system import files, signals

if TYPE_CHECKING:
    from regimen.agents.actor_learner.channel import Inbox
    from regimen.agents.actor_learner.job_steps import JobSteps
    from regimen.runs.run import Run

SIGNAL_OF_SRUN = 128
"""srun ends with this and the number of the signal that killed its process."""

STEPS_END_S = 3.0
"""Time for actors on several nodes to end: srun stays longer where a job is cancelled, and Slurm ends what is left."""

MODULE = "regimen.agents.actor_learner.actor"


class ActorProcesses(ActorGroup):
    """The actors of a run, on this machine or on the nodes of its Slurm job."""

    def __init__(
        self, run: Run, count: int, url: str, token: str, mailbox: Inbox, steps: JobSteps | None = None
    ) -> None:
        """Start nothing yet.

        Args:
            run: of the learner.
            count: number of actors.
            url: of the learner's channel.
            token: of the channel, handed over in the environment of the processes.
            mailbox: receives the rows, by which an actor that works is recognised.
            steps: starts them on the nodes of a Slurm job; None: all are on this machine.
        """
        super().__init__(run, count, mailbox)
        self._url, self._token, self._steps = url, token, steps
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def stop(self) -> None:
        """End all actors, by force where they do not end by themselves."""
        for process in self._processes.values():
            _close_stdin(process)
        end = time.monotonic() + (END_GRACE_S + 1.0 if self._steps is None else STEPS_END_S)
        for process in self._processes.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes = {}

    def _launch(self, number: int, name: str) -> None:
        if number in self._processes:
            _close_stdin(self._processes[number])
        (self._run.logs / f"{log_name(name)}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", MODULE, str(self._run.dir), name, self._url]
        env = {**os.environ, TOKEN_VARIABLE: self._token}
        if self._steps is not None:
            command = self._steps.wrap(number, [*command, str(self._steps.access)])
            env = self._steps.environment()
        with files.open_own(self._run.logs / f"{log_name(name)}.log", "ab") as log:
            self._processes[number] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env)

    def _end_of(self, number: int, name: str) -> End | None:
        code = self._processes[number].poll()
        if code is None:
            return None
        code = code if self._steps is None or code <= SIGNAL_OF_SRUN else SIGNAL_OF_SRUN - code
        account = files.read_json(self._run.logs / f"{log_name(name)}.json")
        how = signals.signal_name(-code) if code < 0 else f"exit code {code}"
        return End(how, account if account is not None and account.get("actor") == name else None)


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
