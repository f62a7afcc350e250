"""Signals that were ignored when the process started."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import os, signal
from regimen.system import signals
received = []
with signals.handled(lambda number, frame: received.append(number)):
    os.kill(os.getpid(), signal.{name})
print(len(received))
"""


@pytest.mark.parametrize(("name", "count"), [("SIGINT", "1"), ("SIGHUP", "0"), ("SIGTERM", "0")])
def test_without_a_terminal_an_interrupt_is_meant_for_the_process(name: str, count: str) -> None:
    """As a script starts `command &`; nohup ignores SIGHUP for good."""
    ignore = f"import signal, os; signal.signal(signal.{name}, signal.SIG_IGN); "
    start = f"{ignore}os.execv({sys.executable!r}, [{sys.executable!r}, '-c', {CODE.format(name=name)!r}])"
    command = [sys.executable, "-c", start]
    said = subprocess.run(command, start_new_session=True, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == count
