"""A human's demonstrations: real key events in a real window, on a display without a screen where there is Xvfb."""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regimen.data.demonstrations import iterate_demonstrations

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs Xvfb: apt-get install xvfb"),
    pytest.mark.skipif(ctypes.util.find_library("Xtst") is None, reason="needs libXtst: apt-get install libxtst6"),
    pytest.mark.skipif(importlib.util.find_spec("glfw") is None, reason="needs the extra [viewer]"),
]

TYPE = """
import ctypes, sys, threading, time
from pathlib import Path
from regimen.display.window import no_window

why = no_window("here", None)
if why:
    sys.exit(f"skip: {why}")
from helpers.demonstrated_env import DemonstratedEnv, DemonstratedEnvCfg
from regimen.config.schema import Config
from regimen.stages.collect import Collect
from regimen.stages.recording.config import CollectCfg
from stages.test_collect import new_run

x11, xtest = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
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

def type_keys():
    xtest.XTestFakeMotionEvent(display, 0, 100, 100, 0)
    x11.XFlush(display)
    key("w", True)  # an attempt that is broken off
    time.sleep(0.5)
    key("w", False)
    key("BackSpace", True)
    key("BackSpace", False)
    time.sleep(0.3)
    while True:
        x, y = (env.goal - env.position)[0].tolist()
        for name, wanted in (("w", x > 0.05), ("s", x < -0.05), ("a", y > 0.05), ("d", y < -0.05)):
            key(name, wanted)
        time.sleep(0.005)

class Watched(DemonstratedEnv):
    @classmethod
    def open(cls, config):
        global env
        env = DemonstratedEnv(1)
        env.step_dt = 0.05
        threading.Thread(target=type_keys, daemon=True).start()
        return env

DemonstratedEnv.open = Watched.open
cfg = CollectCfg(episodes=2)
run = new_run(Path(sys.argv[1]), cfg)
Collect(cfg)(run, Config(env=DemonstratedEnvCfg(), stage=cfg, policy="human", choices={"task": "made"}))
print(run.dir)
"""


def test_keys_move_and_successful_episodes_are_kept(tmp_path: Path, repo_root: Path) -> None:
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as told:
            number = told.readline().strip()
        try:
            environment = {**os.environ, "DISPLAY": f":{number}", "PYTHONPATH": str(repo_root / "tests")}
            done = subprocess.run(
                [sys.executable, "-c", TYPE, str(tmp_path)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
        finally:
            server.terminate()
    if "skip:" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    path = Path(done.stdout.strip().splitlines()[-1]) / "data" / "episodes.h5"
    first, second = iterate_demonstrations([path])
    for episode in (first, second):
        assert episode.success and set(np.unique(episode.action)) <= {-1.0, 0.0, 1.0}
        assert np.abs(episode.action[0]).sum() > 0, "an episode begins with the first input"
    assert not np.array_equal(first.obs["policy"][0], second.obs["policy"][0])
