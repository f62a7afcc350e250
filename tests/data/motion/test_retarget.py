"""A walk of one robot as a walk of another: where its limbs point, what its feet do, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from helpers.messages import raises_naming
from helpers.motions import walk
from regimen.config.motion_files import resolve_motion
from regimen.data.motion.model_poses import ModelPoses
from regimen.data.motion.repair import beyond_limits, require_sound
from regimen.data.motion.retarget import Retargeted, retarget
from regimen.envs.motion.clip import read_clip
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError

HUMANOID, H1 = load("humanoid"), load("h1")


@pytest.fixture(scope="module")
def walked() -> Retargeted:
    return retarget(walk(), HUMANOID, H1)


def test_limbs_point_as_those_of_the_source(walked: Retargeted) -> None:
    assert all(mean < 1.0 and most < 3.0 for mean, most in walked.errors_cm.values())
    source, target = ModelPoses(HUMANOID), ModelPoses(H1)
    theirs, ours = source.body_positions(walk()), target.body_positions(walked.clip)
    for side in ("left", "right"):
        shin = theirs[:, source.bodies.index(f"{side}_foot")] - theirs[:, source.bodies.index(f"{side}_shin")]
        own = ours[:, target.bodies.index(f"{side}_ankle_link")] - ours[:, target.bodies.index(f"{side}_knee_link")]
        cosine = (shin * own).sum(1) / np.linalg.norm(shin, axis=1) / np.linalg.norm(own, axis=1)
        assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 5.0


def test_feet_stand_on_the_floor_and_joints_keep_to_their_ranges(walked: Retargeted) -> None:
    poses = ModelPoses(H1)
    soles = poses.sole_height(walked.clip)
    assert soles.min() > -0.015 and soles.max() < 0.015
    assert poses.sliding(walked.clip) == pytest.approx(walked.sliding) and walked.sliding < 0.15
    assert walked.sliding < ModelPoses(HUMANOID).sliding(walk())
    assert beyond_limits(walked.clip, poses.joint_range).max() == 0.0
    require_sound(walked.clip, H1)


def test_speed_follows_from_the_legs(walked: Retargeted) -> None:
    assert walked.clip.speed == pytest.approx(walk().speed, rel=0.1)
    assert walked.clip.robot == "h1" and walked.clip.license == walk().license and "humanoid" in walked.clip.repairs[-1]


def test_a_turned_clip_becomes_the_same_motion_turned(walked: Retargeted) -> None:
    clip, turn = walk(), Rotation.from_euler("z", 1.0)
    turned = replace(
        clip,
        root_pos=turn.apply(clip.root_pos),
        root_quat=(turn * Rotation.from_quat(clip.root_quat, scalar_first=True)).as_quat(scalar_first=True),
    )
    other = retarget(turned, HUMANOID, H1).clip
    np.testing.assert_allclose(other.joint_pos, walked.clip.joint_pos, atol=1e-3)
    np.testing.assert_allclose(other.root_pos, turn.apply(walked.clip.root_pos), atol=2e-3)


def test_the_clip_that_is_shipped_is_this_one(walked: Retargeted) -> None:
    shipped = read_clip(resolve_motion("h1_walk"), H1)
    np.testing.assert_allclose(shipped.joint_pos, walked.clip.joint_pos, atol=1e-3)
    assert "BSD-3-Clause" in shipped.license and "CMU" in shipped.source


def test_what_cannot_be_retargeted_is_refused() -> None:
    with raises_naming(ConfigError, "humanoid_run", "neither foot"):
        retarget(read_clip(resolve_motion("humanoid_run"), HUMANOID), HUMANOID, H1)
    with raises_naming(ConfigError, "go2", "h1"):
        retarget(walk(), HUMANOID, load("go2"))
    with raises_naming(ConfigError, "go2", "humanoid"):
        retarget(read_clip(resolve_motion("go2_left"), load("go2")), load("go2"), H1)
