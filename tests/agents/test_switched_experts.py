"""Experts that take over at the verdict: who acts when, and which experts make a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from regimen.agents.switched_experts import SwitchedExperts
from regimen.envs.fault_estimate.columns import with_estimate
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import ConfigError, IOMismatchError

NARROW = IOSpec({"policy": {"position": 2}}, ActionSpec(["x"], [1.0], [0.0]), 0.1)
IO = with_estimate(NARROW, ["left_knee", "right_knee"])


class Constant:
    """A policy that always does the same, plus what it reads."""

    def __init__(self, value: float, columns: int) -> None:
        self.value, self.columns = value, columns

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Constant:
        return cls(bundle["policy"]["value"], io.size())

    def act(self, obs: dict[str, torch.Tensor], state: None) -> tuple[torch.Tensor, None]:
        assert obs["policy"].shape[1] == self.columns
        return self.value + obs["policy"][:, :1], None


def part(value: float, faults: list[str], io: IOSpec = NARROW) -> dict[str, Any]:
    agent = {"_target_": "agents.test_switched_experts.Constant"}
    return {"agent": agent, "io": io.to_dict(), "policy": {"value": value}, "faults": faults, "training": {}}


def policy(*experts: dict[str, Any]):
    bundle = {"policy": SwitchedExperts.assemble(part(0.0, []), experts, IO)}
    return SwitchedExperts.load_policy(bundle, IO, torch.device("cpu"))


class Counting(Constant):
    """A recurrent policy: what `Constant` does, and 10 for each step of the episode before."""

    def act(self, obs: dict[str, torch.Tensor], state: Any) -> tuple[torch.Tensor, Any]:
        count = torch.zeros(len(obs["policy"]), 1) if state is None else state
        return super().act(obs, None)[0] + 10 * count, count + 1

    def reset(self, state: torch.Tensor, env_ids: torch.Tensor) -> torch.Tensor:
        return state.index_fill(0, env_ids, 0.0)


def told(*rows: tuple[list[float], float]) -> dict[str, torch.Tensor]:
    return {"policy": torch.tensor([[0.25, 0.0, *probabilities, since] for probabilities, since in rows])}


SURE, LEFT, RIGHT = [1.0, 0.0, 0.0], [0.1, 0.7, 0.2], [0.1, 0.2, 0.7]


def test_the_healthy_policy_acts_until_the_verdict_whatever_the_probabilities() -> None:
    one = policy(part(1.0, ["left_knee"]), part(2.0, ["right_knee"]))
    action, state = one.act(told((LEFT, 0.0), (LEFT, 0.05), (RIGHT, 0.05)), None)
    assert action[:, 0].tolist() == [0.25, 1.25, 2.25]
    action, state = one.act(told((LEFT, 0.05), (RIGHT, 0.1), (LEFT, 0.1)), state)
    assert action[:, 0].tolist() == [1.25, 1.25, 2.25], "probabilities waver; the verdict stands"
    action, state = one.act(told((RIGHT, 0.1), (RIGHT, 0.05), (SURE, 0.0)), state)
    assert action[:, 0].tolist() == [1.25, 2.25, 0.25], "a new verdict begins anew, one taken back ends"


def test_a_new_episode_begins_healthy() -> None:
    one = policy(part(1.0, ["left_knee"]), part(2.0, ["right_knee"]))
    _, state = one.act(told((LEFT, 0.9), (RIGHT, 0.9)), None)
    state = one.reset(state, torch.tensor([0]))
    action, _ = one.act(told((RIGHT, 0.05), (LEFT, 0.95)), state)
    assert action[:, 0].tolist() == [2.25, 2.25]


def test_recurrent_parts_keep_their_state_through_an_episode() -> None:
    recurrent = {"agent": {"_target_": "agents.test_switched_experts.Counting"}}
    experts = [part(1.0, ["left_knee"]) | recurrent, part(2.0, ["right_knee"])]
    made = {"policy": SwitchedExperts.assemble(part(0.0, []) | recurrent, experts, IO)}
    one = SwitchedExperts.load_policy(made, IO, torch.device("cpu"))
    action, state = one.act(told((SURE, 0.0), (SURE, 0.0), (SURE, 0.0)), None)
    assert action[:, 0].tolist() == [0.25, 0.25, 0.25]
    action, state = one.act(told((SURE, 0.0), (LEFT, 0.05), (RIGHT, 0.05)), state)
    assert action[:, 0].tolist() == [10.25, 11.25, 2.25]
    state = one.reset(state, torch.tensor([1]))
    action, state = one.act(told((SURE, 0.0), (LEFT, 0.05), (RIGHT, 0.1)), state)
    assert action[:, 0].tolist() == [20.25, 1.25, 2.25]
    assert one.act(told((LEFT, 0.05), (SURE, 0.0), (SURE, 0.0)), state)[0][:, 0].tolist() == [31.25, 10.25, 30.25]


def test_one_expert_may_serve_several_joints_and_may_read_the_estimate() -> None:
    one = policy(part(3.0, ["left_knee", "right_knee"], IO))
    action, _ = one.act(told((LEFT, 0.9), (RIGHT, 0.9), (SURE, 0.0)), None)
    assert action[:, 0].tolist() == [3.25, 3.25, 0.25]


@pytest.mark.parametrize(
    ("faults", "names"),
    [
        ([["left_knee"]], ["left_knee", "env.events.change_joint_torque.params.joints=right_knee"]),
        ([["left_knee"], ["left_knee", "right_knee"]], ["2", "left_knee", "left_knee, right_knee"]),
        ([["left_knee"], []], ["left_knee", "env.events.change_joint_torque.params.joints=right_knee"]),
    ],
)
def test_every_joint_needs_exactly_one_expert(faults, names) -> None:
    with raises_naming(ConfigError, *names):
        SwitchedExperts.assemble(part(0.0, []), [part(1.0, f) for f in faults], IO)


def test_a_task_without_an_estimate_cannot_switch() -> None:
    with raises_naming(ConfigError, "env.estimate.mode=oracle", "estimator="):
        SwitchedExperts.assemble(part(0.0, []), [part(1.0, ["left_knee"])], NARROW)


def test_an_expert_of_another_robot_is_refused() -> None:
    other = IOSpec({"policy": {"position": 2}}, ActionSpec(["y"], [1.0], [0.0]), 0.1)
    with raises_naming(IOMismatchError, "x", "y"):
        SwitchedExperts.assemble(part(0.0, []), [part(1.0, ["left_knee", "right_knee"], other)], IO)


def test_nothing_but_what_acts_is_kept() -> None:
    state = SwitchedExperts.assemble(part(0.0, []), [part(1.0, ["left_knee", "right_knee"])], IO)
    assert [sorted(p) for p in state["parts"]] == [["agent", "io", "policy"]] * 2
    assert state["expert_of_class"] == [0, 1, 1]
