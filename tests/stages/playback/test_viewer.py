"""The window, on a display without a screen where there is Xvfb: it shows env 0 and is gone afterwards."""

from __future__ import annotations

from pathlib import Path

from helpers.virtual_display import DISPLAY, WINDOW, run_on_display

pytestmark = DISPLAY

LOOK = """
import threading
import numpy as np, torch
from regimen.stages.playback.viewer import Viewer
from helpers.tasks import make_env

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


def test_it_shows_env_0_and_goes_on_when_it_is_closed(repo_root: Path) -> None:
    assert "seen" in run_on_display(WINDOW + LOOK, repo_root=repo_root)
