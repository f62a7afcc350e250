"""Errors of encoders and servos: what is read, where a joint rests, on every simulator, saved and restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.joint_errors import JointErrors
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.terms import observations
from regimen.orchestration.preflight import preflight

BETWEEN = (-0.08, 0.08)


def drawn(quantity: str, mode: str = "reset", **params: Any) -> dict[str, Any]:
    given = {"quantity": quantity, "between": list(BETWEEN), "operation": "add", **params}
    return {"func": "randomize", "mode": mode, "params": given}


def arm(**events: Any) -> ManagerEnv:
    """An arm without gravity on its joints, so that servos rest at their targets."""
    weightless = {"func": "randomize", "mode": "startup", "params": {"quantity": "gravity_z", "between": [0.0, 0.0]}}
    changes = {"observation_noise": False, "episode_length_s": 20.0}
    env = make_env("reach", 4, events={"weightless": weightless, **events}, **changes)
    env.reset(seed=0)
    return env


def settled(env: ManagerEnv) -> ManagerEnv:
    """The same arm after its servos came to rest at a target of 0 action."""
    for _ in range(120):
        env.step(torch.zeros(4, env.io.num_actions))
    assert env.state.joint_vel.abs().max() < 5e-3
    return env


def test_a_biased_encoder_is_read_at_the_target_and_the_joint_is_beside_it() -> None:
    env = settled(arm(errors=drawn("encoder_bias")))
    bias = env.events.terms["errors"].values.float()
    assert bias.abs().max() > 0.02 and bias.abs().max() <= 0.08
    assert torch.allclose(observations.joint_pos_rel(env), torch.zeros_like(bias), atol=2e-3)
    assert torch.allclose(env.state.joint_offset, -bias, atol=2e-3)
    assert torch.equal(observations.joint_pos_rel(env, measured=False), env.state.joint_offset)


def test_an_offset_of_a_servo_moves_the_joint_and_is_read() -> None:
    env = settled(arm(errors=drawn("joint_offset")))
    offset = env.events.terms["errors"].values.float()
    assert offset.abs().max() > 0.02
    assert torch.allclose(env.state.joint_offset, offset, atol=2e-3)
    assert torch.equal(observations.joint_pos_rel(env), env.state.joint_offset)


def test_both_together_and_of_one_joint_alone() -> None:
    first = arm().joints[0]
    env = settled(arm(bias=drawn("encoder_bias", of=first), offset=drawn("joint_offset", of=first)))
    bias, offset = (env.events.terms[name].values[:, 0].float() for name in ("bias", "offset"))
    assert torch.allclose(env.state.joint_offset[:, 0], offset - bias, atol=2e-3)
    assert torch.allclose(observations.joint_pos_rel(env)[:, 0], offset, atol=2e-3)
    assert env.state.joint_offset[:, 1:].abs().max() < 2e-3


def test_without_errors_nothing_is_computed_and_a_seeded_reset_removes_them() -> None:
    env = arm()
    assert observations.joint_pos_rel(env).data_ptr() == env.state.joint_offset.data_ptr()
    env = arm(errors=drawn("encoder_bias", mode="interval") | {"interval_range_s": [0.05, 0.1]})
    for _ in range(10):
        env.step(torch.zeros(4, env.io.num_actions))
    assert not torch.equal(observations.joint_pos_rel(env), env.state.joint_offset)
    env.reset(seed=0)
    assert torch.equal(observations.joint_pos_rel(env), env.state.joint_offset)


def test_errors_are_restored() -> None:
    env, other = arm(errors=drawn("encoder_bias")), arm(errors=drawn("encoder_bias"))
    for _ in range(3):
        env.step(torch.zeros(4, env.io.num_actions))
    env.reset()
    other.load_state_dict(env.state_dict())
    for _ in range(5):
        ours, theirs = (e.step(torch.full((4, e.io.num_actions), 0.2)) for e in (env, other))
        assert torch.equal(ours[0]["policy"], theirs[0]["policy"])
    fresh = arm()
    fresh.load_state_dict(arm().state_dict())
    assert torch.equal(observations.joint_pos_rel(fresh), fresh.state.joint_offset)


def test_errors_that_were_saved_on_the_cpu_are_restored_on_the_device_of_the_robots() -> None:
    errors = JointErrors(["knee"], 2, torch.device("meta"))  # stands for a GPU
    errors.load_state_dict({"encoder_bias": torch.zeros(2, 1)})
    assert errors.state_dict()["encoder_bias"].device.type == "meta"


@pytest.mark.parametrize("quantity", ["encoder_bias", "joint_offset"])
def test_every_simulator_has_them(tmp_path: Path, quantity: str) -> None:
    event = f"{{func: randomize, mode: reset, params: {{quantity: {quantity}, between: [-0.1, 0.1], operation: add}}}}"
    preflight(compose(["task=go2_flat", "sim=genesis", f"+env.events.errors={event}"], [CONF]), tmp_path)
