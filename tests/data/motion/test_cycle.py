"""A cycle of a clip goes on without a jump."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from helpers.motions import walk
from regimen.config.motion_files import resolve_motion
from regimen.data.motion.cycle import cut_cycle, gait_period
from regimen.envs.motion.clip import MotionClip, read_clip
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError


def test_a_walk_becomes_one_stride_that_ends_as_it_begins() -> None:
    cycle = cut_cycle(walk())
    assert cycle.cyclic and 0.9 < cycle.duration < 1.2
    np.testing.assert_allclose(cycle.joint_pos[-1], cycle.joint_pos[0], atol=1e-9)
    assert cycle.root_pos[-1, 2] == pytest.approx(cycle.root_pos[0, 2])
    shift, turn = cycle.cycle()
    assert np.linalg.norm(shift) / cycle.duration == pytest.approx(1.54, abs=0.1) and abs(turn) < 0.2
    # Beside the turn about the vertical the base has the orientation it began with.
    tilt = 1 - 2 * (cycle.root_quat[:, 1] ** 2 + cycle.root_quat[:, 2] ** 2)
    assert tilt[-1] == pytest.approx(tilt[0])
    assert np.abs(cycle.joint_pos - walk().joint_pos[40:72]).max() < 0.1


def test_a_gait_cycle_is_one_stride_of_both_legs_however_often_a_clip_has_it() -> None:
    assert gait_period(walk()) == pytest.approx(cut_cycle(walk()).duration, abs=0.05)
    for name in ("go2_forward_0.4", "go2_left"):  # their walker had a gait clock of 0.5 s
        assert gait_period(read_clip(resolve_motion(name), load("go2"))) == pytest.approx(0.5, abs=0.03)
    assert gait_period(walk().cut(0, 10)) == pytest.approx(0.3), "too short for a cycle: its duration"


def test_a_motion_without_a_cycle_is_refused() -> None:
    joint_pos = np.linspace(0, 8, 60)[:, None]
    clip = MotionClip("rise", 30.0, ["a"], np.zeros((60, 3)), np.tile((1.0, 0, 0, 0), (60, 1)), joint_pos)
    for bad in (clip, replace(clip.cut(0, 8))):
        with pytest.raises(ConfigError, match="rise"):
            cut_cycle(bad)
