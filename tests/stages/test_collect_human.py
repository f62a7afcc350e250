"""A human's demonstrations: real key events in a real window, on a display without a screen where there is Xvfb."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from helpers.virtual_display import KEYS, NEEDED, run_on_display
from regimen.data.demonstrations import iterate_demonstrations

pytestmark = NEEDED

TYPE = """
import time
from pathlib import Path
from helpers.demonstrated_env import DemonstratedEnv, DemonstratedEnvCfg
from regimen.config.schema import Config
from regimen.stages.collect import Collect
from regimen.stages.recording.config import CollectCfg
from stages.test_collect import new_run

def abandon_one():
    key("w", True)  # an attempt that is broken off
    time.sleep(0.5)
    key("w", False)
    key("BackSpace", True)
    key("BackSpace", False)
    time.sleep(0.3)

class Watched(DemonstratedEnv):
    @classmethod
    def open(cls, config):
        global env
        env = DemonstratedEnv(1)
        env.step_dt = 0.05
        type_beside(abandon_one, lambda: steer(*(env.goal - env.position)[0].tolist()))
        return env

DemonstratedEnv.open = Watched.open
cfg = CollectCfg(episodes=2)
run = new_run(Path(sys.argv[1]), cfg)
Collect(cfg)(run, Config(env=DemonstratedEnvCfg(), stage=cfg, policy="human", choices={"task": "made"}))
print(run.dir)
"""


RENDER = """
from regimen.config.compose import compose_config
from regimen.display.window import PictureWindow
from regimen.envs import open_env

env, window = open_env(compose_config(["task=gear_assembly", "hardware.threads=1"])), PictureWindow("gear")
env.reset(seed=0)
for _ in range(3):
    picture = env.render()
    window.show(picture)
    window.poll()
assert picture.std() > 10
print(window.closed)
"""


def test_a_window_opens_beside_the_renderer_of_a_task(repo_root: Path) -> None:
    assert run_on_display(KEYS + RENDER, repo_root=repo_root).strip() == "False"


def test_keys_move_and_successful_episodes_are_kept(tmp_path: Path, repo_root: Path) -> None:
    printed = run_on_display(KEYS + TYPE, str(tmp_path), repo_root=repo_root)
    path = Path(printed.strip().splitlines()[-1]) / "data" / "episodes.h5"
    first, second = iterate_demonstrations([path])
    for episode in (first, second):
        assert episode.success and set(np.unique(episode.action)) <= {-1.0, 0.0, 1.0}
        assert np.abs(episode.action[0]).sum() > 0, "an episode begins with the first input"
    assert not np.array_equal(first.obs["policy"][0], second.obs["policy"][0])
