"""Forwarding of metrics to loggers other than TensorBoard and metrics.jsonl, by a process beside the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from typing import IO, Any, cast

from regimen.runs.metrics import MetricSink
from regimen.runs.run import Run

CLOSE_S = 60.0
"""How long a finished run waits until everything has been forwarded."""

STOP_S = 10.0
"""The same for a run that was stopped, and may have little time left."""


def open_loggers(chosen: dict[str, Any], run: Run) -> list[MetricSink]:
    """Start the forwarding of a run's metrics; only the worker that writes the run's files may do so.

    The result belongs into `Run.loggers`.

    Args:
        chosen: `config.logger`, name -> its configuration; nothing is started for none.
        run: the run; the process reads the rest from its frozen configuration.
    """
    return [LoggerProcess(run, list(chosen))] if chosen else []


class LoggerProcess:
    """The worker's end: sends commands to the forwarding process, and waits for it only at the end.

    The process follows metrics.jsonl. So a slow server costs the training nothing, a logger that draws random numbers
    or blocks at exit does not affect it, and what an attempt failed to send, a resumed run sends first.
    """

    def __init__(self, run: Run, names: list[str]) -> None:
        """Start the process.

        Args:
            run: the run.
            names: of the chosen loggers, at least one.
        """
        self._run = run
        self._names = names
        self._following = False
        self._process = self._start()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Take note that metrics were logged; they are read from metrics.jsonl."""
        if not self._following:
            self._tell(follow=None)

    def rewind(self, step: int) -> None:
        """Drop the rows after `step`, after metrics.jsonl was rewound to it.

        Args:
            step: the checkpoint's step; -1 for a run from the beginning.
        """
        self._tell(follow=step)

    def close(self, status: str) -> None:
        """Forward what is left, say how the run ended, and wait for that a bounded time.

        Args:
            status: `finished`, `failed`, `killed`, `preempted` or `diverged`.
        """
        if self._process is None:
            return
        self._tell(close=status)
        cast(IO[bytes], self._process.stdin).close()
        limit = CLOSE_S if status == "finished" and self._run.stop_signal is None else STOP_S
        try:
            code = self._process.wait(limit)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self._warn(f"did not end within {limit:.0f} s")
        else:
            if code:
                self._warn(f"ended with exit code {code}, see logs/worker.log")

    def _start(self) -> subprocess.Popen[bytes] | None:
        command = [sys.executable, "-m", "regimen.runs.loggers.forward", str(self._run.dir)]
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0, env=env)
        except OSError as error:
            self._warn(f"could not be started: {error}")
            return None

    def _tell(self, **command: Any) -> None:
        self._following = True
        if self._process is not None:
            stdin = cast(IO[bytes], self._process.stdin)
            with suppress(OSError, ValueError):  # it has ended: `close` warns of it
                stdin.write(json.dumps(command).encode() + b"\n")

    def _warn(self, what: str) -> None:
        names = ", ".join(self._names)
        self._run.warn(f"logger {names}: the forwarding {what}; metrics.jsonl has every metric")
