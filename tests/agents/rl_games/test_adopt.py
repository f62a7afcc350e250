"""Files that rl_games itself wrote become policies that act alike, with joints in another order as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rl_games", reason="make rl_games")

import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.agents.rl_games import RlGames
from regimen.agents.rl_games.adopt import adopt
from regimen.cli.adopt import adopt_verb
from regimen.config.compose import compose_config
from regimen.config.schema import Config
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, IOMismatchError


@pytest.fixture(scope="module")
def io() -> Any:
    env = make_env("reach", 1)
    env.close()
    return env.io


def composed(*overrides: str) -> Config:
    return compose_config(["task=reach", "agent=rl_games", "agent.params.network.mlp.units=[8]", *overrides])


def written(folder: Path, config: Config, io: Any, seed: int) -> tuple[RlGames, Path]:
    """An agent, and the file that the library writes of it."""
    made = RlGames(config.agent, io, config.env.num_envs, torch.device("cpu"), seed)
    made.agent.model.running_mean_std.running_mean += torch.arange(io.size())
    made.agent.last_mean_rewards = torch.tensor(2.5).numpy()[()]
    torch.save(made.agent.get_full_state_weights(), folder / "last.pth")
    return made, folder / "last.pth"


def test_a_file_becomes_a_policy_that_acts_alike(tmp_path, io, capsys):
    made, path = written(tmp_path, composed(), io, seed=4)
    words = ["task=reach", "agent=rl_games", "agent.params.network.mlp.units=[8]"]
    assert adopt_verb([str(path), "--joints", "task", *words]) == 0
    assert "last.policy.pt" in capsys.readouterr().out
    policy = RlGames.load_policy(checkpoint.load(tmp_path / "last.policy.pt"), io, torch.device("cpu"))
    obs = {"policy": torch.randn(5, io.size())}
    assert torch.equal(policy.act(obs, None)[0], made.policy().act(obs, None)[0])


def test_sizes_of_a_training_with_other_envs_play_no_part(tmp_path, io):
    made, path = written(tmp_path, composed(), io, seed=4)
    sizes = ["~agent.params.config.minibatch_size_per_env", "+agent.params.config.minibatch_size=32768"]
    bundle = adopt(path, composed(*sizes), io, io.action.joints)
    policy = RlGames.load_policy(bundle, io, torch.device("cpu"))
    obs = {"policy": torch.randn(5, io.size())}
    assert torch.equal(policy.act(obs, None)[0], made.policy().act(obs, None)[0])


def test_joints_in_another_order(tmp_path, io):
    made, path = written(tmp_path, composed(), io, seed=4)
    bundle = adopt(path, composed(), io, ["elbow", "shoulder"])
    policy = RlGames.load_policy(bundle, io, torch.device("cpu"))
    obs = torch.randn(5, io.size())
    columns = torch.arange(io.size())
    columns[:4] = torch.tensor([1, 0, 3, 2])  # positions and velocities of both joints
    theirs = made.policy().act({"policy": obs[:, columns]}, None)[0]
    assert torch.allclose(policy.act({"policy": obs}, None)[0], theirs[:, [1, 0]], atol=1e-6)
    with raises_naming(IOMismatchError, "knee", "elbow"):
        adopt(path, composed(), io, ["knee", "shoulder"])


def test_another_network_is_refused_with_what_differs(tmp_path, io):
    _, path = written(tmp_path, composed(), io, seed=0)
    with raises_naming(CheckpointError, "last.pth", "a2c_network.actor_mlp.0.weight", "agent.params.network"):
        adopt(path, composed("agent.params.network.mlp.units=[16]"), io, io.action.joints)
    with raises_naming(CheckpointError, "running_mean_std.running_mean"):
        adopt(path, composed("agent.params.config.normalize_input=false"), io, io.action.joints)
    torch.save({"weights": {}}, path)
    with raises_naming(CheckpointError, "last.pth", "weights"):
        adopt(path, composed(), io, io.action.joints)
