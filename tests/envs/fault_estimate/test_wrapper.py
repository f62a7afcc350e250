"""What a policy is told of faults: by an oracle, late, falsely, by a detector; and that the env keeps its contract."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.faulty_point_env import JOINTS, NUMBERED, ONSET, Counting, FaultyPoints, told
from helpers.messages import raises_naming
from regimen.config.compose import compose_config
from regimen.config.task_schema import EstimateCfg
from regimen.envs.conformance.check import factory, require_env
from regimen.envs.fault_estimate.oracle import Oracle
from regimen.envs.fault_estimate.wrapper import EstimatedEnv
from regimen.system.errors import IOMismatchError

STILL = torch.zeros(9, 2)


def columns(obs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (N, 3) and time since the verdict (N,)."""
    return obs["policy"][:, -4:-1], obs["policy"][:, -1]


def play(env: EstimatedEnv, steps: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    env.reset(seed=0)
    return [columns(env.step(torch.zeros(env.num_envs, 2))[0]) for _ in range(steps)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "estimate"),
    [
        ("none", {}),
        ("oracle", {}),
        ("oracle_delayed", {"delay_steps": [2, 6], "false_alarms_per_hour": 3000.0}),
        ("classifier", {}),
    ],
)
def test_it_keeps_every_rule_of_the_contract(mode: str, estimate: dict[str, Any]) -> None:
    require_env(lambda n: told(mode, n, **estimate), command="goal", grid=[[0.0, 0.0], [0.8, 0.0]])


def test_nobody_is_told_anything_in_mode_none() -> None:
    for probabilities, since in play(told("none", false_alarms_per_hour=1e5), 30):
        assert torch.equal(probabilities, torch.tensor([1.0, 0.0, 0.0]).expand(9, 3))
        assert not since.any()


def test_an_oracle_tells_the_truth_in_the_very_step_and_counts_from_there() -> None:
    steps = play(told("oracle"), 24)
    expected = torch.tensor([0, 1, 2]).repeat(3)
    for step, (probabilities, since) in enumerate(steps, start=1):
        assert torch.equal(probabilities.argmax(1), expected if step >= ONSET else torch.zeros(9, dtype=torch.long))
        age = max(0, step - ONSET + 1) * 0.1 / 2.0
        assert since.tolist() == pytest.approx([min(1.0, age) if joint else 0.0 for joint in expected.tolist()])


def test_a_late_oracle_is_late_by_its_own_draw_for_each_fault() -> None:
    probabilities = torch.stack([p for p, _ in play(told("oracle_delayed", 300, delay_steps=[3, 9]), 24)])
    known = (probabilities.argmax(2) > 0).int()
    delay = known.argmax(0) - (ONSET - 1)
    faulty = torch.arange(300) % 3 > 0
    assert not known[:, ~faulty].any()
    assert set(delay[faulty].tolist()) == set(range(3, 10))
    assert (known[:, faulty].diff(dim=0) >= 0).all(), "what is known stays known"


def test_false_alarms_come_at_their_rate_of_any_wrong_joint_and_end() -> None:
    env = told("oracle", 3000, false_alarms_per_hour=900.0)
    env.reset(seed=0)
    alarms = hours = 0.0
    before = torch.zeros(3000, dtype=torch.long)
    seen: set[int] = set()
    for _ in range(ONSET - 1):
        probabilities, _since = columns(env.step(torch.zeros(3000, 2))[0])
        now = probabilities.argmax(1)
        alarms += float(((now > 0) & (before == 0)).sum())
        hours += float((before == 0).sum()) * 0.1 / 3600
        seen |= set(now.tolist())
        before = now
    assert alarms / hours == pytest.approx(900.0, rel=0.15)
    assert seen == {0, 1, 2}
    truth, _since = columns(env.step(torch.zeros(3000, 2))[0])
    assert torch.equal(truth.argmax(1)[torch.arange(3000) % 3 > 0], before.new_tensor([1, 2]).repeat(1000))


def test_while_a_fault_is_not_yet_known_a_false_alarm_names_another_joint() -> None:
    env = told("oracle_delayed", 300, delay_steps=[15, 15], false_alarms_per_hour=30000.0)
    said = torch.stack([probabilities.argmax(1) for probabilities, _ in play(env, ONSET + 14)])
    begun = (said[1:] > 0) & (said[1:] != said[:-1])
    begun[: ONSET - 1] = False  # those may name by chance what fails later
    truth = (torch.arange(300) % 3).expand_as(begun)
    assert int((begun & (truth > 0)).sum()) > 100
    assert not (begun & (truth > 0) & (said[1:] == truth)).any()


def test_the_final_observation_is_of_the_old_episode_and_the_next_one_begins_healthy() -> None:
    env = told("oracle")
    env.reset(seed=0)
    for _ in range(25):
        obs, _, _, truncated, info = env.step(STILL)
    assert truncated.all()
    probabilities, since = columns(info["final_obs"])
    assert torch.equal(probabilities.argmax(1), torch.tensor([0, 1, 2]).repeat(3))
    assert since[1].item() == pytest.approx((25 - ONSET + 1) * 0.1 / 2.0)
    probabilities, since = columns(obs)
    assert (probabilities[:, 0] == 1.0).all() and not since.any()


def test_a_detector_forgets_where_an_episode_begins_before_it_reads_its_first_observation() -> None:
    env = told("classifier")
    env.reset(seed=0)
    for _ in range(24):
        obs, *_ = env.step(STILL)
    assert columns(obs)[0][:, 0].tolist() == pytest.approx([1 - 25 / 30] * 9)
    obs, *_ = env.step(STILL)
    assert columns(obs)[0][:, 0].tolist() == pytest.approx([1 - 1 / 30] * 9)
    assert not columns(obs)[1].any()


def test_a_state_that_was_saved_on_the_cpu_is_restored_on_the_device_of_the_env() -> None:
    points = FaultyPoints(9)
    points.device = torch.device("meta")  # stands for a GPU
    env = EstimatedEnv(points, JOINTS, NUMBERED, Counting(9), 0)
    env.load_state_dict(told("classifier").state_dict())
    assert env.state_dict()["told"].device.type == "meta"


def test_an_oracle_that_was_saved_on_the_cpu_is_restored_on_its_own_device() -> None:
    oracle = Oracle(EstimateCfg(), "oracle", 2, 9, 0.1, torch.device("cpu"))
    saved = oracle.state_dict()
    oracle.told = oracle.told.to("meta")  # a generator cannot be made there
    oracle.load_state_dict(saved)
    restored = {name: value for name, value in oracle.state_dict().items() if name != "generator"}
    assert restored and {value.device.type for value in restored.values()} == {"meta"}


def test_every_mode_means_the_same_so_that_a_policy_of_one_fits_the_other() -> None:
    assert told("oracle").io == told("classifier").io == told("none").io
    assert told("oracle").io.meaning["policy"]["fault_probability"]["classes"] == ["healthy", *JOINTS]


def test_a_detector_of_other_joints_is_refused() -> None:
    with raises_naming(IOMismatchError, "healthy, y, z", "healthy, z, y", "env.estimate.joints"):
        EstimatedEnv(FaultyPoints(2), ["z", "y"], NUMBERED, Counting(2), 0)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["oracle_delayed", "none"])
def test_h1_that_is_told_keeps_every_rule(mode: str) -> None:
    changes = [f"env.estimate.mode={mode}", "env.estimate.false_alarms_per_hour=600"]
    config = compose_config(["task=h1_failure", "env.episode_length_s=4.0", *changes])
    require_env(factory(config), 8, command="base_velocity", grid=[[0.0, 0.0, 0.0], [0.6, 0.0, 0.0]])
