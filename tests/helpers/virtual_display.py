"""A display without a screen, and a program that types real key events into the windows there."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DISPLAY = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb: apt-get install xvfb"),
    pytest.mark.skipif(importlib.util.find_spec("glfw") is None, reason="needs the extra [viewer]"),
]
"""Marks of tests that open a window."""
NEEDED = [
    *DISPLAY,
    pytest.mark.skipif(ctypes.util.find_library("Xtst") is None, reason="needs libXtst: apt-get install libxtst6"),
]
"""Marks of tests that open a window and type into it."""

WINDOW = """
import sys
from regimen.display.window import no_window

why = no_window("here", None)
if why:
    sys.exit(f"skip: {why}")
"""
"""Begin of a program that opens a window."""

KEYS = f"""{WINDOW}
import atexit, ctypes, threading

x11, xtest = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
x11.XInitThreads()  # before any other call, as libX11 asks of programs with threads
x11.XOpenDisplay.restype = ctypes.c_void_p
x11.XStringToKeysym.restype = ctypes.c_ulong
display = ctypes.c_void_p(x11.XOpenDisplay(None))
held = set()

def key(name, down):
    if (name in held) == down:
        return
    (held.add if down else held.discard)(name)
    code = x11.XKeysymToKeycode(display, ctypes.c_ulong(x11.XStringToKeysym(name.encode())))
    xtest.XTestFakeKeyEvent(display, code, int(down), 0)
    x11.XFlush(display)

def point():
    xtest.XTestFakeMotionEvent(display, 0, 100, 100, 0)
    x11.XFlush(display)

def steer(x, y):
    for name, wanted in (("w", x > 0.05), ("s", x < -0.05), ("a", y > 0.05), ("d", y < -0.05)):
        key(name, wanted)

def type_beside(begin, again):
    ended = threading.Event()

    def typing():
        point()
        begin()
        while not ended.wait(0.005):
            again()

    thread = threading.Thread(target=typing, daemon=True)
    atexit.register(lambda: (ended.set(), thread.join()))
    thread.start()
"""
"""Begin of a program that types, too.

`key(name, down)`; `point()` puts the pointer over the window; `steer(x, y)` holds the keys that lead there;
`type_beside(begin, again)` types in a thread that ends before the interpreter does (one still inside torch would abort
it).
"""


def run_on_display(program: str, *arguments: str, repo_root: Path, timeout_s: float = 120.0) -> str:
    """Run a Python program, which begins with `WINDOW` or `KEYS`, on a display of its own; return its stdout."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        try:
            done = subprocess.run(
                [sys.executable, "-c", program, *arguments],
                env={**os.environ, "DISPLAY": f":{number}", "PYTHONPATH": str(repo_root / "tests")},
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        finally:
            server.terminate()
    if "skip:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
