"""Recurrent policies in a file: state in and out, zeros where an episode begins, and the same policy in `policy=`."""

from __future__ import annotations

import importlib.util
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.rsl_rl.test_ppo import config as rsl_rl_config
from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from regimen.agents.deployment.exporting import encode
from regimen.agents.export import header
from regimen.agents.policy_file import load_bundle, load_policy
from regimen.agents.rsl_rl.ppo import RslRlPpo
from regimen.agents.student import Student, StudentCfg
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

CPU = torch.device("cpu")
TASK: Any = {"env": {}, "choices": {}}
LIBRARY = importlib.util.find_spec("rl_games") is not None


def enlarged(state: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a policy, with weights that make actions of about 1."""
    for name, value in state.items():
        if isinstance(value, dict):
            enlarged(value)
        elif value.is_floating_point() and value.dim() > 1 and not any(part in name for part in ("norm", "mean_std")):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))) * 0.5)
    return state


def student(env: PointEnv) -> dict[str, Any]:
    cfg = StudentCfg(observations=["policy"], hidden=[16], recurrent=8)
    made = Student(cfg, env.io, 1, CPU, seed=0)
    return {"agent": asdict(cfg), "policy": enlarged({"net": made.net.state_dict()})}


def rsl_rl(env: PointEnv, **model: Any) -> dict[str, Any]:
    model = {"class_name": "RNNModel", "rnn_hidden_dim": 8, "obs_normalization": True, **model}
    cfg = rsl_rl_config("reach", 1, 4, model=model).agent
    return {"agent": asdict(cfg), "policy": enlarged(RslRlPpo(cfg, env.io, 4, CPU, seed=0).policy_state())}


def rl_games(env: PointEnv, separate: bool, **rnn: Any) -> dict[str, Any]:
    from helpers.rl_games_parts import PPO, changed, rl_games_config
    from regimen.agents.rl_games import RlGames

    network = {"separate": separate, "rnn": {"units": 8, "layers": 2, **rnn}}
    cfg = rl_games_config(changed(PPO, network=network, seq_len=4)).agent
    made = RlGames(cfg, env.io, 8, CPU, seed=0)
    return {"agent": asdict(cfg), "policy": {"num_envs": 8} | enlarged(made.training.policy_state())}


needs_library = pytest.mark.skipif(not LIBRARY, reason="make rl_games")
CASES = [
    pytest.param(student, {}, {"hidden": [8]}, id="student"),
    pytest.param(rsl_rl, {"rnn_type": "lstm"}, {"hidden": [1, 8], "cell": [1, 8]}, id="rsl_rl lstm"),
    pytest.param(rsl_rl, {"rnn_type": "gru", "rnn_num_layers": 2}, {"hidden": [2, 8]}, id="rsl_rl gru"),
    pytest.param(rl_games, {"separate": False, "name": "gru"}, {"hidden": [2, 8]}, id="rl_games", marks=needs_library),
    pytest.param(
        rl_games,
        {"separate": True, "name": "lstm", "before_mlp": True},
        {"hidden": [2, 8], "cell": [2, 8]},
        id="rl_games with a critic of its own",
        marks=needs_library,
    ),
]


def exported(folder: Path, bundle: dict[str, Any], form: str = "torchscript") -> Path:
    source, target = folder / "source.pt", folder / ("policy.onnx" if form == "onnx" else "policy.pt")
    checkpoint.save(source, bundle)
    target.write_bytes(encode(source, form, TASK, None)[0])
    return target


needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [onnx]")
SLOW = (pytest.mark.slow, needs_onnx)
IN_ONNX = [pytest.param(*CASES[i].values, "onnx", marks=(*SLOW, *CASES[i].marks)) for i in (1, 4)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "settings", "state", "form"),
    [*(pytest.param(*case.values, "torchscript", id=case.id, marks=case.marks) for case in CASES), *IN_ONNX],
)
def test_the_file_acts_as_the_policy_through_episodes_that_end_at_different_steps(
    tmp_path, make, settings, state, form
):
    env = PointEnv(6)
    bundle: Any = {"format": 1, "run": "made", "step": 1, "io": env.io.to_dict(), **make(env, **settings)}
    path = exported(tmp_path, bundle, form)
    description = header.read_description(path)
    assert description.state == state
    assert [name for name in description.inputs if name not in description.reads] == [f"state_in_{n}" for n in state]
    policies = [load_policy(made, env, seed=0) for made in (bundle, load_bundle(str(path)))]
    states: list[Any] = [None, None]
    generator, first = torch.Generator().manual_seed(0), {"policy": torch.randn(6, 4)}
    actions = []
    for step in range(12):
        obs = first if step in (0, 11) else {"policy": 2 * torch.randn(6, 4, generator=generator)}
        wanted, found = (policy.act(obs, states[i]) for i, policy in enumerate(policies))
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-5)
        actions.append(found[0])
        ends = torch.tensor([step % 4]) if step < 10 else torch.tensor([5])
        states = [policy.reset(part[1], ends) for policy, part in zip(policies, (wanted, found), strict=True)]
    torch.testing.assert_close(actions[-1][5], actions[0][5])  # its episode has just begun
    assert (actions[-1] - actions[0]).abs().amax(1)[0] > 1e-3, "the state changes the action"


@pytest.mark.parametrize("spoilt", ["kept", "lost"])
def test_a_network_whose_state_is_wrong_is_not_written(tmp_path, monkeypatch, spoilt):
    from regimen.agents.student import agent

    env = PointEnv(6)
    bundle = {"format": 1, "run": "made", "step": 1, "io": env.io.to_dict(), **student(env)}
    forward = agent._Step.forward

    def wrong(self: Any, *values: torch.Tensor) -> Any:
        if spoilt == "lost":
            return forward(self, *values[:-1], torch.zeros_like(values[-1]))
        action, _ = forward(self, *values)
        return action, values[-1] * 1.0

    monkeypatch.setattr(agent._Step, "forward", wrong)
    with raises_naming(CheckpointError, "source.pt", "1e-05"):
        exported(tmp_path, bundle)


def test_a_recurrent_model_of_the_user_is_refused_by_name(tmp_path):
    env = PointEnv(6)
    bundle = {"format": 1, "run": "made", "step": 1, "io": env.io.to_dict()}
    bundle |= rsl_rl(env, class_name="agents.export.own_recurrent:OwnRecurrent", rnn_type="gru")
    with raises_naming(CheckpointError, "OwnRecurrent", "agent.actor.class_name=RNNModel"):
        exported(tmp_path, bundle)
