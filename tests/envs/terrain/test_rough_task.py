"""A task on uneven ground: where robots start, what they see, and the curriculum."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.terms import observations, rewards, terminations
from regimen.system.errors import ConfigError

QUIET = {"observation_noise": False, "events": {"push_robot": None}}


def rough(num_envs: int = 8, **changes: Any) -> ManagerEnv:
    env = make_env("go2_rough", num_envs, **{**QUIET, **changes})
    env.reset(seed=0)
    return env


def scan(env: ManagerEnv) -> torch.Tensor:
    return env.observations.terms["policy.height_scan"]()


def test_robots_start_on_their_tiles_above_the_ground() -> None:
    env = rough(40)
    assert env.terrain is not None
    assert env.terrain.levels.max() <= 5 and len(env.terrain.levels.unique()) == 6, "start_level: 5"
    assert env.terrain.columns.unique().numel() == 20
    away = env.state.root_pos[:, :2] - env.terrain.origins[:, :2]
    assert away.abs().max() <= 0.5, "as on flat ground, from the middle of the tile"
    feet = env.height_above_ground(env.foot_pos)
    assert feet.min() > -0.04 and (feet.min(1).values < 0.25).all()


def test_heights_in_rewards_ends_and_observations_count_from_the_ground() -> None:
    top = {"top": {"func": "stairs", "params": {"step_height": [0.3, 0.3], "platform": 6.0}}}
    env = make_env("go2_flat", 4, terrain={"kinds": top, "levels": 1, "columns": 1}, **QUIET)
    env.reset(seed=0)

    def measured() -> list[torch.Tensor]:
        return [
            rewards.base_height_l2(env, target_height=0.3),
            rewards.feet_height_exp(env, height=0.08, std=0.04),
            terminations.root_height_below_minimum(env, minimum_height=0.5).float(),
            observations.base_pos_z(env)[:, 0],
        ]

    platform = 3 * 0.3
    assert env.state.root_pos[:, 2].min() > platform + 0.2
    found = measured()
    env.state.root_pos[:, 2] -= platform
    env.state.site_pos[..., 2] -= platform
    env.terrain = None
    for above, flat in zip(found, measured(), strict=True):
        assert torch.allclose(above, flat, atol=1e-5)


def test_a_scan_is_the_height_of_the_base_above_each_place_in_front_and_beside() -> None:
    env = rough(2)
    assert env.terrain is not None
    state, ground = env.state, env.terrain.ground
    state.root_pos[0] = torch.tensor([-30.0, -78.0, 1.0])
    state.root_quat[0] = torch.tensor([0.5**0.5, 0.0, 0.0, 0.5**0.5])  # looks along y
    values = scan(env)[0].view(17, 11)
    for i, j in ((0, 0), (16, 5), (3, 10)):
        forward, left = (i - 8) * 0.1, (j - 5) * 0.1
        place = torch.tensor([-30.0 - left, -78.0 + forward])
        assert float(values[i, j]) == pytest.approx(1.0 - 0.3 - float(ground.at(place)), abs=1e-4)


def test_on_flat_ground_a_scan_is_the_height_of_the_base() -> None:
    term = {"height_scan": {"func": "height_scan", "params": {"size": [0.4, 0.2], "offset": 0.25}}}
    env = make_env("go2_flat", 3, observations={"policy": {"terms": term}})
    env.reset(seed=0)
    assert env.io.observations["policy"]["height_scan"] == 15
    expected = (env.state.root_pos[:, 2:] - 0.25).expand(3, 15)
    assert torch.equal(scan(env), expected)


def test_missing_values_of_a_scan_change_in_each_step_and_are_restored() -> None:
    term = {"height_scan": {"func": "height_scan", "params": {"drop_out": 0.3}}}
    env = rough(4, observations={"policy": {"terms": term}})
    before = scan(env) == 0.0
    env.step(torch.zeros(4, 12))
    after = scan(env) == 0.0
    assert 0.15 < after.float().mean() < 0.45 and not torch.equal(before, after)
    saved = env.state_dict()
    other = rough(4, observations={"policy": {"terms": term}})
    other.load_state_dict(saved)
    assert torch.equal(scan(other), scan(env))
    first, again = (e.reset(seed=0)["policy"] for e in (env, rough(4, observations={"policy": {"terms": term}})))
    assert torch.equal(first, again), "a seeded reset draws them anew"


def test_the_mirror_image_of_a_scan_swaps_left_and_right() -> None:
    env = rough(2)
    assert env.symmetry is not None
    start = sum(width for name, width in env.io.observations["policy"].items() if name != "height_scan")
    obs = torch.arange(2 * env.io.size(), dtype=torch.float32).view(2, -1)
    image = env.symmetry.mirror_obs({"policy": obs})["policy"][:, start:].view(2, 17, 11)
    assert torch.equal(image, obs[:, start:].view(2, 17, 11).flip(2))


def test_a_robot_that_follows_its_command_gets_harder_ground_and_one_that_stays_easier() -> None:
    env = rough(6)
    assert env.terrain is not None
    env.terrain.levels[:] = torch.tensor([2, 2, 2, 0, 9, 2])
    env.commands["base_velocity"].value[:] = torch.tensor([1.0, 0.0, 0.0])
    env.commands["base_velocity"].value[[2, 5], 0] = 0.1  # a slow command is followed by a short way
    none, steps = torch.arange(0), round(20.0 / env.step_dt)
    speed = torch.tensor([0.5, 0.1, 0.1, 0.1, 0.5, 0.0])
    env.state.yaw_lin_vel[:] = torch.stack((speed, torch.ones(6)), 1)  # what is walked sideways does not count
    env.episode_length[:] = steps
    for _ in range(steps - 1):
        env.curriculum.step(none)
    assert env.terrain.levels.tolist() == [2, 2, 2, 0, 9, 2]
    log = env.curriculum.step(torch.arange(6))
    levels = env.terrain.levels.tolist()
    assert levels[:4] == [3, 1, 2, 0] and levels[5] == 1
    assert 0 <= levels[4] <= 9, "beyond the highest level any of them"
    assert log["Curriculum/terrain_levels"] == pytest.approx(sum(levels) / 6)


def test_a_robot_that_falls_early_is_measured_by_a_whole_episode() -> None:
    env = rough(2)
    assert env.terrain is not None
    env.terrain.levels[:] = 4
    env.commands["base_velocity"].value[:] = torch.tensor([1.0, 0.0, 0.0])
    env.state.yaw_lin_vel[:] = torch.tensor([1.0, 0.0])
    env.episode_length[:] = 10
    for _ in range(10):
        env.curriculum.step(torch.arange(0))
    env.curriculum.step(torch.tensor([1]))
    assert env.terrain.levels.tolist() == [4, 3]


def test_an_episode_ends_before_the_edge_of_the_ground() -> None:
    env, flat = rough(3), make_env("go2_flat", 3)
    flat.reset(seed=0)
    assert env.terrain is not None
    (x, y), (far_x, far_y) = env.terrain.ground.start, env.terrain.ground.end
    places = torch.tensor([[x + 0.9, 0.0], [0.0, far_y + 5.0], [far_x - 1.1, y + 1.1]])
    for task in (env, flat):
        task.state.root_pos[:, :2] = places
    assert terminations.terrain_out_of_bounds(env).tolist() == [True, True, False]
    assert terminations.terrain_out_of_bounds(flat).tolist() == [False, False, False]


def test_fixed_tiles_stay() -> None:
    env = rough(4)
    assert env.terrain is not None
    levels, columns = [9, 0, 5, 9], [0, 7, 11, 19]
    env.terrain.fix(levels, columns)
    env.reset(seed=1)
    env.terrain.move(torch.arange(4), torch.ones(4, dtype=torch.bool), torch.zeros(4, dtype=torch.bool), torch.rand(4))
    env.reset()
    assert env.terrain.levels.tolist() == [9, 0, 5, 9] and env.terrain.columns.tolist() == [0, 7, 11, 19]
    assert (env.state.root_pos[:, :2] - env.terrain.terrain.origins[levels, columns, :2]).abs().max() <= 0.5


@pytest.mark.slow
def test_levels_are_saved_and_a_restored_env_continues_bit_for_bit() -> None:
    env = rough(8, episode_length_s=0.2)
    for _ in range(15):
        env.step(torch.zeros(8, 12))
    saved, other = env.state_dict(), rough(8, episode_length_s=0.2)
    other.load_state_dict(saved)
    assert env.terrain is not None and other.terrain is not None
    for _ in range(25):
        ours, theirs = (e.step(torch.full((8, 12), 0.1)) for e in (env, other))
        assert torch.equal(ours[0]["policy"], theirs[0]["policy"]) and torch.equal(ours[1], theirs[1])
    assert torch.equal(env.terrain.levels, other.terrain.levels)


def test_the_curriculum_needs_uneven_ground() -> None:
    with raises_naming(ConfigError, "TerrainLevels", "env.terrain"):
        make_env("go2_flat", 2, curriculum={"terrain_levels": {"func": "TerrainLevels"}})
