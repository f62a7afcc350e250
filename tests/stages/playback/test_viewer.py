"""The window, on a display without a screen where there is Xvfb: it shows env 0 and is gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb: apt-get install xvfb"),
    pytest.mark.skipif(importlib.util.find_spec("glfw") is None, reason="needs the extra [viewer]"),
]

LOOK = """
import sys, threading
import numpy as np, torch
from regimen.display.window import no_window
from regimen.stages.playback.viewer import Viewer
from helpers.tasks import make_env

why = no_window("here", None)
if why:
    sys.exit(f"skip: {why}")
env = make_env("reach", 2)
env.reset(seed=0)
action, there = torch.ones(2, 2), threading.active_count()
with Viewer(env) as window:
    for _ in range(5):
        _, *outcome, _ = env.step(action)
        window.on_step_end(action, *outcome)
    assert window._viewer.is_running()
    assert np.array_equal(window._data.qpos, env.world.batch.get_data(0).qpos)
    assert not np.array_equal(window._data.qpos, env.world.batch.get_data(1).qpos)
    window._viewer.close()
    window.on_step_end(action, *outcome)  # somebody closed it
assert threading.active_count() == there
print("seen")
"""


def test_it_shows_env_0_and_goes_on_when_it_is_closed(repo_root):
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        try:
            environment = {**os.environ, "DISPLAY": f":{number}", "PYTHONPATH": str(repo_root / "tests")}
            done = subprocess.run(
                [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=120
            )
        finally:
            server.terminate()
    if "skip:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0 and "seen" in done.stdout, done.stderr
