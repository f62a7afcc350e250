"""What a control step reads from its device: at once where a read is free, else together, in one read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from helpers.device_waits import as_on_a_gpu, counted_waits
from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.envs.conformance.check import require_env
from regimen.envs.device_reads import DeviceReads
from regimen.envs.finite import bad_rows, diverged
from regimen.envs.watched_env import WatchedEnv
from regimen.system.errors import DivergedError

CPU = torch.device("cpu")
STEPS = 24


@pytest.fixture(params=["cpu", "gpu"])
def reads(request: pytest.FixtureRequest) -> Iterator[DeviceReads]:
    if request.param == "cpu":
        yield DeviceReads(CPU)
        return
    with as_on_a_gpu():
        yield DeviceReads(CPU)


def error(values: torch.Tensor, name: str = "x"):
    return lambda: diverged(name, bad_rows(values), len(values), 3)


def test_ids_are_those_of_the_masks_in_ascending_order(reads):
    masks = [torch.tensor(rows, dtype=torch.bool) for rows in ([1, 0, 1, 0], [0, 0, 0, 0], [0, 1, 1, 1])]
    assert [ids.tolist() for ids in reads.ids(*masks)] == [[0, 2], [], [1, 2, 3]]


def test_all_masks_and_checks_are_one_read():
    with as_on_a_gpu():
        reads = DeviceReads(CPU)
    with counted_waits() as waits:
        for _ in range(3):
            reads.require_finite(torch.ones(4), error(torch.ones(4)))
        reads.ids(torch.ones(4) > 0, torch.zeros(4) > 0)
    assert waits.total == 1


def test_the_first_check_that_fails_is_reported_with_its_step(reads):
    good, bad, worse = torch.ones(2), torch.tensor([1.0, torch.nan]), torch.tensor([torch.inf, 1.0])
    with raises_naming(DivergedError, "second", "env 1", "step 3"):
        for name, values in (("first", good), ("second", bad), ("third", worse)):
            reads.require_finite(values, error(values, name))
        reads.ids(torch.ones(2) > 0)


def test_a_sum_that_overflows_is_no_error(reads):
    large = torch.full((4, 2), 3e38)
    reads.require_finite(large, error(large))
    reads.raise_pending()


@pytest.mark.parametrize("counted", [True, False])
def test_only_the_rows_that_count_are_examined(reads, counted):
    values, rows = torch.tensor([[1.0, torch.nan], [1.0, 1.0]]), torch.tensor([counted, True])
    if not counted:
        reads.require_finite(values, error(values), rows)
        reads.raise_pending()
        return
    with raises_naming(DivergedError, "env 0"):
        reads.require_finite(values, error(values), rows)
        reads.raise_pending()


def test_a_restart_drops_the_checks_that_wait():
    with as_on_a_gpu():
        reads = DeviceReads(CPU)
    reads.require_finite(torch.tensor([torch.nan]), error(torch.tensor([torch.nan])))
    reads.restart()
    reads.raise_pending()


def rollout(task: str, steps: int, **changes) -> list[torch.Tensor]:
    """Everything that a task returns in some steps, with ends, pushes and new commands among them."""
    env = make_env(task, 6, seed=1, episode_length_s=0.3, **changes)
    watched = WatchedEnv(env, 0, {})
    obs, generator = watched.reset(seed=1), torch.Generator().manual_seed(2)
    watched.stagger()
    out = [*obs.values()]
    for _ in range(steps):
        action = torch.randn(6, env.io.num_actions, generator=generator) * 0.3
        obs, reward, terminated, truncated, info = watched.step(action)
        log = torch.tensor([float(value) for value in info["log"].values()])
        out += [*obs.values(), *info["final_obs"].values(), *info["labels"].values(), *info["metrics"].values()]
        out += [reward, terminated, truncated, log, info["ended_ids"]]
    return [*out, *env.state.world.tensors().values(), env.generator.get_state()]


OFTEN = {"events": {"push_robot": {"interval_range_s": [0.1, 0.2]}}}
WALK = {"commands": {"base_velocity": {"params": {"resampling_time_s": [0.05, 0.1]}}}}
SHORT = {"events": {"push_robot": {"interval_range_s": [0.0, 0.1]}}}
FAULTS = {"events": {"change_joint_torque": {"params": {"onset_s": [0.0, 0.2]}}}}
CASES = {
    "go2_flat": ("go2_flat", OFTEN | WALK),
    "timers that may begin at 0": ("go2_flat", SHORT),
    "h1_failure": ("h1_failure", {}),
    "faults at once": ("h1_failure", FAULTS),
    **{task: (task, {}) for task in ("k1_walk", "go2_rough", "humanoid_track", "h1_amp", "go2_blind")},
}
FAST = ("go2_flat",)


@pytest.mark.parametrize("case", [c if c in FAST else pytest.param(c, marks=pytest.mark.slow) for c in CASES])
def test_a_step_is_the_same_where_a_read_waits(case):
    task, changes = CASES[case]
    here = rollout(task, STEPS, **changes)
    with as_on_a_gpu():
        there = rollout(task, STEPS, **changes)
    assert len(here) == len(there)
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.nan_to_num(7.0), other.nan_to_num(7.0))


@pytest.mark.slow
def test_the_contract_holds_where_a_read_waits():
    with as_on_a_gpu():
        require_env(lambda n: make_env("h1_failure", n, episode_length_s=1.0), num_envs=4)


def spoil_reward(env):
    env.rewards.terms["lin_vel_z_l2"] = lambda: torch.tensor([0.0, torch.nan])


def spoil_observation(env):
    env.observations.groups["policy"].terms["joint_pos"] = lambda: torch.full((2, 12), torch.inf)


def spoil_command(env):
    env.commands["gait"].step = lambda: env.commands["gait"].value.fill_(torch.nan)


def spoil_state(env):
    read = env.world.read

    def spoilt(env_ids=None):
        state = read(env_ids)
        state.joint_vel[-1, 2] = torch.nan
        return state

    env.world.read = spoilt


def spoil_start(env):
    env.events._at_reset["reset_robot_joints"] = lambda ids: env.reset_joint_pos.fill_(torch.nan)


SPOILT = {
    "reward": (spoil_reward, ("reward term", "lin_vel_z_l2", "env 1", "step 1.")),
    "observation": (spoil_observation, ("joint_pos", "policy", "step 1.")),
    "command": (spoil_command, ("command", "gait", "step 1.")),
    "state": (spoil_state, ("joint_vel", "FL_calf_joint", "env 1", "step 1.")),
    "start": (spoil_start, ("reset_joint_pos", "reset_robot_joints", "step 2.")),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_value_that_is_not_finite_is_named_with_its_step_one_step_later_at_most(what):
    spoil, named = SPOILT[what]
    with as_on_a_gpu():
        env = make_env("go2_flat", 2, episode_length_s=0.04)
        watched = WatchedEnv(env, 4, {})
        watched.reset(seed=0)
    spoil(env)
    with raises_naming(DivergedError, *named):
        for _ in range(3):
            watched.step(torch.zeros(2, 12))
    assert env.common_step_counter <= 1 + int(named[-1][-2])


def test_an_action_that_is_not_finite_is_reported_in_its_step():
    with as_on_a_gpu():
        env = make_env("go2_flat", 2)
        watched = WatchedEnv(env, 4, {})
        watched.reset(seed=0)
    action = torch.zeros(2, 12)
    action[1, 2] = torch.nan
    with raises_naming(DivergedError, "action", "FL_calf_joint", "1 of 2", "step 0."):
        watched.step(action)


def test_a_check_that_waits_is_made_before_a_state_is_saved():
    with as_on_a_gpu():
        env = make_env("go2_flat", 2)
        env.reset(seed=0)
    spoil_command(env)
    env.step(torch.zeros(2, 12))
    with raises_naming(DivergedError, "gait"):
        env.state_dict()
