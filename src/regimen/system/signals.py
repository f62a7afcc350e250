"""Signals that a launch forwards, their exit codes, and how to send one to a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], Any]

EXIT_PREEMPTED = 75
"""Exit code of a run that the scheduler stops and starts again: EX_TEMPFAIL of sysexits.h."""


def exit_code(number: int) -> int:
    """Return the exit code of a process that a signal ends; SIGUSR2 announces a preemption.

    Args:
        number: of the signal.
    """
    return EXIT_PREEMPTED if number == signal.SIGUSR2 else 128 + number


def signal_name(number: int) -> str:
    """Return a signal's name, such as SIGTERM; most real-time signals have a number only."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Interrupted(SystemExit):
    """A signal ends this process, with the exit code of the signal.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(exit_code(number))
        self.number = number


def leave(number: int, frame: FrameType | None) -> None:
    """Handle a signal by raising `Interrupted`, so that unfinished files are cleaned up."""
    raise Interrupted(number)


def send(process: subprocess.Popen[Any], number: int) -> None:
    """Send a signal to a child process without reaping it, as `Popen.send_signal` may do."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


@contextmanager
def handled(handler: Handler) -> Iterator[None]:
    """Handle the forwarded signals by `handler`, except those ignored on purpose (nohup).

    A script starts `command &` with SIGINT ignored, so that a Ctrl-C at its terminal does not reach the command.
    Without a terminal there is no Ctrl-C: a SIGINT is sent to this very process, and is handled.

    Only the main thread can handle signals: in another one they stay as they are.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = {number: signal.getsignal(number) for number in FORWARDED}
    for number, before in old.items():
        if before is not signal.SIG_IGN or (number == signal.SIGINT and not _has_terminal()):
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def _has_terminal() -> bool:
    """Whether the process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
