"""Assembly tasks: what they give, how episodes end, what is drawn, and that all of it can be repeated and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from regimen.cli.check_env import check_env_verb
from regimen.config.compose import compose, compose_config
from regimen.envs import open_env
from regimen.envs.conformance.check import factory, require_env
from regimen.envs.vec_env import DemonstratedTask
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, DivergedError

ROOT = Path(__file__).resolve().parents[3]
TASKS = ("gear_assembly", "peg_insert")
CLOSE, OPEN = -1.0, 1.0
PICTURES = "env.images={size: [24, 32]}"
DRAWN = ("env.clearance=[0.0003,0.001]", "env.friction=[0.1,0.5]", "env.camera_error.position=0.01")


def opened(task: str, num_envs: int, *overrides: str) -> Any:
    config = compose_config([f"task={task}", f"env.num_envs={num_envs}", "hardware.threads=1", *overrides])
    return open_env(config)


def held(num_envs: int, *, gripper: float = CLOSE, **axes: float) -> torch.Tensor:
    """Return an action that moves along the named axes and holds the gripper."""
    action = torch.zeros(num_envs, 7)
    action[:, 6] = gripper
    for name, value in axes.items():
        action[:, ("x", "y", "z", "roll", "pitch", "yaw").index(name)] = value
    return action


def first_episodes(env: Any, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, list[Any]]:
    """Return which first episodes the expert completes (N,), their lengths (N,), and the infos of all steps."""
    env.reset(seed=seed)
    expert = env.scripted_expert(noise, seed)
    running, success = torch.ones(env.num_envs, dtype=torch.bool), torch.zeros(env.num_envs, dtype=torch.bool)
    length, infos = torch.zeros(env.num_envs, dtype=torch.long), []
    while running.any():
        length += running
        _, reward, terminated, truncated, info = env.step(expert.act())
        assert torch.equal(reward, info["labels"]["success"].float())
        infos.append(info)
        success |= running & info["labels"]["success"]
        running &= ~(terminated | truncated)
        expert.reset((terminated | truncated).nonzero().squeeze(1))
    return success, length, infos


def test_groups_actions_and_step_time():
    env = opened("gear_assembly", 2)
    assert (env.io.size("policy"), env.io.size("privileged"), env.io.images) == (25, 10, {})
    assert env.io.action.joints == ["x", "y", "z", "roll", "pitch", "yaw", "gripper"]
    assert (env.io.action.clip, env.step_dt, env.max_episode_length) == (1.0, 0.1, 100)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_completes_the_task_without_warnings_of_mujoco(task):
    env = opened(task, 12)
    assert isinstance(env.env, DemonstratedTask)
    success, length, infos = first_episodes(env, noise=0.1)
    assert success.all() and 10 < length.float().mean() < 30
    assert not any(info["metrics"]["mujoco_warnings"].any() for info in infos)
    ended = [info["log"] for info in infos if info["log"]]
    assert all(log["Metrics/success"] == 1.0 and log["Metrics/dropped"] == 0.0 for log in ended)


def test_a_plain_disc_and_a_tight_bore_can_be_assembled_too():
    env = opened("gear_assembly", 4, "env.teeth=0", "env.clearance=[0.00025,0.00025]")
    assert first_episodes(env, noise=0.0)[0].all()


def test_the_teeth_keep_a_gear_of_the_wrong_phase_from_its_seat():
    """The expert that ignores the teeth completes a plain disc, but hardly a gear in as many steps."""
    env = opened("gear_assembly", 8)
    env.reset(seed=0)
    blind = type(env.scripted_expert(0.0, 0))(lambda: env.reading, 8, teeth=0)
    wrong = np.abs(env.reading.part_phase) > 1.5
    assert wrong.sum() >= 3
    blocked = np.zeros(8, dtype=bool)
    for _ in range(12):
        env.step(blind.act())
        blocked |= (env.reading.lateral < 0.002) & (env.reading.part_position[:, 2] > 0.008)
    assert blocked[wrong].all()


@pytest.mark.slow
def test_random_actions_drop_the_part_and_seat_nothing():
    env = opened("gear_assembly", 8)
    env.reset(seed=0)
    actions = 2 * torch.rand(30, 8, 7, generator=torch.Generator().manual_seed(0)) - 1
    infos = [env.step(action)[-1]["labels"] for action in actions]
    assert sum(int(labels["dropped"].sum()) for labels in infos) >= 8
    assert not any(labels["success"].any() for labels in infos)


def test_a_hand_that_opens_is_failing_before_the_part_is_dropped():
    env = opened("gear_assembly", 2)
    env.reset(seed=0)
    assert not env.failing().any()
    action = held(2, gripper=0.7)
    action[1, 6] = CLOSE
    env.step(action)
    assert env.failing().tolist() == [True, False]
    terminated = torch.zeros(2, dtype=torch.bool)
    for _ in range(4):
        _, reward, ended, truncated, info = env.step(action)
        assert torch.equal(ended, info["labels"]["dropped"]) and not reward.any() and not truncated.any()
        assert torch.equal(ended, info["ends"]["dropped"])
        terminated |= ended
    assert terminated.tolist() == [True, False]


def test_time_truncates_and_does_not_terminate():
    env = opened("gear_assembly", 2, "env.episode_length_s=0.5")
    env.reset(seed=0)
    ends = [env.step(held(2))[2:4] for _ in range(5)]
    assert [bool(truncated.all()) for _, truncated in ends] == [False] * 4 + [True]
    assert not any(terminated.any() for terminated, _ in ends)


@pytest.mark.slow
def test_the_part_does_not_slip_in_the_hand_in_free_air():
    env = opened("gear_assembly", 8)
    env.reset(seed=0)
    start = env.reading.away.copy()
    actions = 2 * torch.rand(50, 8, 7, generator=torch.Generator().manual_seed(3)) - 1
    actions[..., 2], actions[..., 6] = actions[..., 2].abs(), CLOSE
    for action in actions:
        assert not env.step(action)[2].any()
    assert np.abs(env.reading.away - start).max() < 0.0005


@pytest.mark.parametrize("value", [float("nan"), 1e12])
def test_a_state_that_diverges_ends_the_run_and_names_its_env(value):
    env = opened("gear_assembly", 3)
    env.reset(seed=0)
    env.step(held(3))
    env.batch.bind("qvel")[1, 3] = value
    with raises_naming(DivergedError, "simulator", "env 1", "step 1") as caught:
        env.step(held(3))
    assert caught.value.env_ids == [1] and caught.value.dump is not None


def test_the_target_stays_in_the_safety_box_and_near_the_measured_pose():
    env = opened("gear_assembly", 1)
    env.reset(seed=0)
    for _ in range(20):
        obs = env.step(held(1, x=1.0, y=-1.0, z=1.0))[0]["policy"][0]
        lead = obs[19:22] * 0.01
        assert (lead.abs() <= 0.0201 + 0.01).all()
    x, y, z = env.reading.position[0]
    assert x < 0.062 and y > -0.062 and z < 0.132


def test_the_start_is_drawn_within_its_ranges():
    env = opened("gear_assembly", 32, "env.start.xy=0.02", "env.start.yaw=0.2", "env.start.height=[0.07,0.08]")
    env.reset(seed=0)
    place, turned = env.reading.position, env.reading.rotation
    assert np.abs(place[:, :2]).max() < 0.021 and np.abs(place[:, :2]).max() > 0.01
    assert place[:, 2].min() > 0.066 and place[:, 2].max() < 0.081
    assert 0.1 < np.abs(turned[:, 2]).max() < 0.21
    again = opened("gear_assembly", 32, "env.start.fixture=0.0", "env.start.slip=0.0")
    again.reset(seed=0)
    assert np.abs(again.reading.away).max() < 0.0006


def test_equal_seeds_give_equal_episodes_and_the_expert_resumes():
    one, two = opened("gear_assembly", 3, *DRAWN), opened("gear_assembly", 3, *DRAWN)
    one.reset(seed=5)
    expert = one.scripted_expert(0.1, 2)
    for _ in range(14):
        one.step(expert.act())
    two.load_state_dict(one.state_dict())
    resumed = two.scripted_expert(0.1, 99)
    resumed.load_state_dict(expert.state_dict())
    for _ in range(12):
        action, other = expert.act(), resumed.act()
        assert torch.equal(action, other)
        (obs, reward, *_), (other_obs, other_reward, *_) = one.step(action), two.step(other)
        assert torch.equal(obs["policy"], other_obs["policy"]) and torch.equal(reward, other_reward)


@pytest.mark.slow
def test_a_larger_clearance_lets_the_part_move_more():
    spread = {}
    for clearance in (0.0002, 0.0015):
        env = opened("peg_insert", 6, f"env.clearance=[0.0001,{clearance}]", "env.friction=[0.0,0.05]")
        env.reset(seed=1)
        assert env.state_dict()["clearance"].max() <= clearance
        expert = env.scripted_expert(0.0, 0)
        inserted = np.zeros(6)
        for _ in range(25):
            env.step(expert.act())
            inside = (env.reading.part_position[:, 2] < 0.012) & (env.reading.part_position[:, 2] > 0.0)
            inserted = np.maximum(inserted, np.where(inside, env.reading.lateral, 0.0))
        spread[clearance] = inserted.max()
    assert spread[0.0002] < 0.0004 < spread[0.0015]


def test_images_are_uint8_of_the_size_that_was_asked_for():
    env = opened("gear_assembly", 2, PICTURES)
    obs = env.reset(seed=0)
    assert env.io.images == {"wrist_1": [24, 32, 3], "wrist_2": [24, 32, 3]}
    for name in env.io.images:
        assert obs[name].shape == (2, 24, 32, 3) and obs[name].dtype == torch.uint8
        assert obs[name].float().std() > 10, "something is drawn"
    assert not torch.equal(obs["wrist_1"][0], obs["wrist_1"][1]) and not torch.equal(obs["wrist_1"], obs["wrist_2"])
    env.close()


def test_images_before_and_after_an_automatic_reset():
    env = opened("gear_assembly", 2, PICTURES, "env.episode_length_s=0.3")
    before = env.reset(seed=0)["wrist_1"]
    for _ in range(3):
        obs, _, _, truncated, info = env.step(held(2))
    assert truncated.all()
    final = info["final_obs"]["wrist_1"]
    near, far = ((final.float() - other.float()).abs().mean() for other in (before, obs["wrist_1"]))
    assert near < far / 3, "nothing moved until the end of the episode"
    env.close()


def test_an_error_of_the_cameras_changes_pictures_and_nothing_else():
    plain, moved = opened("gear_assembly", 1, PICTURES), opened("gear_assembly", 1, PICTURES)
    wrong = opened("gear_assembly", 1, PICTURES, "env.camera_error.position=0.02", "env.camera_error.rotation=0.1")
    seen = [env.reset(seed=0) for env in (plain, moved, wrong)]
    assert torch.equal(seen[0]["policy"], seen[2]["policy"])
    assert torch.equal(seen[0]["wrist_1"], seen[1]["wrist_1"])
    assert (seen[0]["wrist_1"].float() - seen[2]["wrist_1"].float()).abs().mean() > 5
    for env in (plain, moved, wrong):
        env.close()


@pytest.mark.parametrize(("drawn", "different"), [("episode", True), ("once", False)])
def test_the_error_of_the_cameras_is_drawn_each_episode_or_once(drawn, different):
    env = opened("gear_assembly", 2, "env.camera_error.position=0.02", f"env.camera_error.drawn={drawn}")
    env.reset(seed=0)
    first = env.state_dict()["cameras"]["error"]
    env.reset()
    assert torch.equal(first, env.state_dict()["cameras"]["error"]) != different
    assert first[..., :3].abs().max() <= 0.02 and not first[..., 3:].any()


def test_a_film_shows_a_third_view_and_both_cameras():
    env = opened("gear_assembly", 1)
    env.reset(seed=0)
    frame = env.render()
    assert frame.shape == (480, 640 + 240, 3) and frame.dtype == np.uint8
    parts = (frame[:, :640], frame[:240, 640:], frame[240:, 640:])
    assert all(part.std() > 10 for part in parts)
    env.close()


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("env.part=pegg", ("env.part", "peg")),
        ("env.teeth=5", ("env.teeth", "12")),
        ("env.clearance=[0.002,0.001]", ("env.clearance",)),
        ("env.clearance=[0.0,0.001]", ("env.clearance", "0.0001")),
        ("env.friction=[0.1,1.5]", ("env.friction", "1")),
        ("env.start.xy=0.2", ("env.start.xy", "0.06")),
        ("env.start.height=[0.01,0.1]", ("env.start.height", "0.05")),
        ("env.camera_error.drawn=never", ("env.camera_error.drawn", "episode", "once")),
        ("env.images={size: 4}", ("env.images.size", "8")),
        ("env.images={size: [64]}", ("env.images.size", "[height, width]")),
        ("env.images={cameras: [wrist_3]}", ("env.images.cameras", "wrist_3", "wrist_1")),
        ("env.images={cameras: []}", ("env.images.cameras", "env.images=null")),
        ("env.episode_length_s=0.01", ("env.episode_length_s", "0.1")),
        ("env.num_envs=0", ("env.num_envs", "1")),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(tmp_path, override, names):
    with raises_naming(ConfigError, *names):
        preflight(compose(["task=gear_assembly", override], [ROOT / "conf"]), tmp_path)


def test_an_agent_that_reads_no_images_is_refused_before_the_start(tmp_path):
    start = ["task=gear_assembly", "agent=fast_sac"]
    preflight(compose(start, [ROOT / "conf"]), tmp_path)
    with raises_naming(ConfigError, "agent=fast_sac", "task=gear_assembly", "env.images=null"):
        preflight(compose([*start, "env.images={size: 64}"], [ROOT / "conf"]), tmp_path)


@pytest.mark.slow
def test_gear_assembly_keeps_every_rule_of_the_contract(capsys):
    assert check_env_verb(["task=gear_assembly", "hardware.threads=1"]) == 0, capsys.readouterr().out


@pytest.mark.slow
def test_images_and_draws_keep_every_rule_of_the_contract():
    arguments = ["task=peg_insert", "hardware.threads=1", "env.episode_length_s=2.0", "env.images={size: 24}", *DRAWN]
    require_env(factory(compose_config(arguments)), num_envs=3)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_the_expert_completes_99_of_100_episodes(task):
    env = opened(task, 50)
    assert sum(int(first_episodes(env, 0.1, seed)[0].sum()) for seed in (0, 1)) >= 99


def test_the_label_phase_of_an_expert_goes_from_approach_to_insertion() -> None:
    env = opened("gear_assembly", 4)
    env.reset(seed=0)
    expert, phases = env.scripted_expert(0.0, 0), []
    for _ in range(60):
        info = env.step(expert.act())[4]
        phases.append(info["labels"]["phase"])
        if bool(info["labels"]["success"].any()):
            assert (info["labels"]["phase"][info["labels"]["success"]] == env.phases.index("insert")).all()
            break
    first = torch.stack(phases)[:, info["labels"]["success"]]
    assert set(first.unique().tolist()) == {0, 1, 2} and (first.diff(dim=0) >= 0).all()
