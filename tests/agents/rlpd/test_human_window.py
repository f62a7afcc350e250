"""A human in a training: real key events in a real window, on a display without a screen where there is Xvfb."""

from __future__ import annotations

from pathlib import Path

import torch

from agents.rlpd.test_human_interventions import FLAG
from helpers.virtual_display import KEYS, NEEDED, run_on_display
from regimen.runs import checkpoint
from regimen.runs.run import Run

pytestmark = NEEDED

TRAIN = """
import time
from pathlib import Path
from agents.rlpd.touch import TouchEnv, touch_config
from helpers.trainings import new_run, train

def steer_half_the_time():
    steer(*((env.goal - env.position)[0].tolist() if time.monotonic() % 2 < 1 else (0.0, 0.0)))

class Watched(TouchEnv):
    @classmethod
    def open(cls, config):
        global env
        env = TouchEnv(1)
        env.step_dt = 0.05
        type_beside(lambda: None, steer_half_the_time)
        return env

TouchEnv.open = Watched.open
config = touch_config(1, max_steps=120, demonstrations={"episodes": 0}, interventions={"by": "human"})
run = new_run(Path(sys.argv[1]), config)
train(run, config)
print(run.dir)
"""


def test_real_keys_in_a_real_window_intervene(tmp_path: Path, repo_root: Path) -> None:
    run = Run(Path(run_on_display(KEYS + TRAIN, str(tmp_path), repo_root=repo_root).strip().splitlines()[-1]))
    state = checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]
    online, prior = state["online"]["rows"], state["prior"]["rows"]
    flagged = online[online[:, FLAG] == 1.0]
    assert 20 < len(flagged) < 100 and torch.equal(flagged, prior)
    assert set(flagged[:, 4:6].unique().tolist()) <= {-1.0, 0.0, 1.0} and not flagged[:, 6].any()
    to_goal = (flagged[:, 2:4] * flagged[:, 4:6]).sum(1)
    assert (to_goal >= 0).float().mean() > 0.8, "the keys lead to the goal"
    assert run.metrics()[-1]["time_s"] >= 100 * 0.05, "in real time"
    counts = [row.get("environment/episode/intervention_count", 0.0) for row in run.metrics()]
    assert max(counts) >= 1.0
