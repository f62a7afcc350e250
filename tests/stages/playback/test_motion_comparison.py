"""The comparison of episodes with motion clips: of the clip itself, of a robot that stands, of one that falls early."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from helpers.tasks import make_env
from regimen.envs.manager_env import ManagerEnv
from regimen.runs.run import Run
from regimen.stages.playback.motion_comparison import MotionComparison
from regimen.system.errors import StopRequested

CYCLE = {"clips": {"walk": {"file": "humanoid_walk_cycle"}}}


def compared(env: ManagerEnv, seconds: float, ends_at: float = 99.0) -> dict[str, np.ndarray]:
    """Return the figures of env 0, which walks as the clip, and env 1, which stands; both end at `ends_at` s."""
    return comparison_of(env, seconds, ends_at).columns()


def comparison_of(env: ManagerEnv, seconds: float, ends_at: float = 99.0, still: str | None = None) -> MotionComparison:
    """Return the comparison after these episodes; the joints of the walker that start with `still` do not move."""
    comparison, library, ids = MotionComparison(env), env.motion, torch.arange(2)
    assert library is not None
    for step in range(round(seconds / env.step_dt)):
        time = torch.tensor([step * env.step_dt % float(library.durations[0])], dtype=torch.float64)
        walking = library.at(torch.tensor([0]), time).joint_pos
        held = [still is not None and name.startswith(still) for name in env.robot.joints]
        walking[:, held] = env.default_joint_pos[held]
        joints = torch.cat((walking, env.default_joint_pos[None]))
        env.world.reset(ids, env.reset_root_pose, torch.zeros(2, 6), joints, torch.zeros_like(joints))
        env.state = env._read()
        comparison.on_step_start(step, {})
        ended = torch.tensor([step * env.step_dt >= ends_at] * 2)
        comparison.on_step_end(torch.zeros(2, 28), torch.zeros(2), ended, torch.zeros_like(ended))
    return comparison


@pytest.mark.parametrize("ends_at", [99.0, 1.0])
def test_the_clip_is_at_no_distance_and_standing_is(ends_at: float) -> None:
    env = make_env("humanoid_amp", 2, motion=CYCLE)
    figures = compared(env, 4.0, ends_at)
    assert figures["dtw_body_cm"].shape == (2,)
    assert figures["dtw_body_cm"][0] < 1.0 and figures["dtw_joint"][0] < 0.02
    assert figures["dtw_body_cm"][1] > 4.0 and figures["dtw_joint"][1] > 0.1


def test_of_several_clips_the_nearest_counts() -> None:
    both = {"clips": {"walk": {"file": "humanoid_walk_cycle"}, "run": {"file": "humanoid_run"}}}
    figures = compared(make_env("humanoid_amp", 2, motion=both), 3.5)
    assert figures["dtw_body_cm"][0] < 1.0


def test_by_body_an_arm_that_hangs_still_is_told_from_legs_that_walk() -> None:
    env = make_env("humanoid_amp", 2, motion=CYCLE)
    run = Mock(spec=Run)
    comparison = comparison_of(env, 4.0, still="right_shoulder")
    figures = comparison.results(run)["dtw_by_body_cm"]
    assert not {"pelvis", "left_thigh", "torso"} & figures.keys(), "no joint moves their origins"
    assert {"left_hand", "right_hand", "left_foot", "left_shin", "head"} <= figures.keys()
    both_hands = figures["left_hand"]["value"], figures["right_hand"]["value"]
    assert both_hands[1] > 1.2 * both_hands[0] and figures["left_hand"]["low"] < both_hands[0]
    run.check_stop.side_effect = StopRequested(15, 0)
    with pytest.raises(StopRequested):
        comparison.results(run)
