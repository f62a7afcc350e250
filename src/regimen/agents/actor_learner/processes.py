"""The actors of a run as processes of its learner: started, started again where they died, ended with it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from regimen.agents.actor_learner.actor import END_GRACE_S, TOKEN_VARIABLE, log_name
from regimen.system import files, signals
from regimen.system.errors import DivergedError
from regimen.system.message_client import PASSED_ON, ServerError, received_error

if TYPE_CHECKING:
    from regimen.agents.actor_learner.channel import Mailbox
    from regimen.agents.actor_learner.job_steps import JobSteps
    from regimen.runs.run import Run

FAILURES = 3
"""Ends in a row of one actor, none of whose processes sent a row, after which the run fails."""

SIGNAL_OF_SRUN = 128
"""srun ends with this and the number of the signal that killed its process."""

STEPS_END_S = 3.0
"""Time for actors on several nodes to end: srun stays longer where a job is cancelled, and Slurm ends what is left."""

MODULE = "regimen.agents.actor_learner.actor"


class ActorProcesses:
    """The actors of a run, on this machine or on the nodes of its Slurm job."""

    def __init__(
        self, run: Run, count: int, url: str, token: str, mailbox: Mailbox, steps: JobSteps | None = None
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
        self._run, self._count, self._url, self._token, self._mailbox = run, count, url, token, mailbox
        self._steps = steps
        self._attempt = len(run.record.resumed)
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._names: dict[int, str] = {}
        self._starts = dict.fromkeys(range(count), 0)
        self._failures = dict.fromkeys(range(count), 0)

    def start(self) -> None:
        """Start all actors."""
        for number in range(self._count):
            self._start(number)

    def watch(self) -> None:
        """Start an actor that died again.

        Raises:
            RegimenError: it failed with an error, or died several times before it sent a row.
        """
        for number, process in self._processes.items():
            code = process.poll()
            if code is None:
                continue
            name = self._names[number]
            self._raise_error(name)
            self._failures[number] = 0 if self._mailbox.received(name) >= 0 else self._failures[number] + 1
            code = code if self._steps is None or code <= SIGNAL_OF_SRUN else SIGNAL_OF_SRUN - code
            how = signals.signal_name(-code) if code < 0 else f"exit code {code}"
            if self._failures[number] >= FAILURES:
                raise ServerError(
                    f"{log_name(name)} ended {FAILURES} times before it sent a row, the last time with {how}. "
                    f"Look at logs/{log_name(name)}.log of this run; then continue it by `resume=`."
                )
            _close_stdin(process)
            self._run.warn(f"{log_name(name)} ended with {how}, and was started again")
            self._start(number)

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

    def _start(self, number: int) -> None:
        name = f"actor{number}.{self._attempt}.{self._starts[number]}"
        self._starts[number] += 1
        self._names[number] = name
        (self._run.logs / f"{log_name(name)}.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", MODULE, str(self._run.dir), name, self._url]
        env = {**os.environ, TOKEN_VARIABLE: self._token}
        if self._steps is not None:
            command = self._steps.wrap(number, [*command, str(self._steps.access)])
            env = self._steps.environment()
        with files.open_own(self._run.logs / f"{log_name(name)}.log", "ab") as log:
            self._processes[number] = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=env)

    def _raise_error(self, name: str) -> None:
        account = files.read_json(self._run.logs / f"{log_name(name)}.json")
        if account is None or account.get("actor") != name:
            return
        kind, text, actor = account.get("error"), account.get("message"), log_name(name)
        named = kind in PASSED_ON or kind == DivergedError.__name__
        raise received_error({"error": kind, "message": f"{actor}: {text}" if named else text}, actor)


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with suppress(OSError):
            process.stdin.close()
