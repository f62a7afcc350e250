"""Observation terms that are sensors: what they read of a robot in a known state, named, mirrored and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.rotations import from_euler
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

QUIET = {"observation_noise": False, "events": {"push_robot": None}}
CAMERA = {"width": 8, "height": 5, "fov": 80.0, "pitch": 40.0, "offset": [0.3, 0.0, 0.05], "max_distance": 2.0}
RAYS = {"rays": [[1.0, 0.3, -1.0], [1.0, -0.3, -1.0], [0.0, 0.0, -2.0]]}
SENSORS = {
    "depth": {"func": "depth_image", "params": CAMERA},
    "rays": {"func": "ray_distances", "params": RAYS},
    "imu": {"func": "imu_acceleration"},
    "contact": {"func": "foot_contact"},
    "force": {"func": "foot_contact_force"},
    "air": {"func": "foot_air_time"},
}


def robot(task: str = "go2_flat", num_envs: int = 3, **changes: Any) -> ManagerEnv:
    sensors = {"observations": {"policy": {"terms": SENSORS}}}
    env = make_env(task, num_envs, **{**QUIET, **sensors, **changes})
    env.reset(seed=0)
    return env


def reading(env: ManagerEnv, name: str) -> torch.Tensor:
    return env.observations.terms[f"policy.{name}"]()


def stand(env: ManagerEnv, steps: int = 60) -> ManagerEnv:
    for _ in range(steps):
        env.step(torch.zeros(env.num_envs, 12))
    return env


def test_each_sensor_is_named_with_its_width() -> None:
    widths = robot().io.observations["policy"]
    assert {name: widths[name] for name in SENSORS} == {
        "depth": 40, "rays": 3, "imu": 3, "contact": 4, "force": 4, "air": 4
    }  # fmt: skip


def test_depth_is_measured_along_the_axis_of_the_camera() -> None:
    env = robot()
    state = env.state
    state.root_pos[:, 2] = torch.tensor([0.3, 0.5, 5.0])
    state.root_quat[:] = from_euler(torch.zeros(3), torch.zeros(3), torch.tensor([0.0, 2.0, -1.0]))
    depth = reading(env, "depth").view(3, 5, 8)
    pitch = torch.tensor(40.0).deg2rad()
    half = torch.tensor(40.0).deg2rad().tan()
    for row in range(5):
        up = half * (4 - 2 * row) / 8
        # The row looks down by `drop` m for each m along the axis, and reads the same in all columns.
        drop = pitch.sin() - up * pitch.cos()
        for env_id, height in ((0, 0.35), (1, 0.55)):
            expected = min(2.0, float(height / drop)) if drop > 0 else 2.0
            assert depth[env_id, row].tolist() == pytest.approx([expected] * 8, abs=1e-5)
    assert depth[2].eq(2.0).all()
    assert reading(env, "rays")[0].tolist() == pytest.approx([0.3 * 2.09**0.5, 0.3 * 2.09**0.5, 0.3], abs=1e-5)


def test_a_robot_on_stairs_sees_the_first_step_before_it() -> None:
    kinds = {"up": {"func": "stairs", "params": {"step_height": [0.2, 0.2], "inverted": True, "platform": 2.0}}}
    ahead = {"rays": [[1.0, 0.0, 0.0]], "offset": [0.0, 0.0, -0.2], "max_distance": 3.0}
    terms = {"rays": {"func": "ray_distances", "params": ahead}}
    env = make_env(
        "go2_flat", 1, terrain={"kinds": kinds, "levels": 1, "columns": 1},
        observations={"policy": {"terms": terms}}, **QUIET,
    )  # fmt: skip
    env.reset(seed=0)
    assert env.terrain is not None
    middle = env.terrain.origins[0]
    env.state.root_pos[0] = middle + torch.tensor([0.0, 0.0, 0.3])
    env.state.root_quat[0] = torch.tensor([1.0, 0.0, 0.0, 0.0])
    distance = float(reading(env, "rays")[0, 0])
    ground = env.terrain.ground
    before, behind = (float(ground.at(middle[:2] + torch.tensor([distance + d, 0.0]))) for d in (-0.01, 0.05))
    assert 0.9 < distance < 1.2 and before < float(middle[2]) + 0.1 < behind


def test_an_accelerometer_at_rest_reads_gravity_upwards() -> None:
    env = robot()
    assert torch.allclose(reading(env, "imu"), -9.81 * env.state.gravity, atol=1e-4), "after a reset"
    stand(env, 100)
    assert torch.allclose(reading(env, "imu"), -9.81 * env.state.gravity, atol=0.5)


def test_in_free_fall_it_reads_nothing_and_a_push_is_in_it() -> None:
    env = robot(num_envs=2)
    high = env.default_root_pose.repeat(2, 1)
    high[:, 2] = 5.0
    ids = torch.arange(2)
    env.world.reset(ids, high, torch.zeros(2, 6), env.default_joint_pos.repeat(2, 1), torch.zeros(2, 12))
    stand(env, 3)
    assert reading(env, "imu").abs().max() < 0.3
    env.world.push(ids, torch.tensor([[0.4, 0.0, 0.0, 0.0, 0.0, 0.0]]).expand(2, 6))
    stand(env, 1)
    assert reading(env, "imu")[:, 0].sub(0.4 / env.step_dt).abs().max() < 1.0


def test_gravity_that_was_drawn_is_in_the_accelerometer() -> None:
    moon = {"func": "randomize", "mode": "startup", "params": {"quantity": "gravity_z", "between": [0.5, 0.5]}}
    env = robot(events={"push_robot": None, "moon": moon})
    assert torch.allclose(reading(env, "imu"), -0.5 * 9.81 * env.state.gravity, atol=1e-4)


def test_beside_the_base_it_feels_the_turn() -> None:
    term = {"imu": {"func": "imu_acceleration", "params": {"offset": [0.2, 0.0, 0.0]}}}
    env = robot(num_envs=1, observations={"policy": {"terms": term}})
    spin = torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 3.0]])
    high = env.default_root_pose.clone()
    high[:, 2] = 5.0
    env.world.reset(torch.arange(1), high, spin, env.default_joint_pos[None], torch.zeros(1, 12))
    stand(env, 3)
    centripetal = -(float(env.state.ang_vel[0, 2]) ** 2) * 0.2
    base = robot(num_envs=1)
    base.world.reset(torch.arange(1), high, spin, env.default_joint_pos[None], torch.zeros(1, 12))
    stand(base, 3)
    added = float(reading(env, "imu")[0, 0] - reading(base, "imu")[0, 0])
    assert added == pytest.approx(centripetal, rel=0.1) and centripetal < -1.0


def test_feet_on_the_ground_and_in_the_air() -> None:
    env = stand(robot())
    assert reading(env, "contact").eq(1.0).all() and reading(env, "air").eq(0.0).all()
    assert torch.equal(reading(env, "force"), env.foot_force)
    high = env.default_root_pose.repeat(3, 1)
    high[:, 2] = 5.0
    env.world.reset(torch.arange(3), high, torch.zeros(3, 6), env.default_joint_pos.repeat(3, 1), torch.zeros(3, 12))
    stand(env, 5)
    assert reading(env, "contact").eq(0.0).all()
    assert torch.allclose(reading(env, "air"), torch.full((3, 4), 5 * env.step_dt))
    env.reset()
    assert reading(env, "air").eq(0.0).all()


def test_the_mirror_image_swaps_pixels_rays_and_feet() -> None:
    env = robot()
    assert env.symmetry is not None
    start, columns = 0, {}
    for name, width in env.io.observations["policy"].items():
        columns[name] = slice(start, start + width)
        start += width
    obs = torch.randn(2, start)
    image = env.symmetry.mirror_obs({"policy": obs})["policy"]
    pixels = (values[:, columns["depth"]].view(2, 5, 8) for values in (image, obs))
    assert torch.equal(next(pixels), next(pixels).flip(2))
    assert torch.equal(image[:, columns["rays"]], obs[:, columns["rays"]][:, [1, 0, 2]])
    assert torch.equal(image[:, columns["air"]], obs[:, columns["air"]][:, [1, 0, 3, 2]])
    assert torch.equal(image[:, columns["imu"]], obs[:, columns["imu"]] * torch.tensor([1.0, -1.0, 1.0]))


@pytest.mark.parametrize("sensor", [SENSORS["depth"], SENSORS["rays"], SENSORS["imu"]])
def test_a_sensor_at_one_side_has_no_mirror_image(sensor: dict[str, Any]) -> None:
    def at(y: float) -> ManagerEnv:
        params = {**sensor.get("params", {}), "offset": [0.3, y, 0.0]}
        return robot(observations={"policy": {"terms": {"sensor": {**sensor, "params": params}}}})

    assert at(0.0).symmetry is not None and at(0.1).symmetry is None


@pytest.mark.slow
def test_sensors_and_a_walking_bias_are_restored() -> None:
    walking = {**SENSORS, "imu": {"func": "imu_acceleration", "bias": 0.2, "bias_walk": 0.5, "noise": 0.1}}
    changes = {"observation_noise": True, "observations": {"policy": {"terms": walking}}, "episode_length_s": 0.2}
    env, other = robot("go2_rough", **changes), robot("go2_rough", **changes)
    stand(env, 7)
    other.load_state_dict(env.state_dict())
    for _ in range(12):
        ours, theirs = (e.step(torch.full((3, 12), 0.1)) for e in (env, other))
        assert torch.equal(ours[0]["policy"], theirs[0]["policy"])


def test_a_bias_walks_by_its_speed_and_starts_where_it_is_drawn() -> None:
    term = {"imu": {"func": "base_pos_z", "bias": 0.1, "bias_walk": 0.5}, "still": {"func": "base_pos_z"}}
    env = make_env(
        "go2_flat", 256, observations={"policy": {"terms": {**dict.fromkeys(
            ("base_lin_vel", "base_ang_vel", "projected_gravity", "velocity_commands", "joint_pos", "joint_vel",
             "actions", "gait_phase")), **term}}}, events={"push_robot": None}, terminations={"base_contact": None},
    )  # fmt: skip
    obs = env.reset(seed=0)["policy"]
    start = obs[:, 0] - obs[:, 1]
    assert 0.08 < start.abs().max() <= 0.1 + 1e-6
    for _ in range(25):
        obs, *_ = env.step(torch.zeros(256, 12))
    walked = (obs["policy"][:, 0] - obs["policy"][:, 1]) - start
    assert float(walked.std()) == pytest.approx(0.5 * (25 * env.step_dt) ** 0.5, rel=0.15)
    assert abs(float(walked.mean())) < 0.1
    obs = env.reset()["policy"]
    assert (obs[:, 0] - obs[:, 1]).abs().max() <= 0.1 + 1e-6


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ("func: depth_image, params: {width: 0}", ["width"]),
        ("func: depth_image, params: {fov: 180.0}", ["fov"]),
        ("func: depth_image, params: {max_distance: 0.0}", ["max_distance"]),
        ("func: depth_image, params: {fow: 90.0}", ["fow", "fov"]),
        ("func: ray_distances, params: {rays: []}", ["rays"]),
        ("func: ray_distances, params: {rays: [[0, 0, 0]]}", ["rays"]),
        ("func: base_pos_z, bias_walk: -1.0", ["bias_walk"]),
        ("func: foot_contac", ["foot_contac", "foot_contact"]),
    ],
)
def test_bad_settings_are_refused_before_the_start(tmp_path: Path, params: str, names: list[str]) -> None:
    term = f"+env.observations.policy.terms.seen={{{params}}}"
    with raises_naming((ConfigError, ConfigErrors), "env.observations.policy.terms.seen", *names):  # type: ignore[arg-type]
        preflight(compose(["task=go2_flat", term], [CONF]), tmp_path)


def test_every_simulator_has_them_and_pixels_count_in_the_memory(tmp_path: Path) -> None:
    def agent_memory(*words: str) -> int:
        return preflight(compose(["task=go2_flat", *words], [CONF]), tmp_path).estimate.main["agent"]

    image = "+env.observations.policy.terms.depth={func: depth_image, params: {width: 32, height: 18}}"
    assert agent_memory("sim=genesis", image) > 3 * agent_memory("sim=genesis")
