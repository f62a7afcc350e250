"""Signals: which ones a launch passes on, and how to do so without disturbing who waits for the process."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from regimen.runs import outcome

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any]


class Interrupted(SystemExit):
    """A signal ends this process, in its exit code too.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(outcome.signalled(number).exit_code)
        self.number = number


def leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal by leaving: what is half made is cleaned up on the way out."""
    raise Interrupted(number)


def send(process: subprocess.Popen[Any], number: int) -> None:
    """Send a signal to a process that someone waits for; `Popen.send_signal` may take its end away from them."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Handle the forwarded signals by `handler`, except those ignored on purpose (nohup)."""
    old = {number: signal.getsignal(number) for number in FORWARDED}
    for number, before in old.items():
        if before is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)
