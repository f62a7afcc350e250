"""Convert `.pth` files that rl_games itself wrote to policies of this project: `regimen adopt Ant.pth agent=<yours> …`.

Such a file holds weights by name, but neither names of observations nor of joints. The agent's configuration gives the
network, the task the former, the user the latter.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.agents.adoption import adopted_bundle, permutation, require_file_of
from regimen.agents.rl_games.agent import RlGames
from regimen.agents.runner import library
from regimen.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from regimen.agents.rl_games.config import RlGamesCfg
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

MINIBATCH = {"minibatch_size", "minibatch_size_per_env"}
SAC_PARTS = ("actor", "critic", "critic_target")
COLUMNS = ("a2c_network.actor_mlp.0.weight", "a2c_network.critic_mlp.0.weight", "running_mean_std.")
"""Beginnings of the names of tensors whose last dimension is the observation."""

ROWS = ("a2c_network.mu.", "a2c_network.sigma")
"""Beginnings of the names of tensors whose first dimension is the action."""


def adopt(path: Path, config: Config, io: IOSpec, joints: list[str]) -> PolicyBundle:
    """Return the bundle of a checkpoint with the policy of a file of rl_games.

    Args:
        path: the file.
        config: its task, and the agent, whose `params` describe the network.
        io: observations and actions of the task.
        joints: in the order in which the policy was trained with them.

    Raises:
        CheckpointError: it is no such file, or its network is another one.
        IOMismatchError: the joints are not those of the task.
    """
    require_file_of(path, "rl_games")
    content = library.read_checkpoint(path)
    state = weights_of(path, content)
    agent = _with_sizes_that_fit(config.agent, config.env.num_envs)
    made = RlGames(agent, io, config.env.num_envs, torch.device("cpu"), 0)
    _require_same(path, state, made.agent.model.state_dict(), io)
    if (moved := permutation(io, joints, config)) is not None:
        state = _reordered(state, *moved)
    weights = {"model": state, "num_envs": config.env.num_envs}
    return adopted_bundle(path, agent, io, weights, joints, content.get("epoch"))


def _with_sizes_that_fit(agent: RlGamesCfg, num_envs: int) -> RlGamesCfg:
    """Return a copy of `agent` with minibatches of whole rollouts of N envs, for which an agent can be built.

    Sizes of a training play no part in its policy, and those of a pasted configuration are for another N.
    """
    agent = copy.deepcopy(agent)
    settings = agent.settings
    for section in (settings, settings.get("central_value_config")):
        if isinstance(section, dict) and MINIBATCH & section.keys():
            section.pop("minibatch_size_per_env", None)
            section["minibatch_size"] = agent.epoch_steps() * num_envs
    return agent


def weights_of(path: Path, content: StateDict) -> dict[str, torch.Tensor]:
    """Return the tensors of the model in a file's content, under the names that the present model has.

    Args:
        path: of the file, for the message.
        content: what it holds.

    Raises:
        CheckpointError: it holds no model.
    """
    if isinstance(content.get("model"), dict):
        state = {name.removeprefix("_orig_mod."): value for name, value in content["model"].items()}
    elif all(part in content for part in SAC_PARTS):
        state = {f"sac_network.{part}.{name}": v for part in SAC_PARTS for name, v in content[part].items()}
    else:
        raise CheckpointError(f"{path} is no checkpoint of rl_games: it has {', '.join(map(str, content))}.")
    for name, value in (content.get("running_mean_std") or {}).items():  # beside the model in older versions
        state.setdefault(f"running_mean_std.{name}", value)
    return state


def _require_same(path: Path, state: StateDict, like: StateDict, io: IOSpec) -> None:
    lines = [f"{name} is only in the file" for name in state if name not in like]
    lines += [f"{name} is missing in the file" for name in like if name not in state]
    lines += [
        f"{name} is {tuple(value.shape)} in the file, {tuple(like[name].shape)} by the settings"
        for name, value in state.items()
        if name in like and value.shape != like[name].shape
    ]
    if lines:
        terms = " + ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
        raise CheckpointError(
            f"{path} does not fit agent.params.network, the normalisation in agent.params.config, or the task with "
            f"observations {terms} and {io.num_actions} actions:\n  " + "\n  ".join(lines[:8])
        )


def _reordered(state: dict[str, torch.Tensor], order: list[int], columns: list[int]) -> dict[str, torch.Tensor]:
    """Return the weights with the columns and rows that belong to joints in the task's order.

    Raises:
        ConfigError: the network has other layers.
    """
    if not any(name.startswith(COLUMNS[0]) for name in state):
        raise ConfigError("Joints can be reordered for networks of `mlp` only: use --joints task.")
    moved = dict(state)
    for name, tensor in state.items():
        if name.startswith(COLUMNS) and tensor.ndim:
            moved[name] = tensor[..., columns]
        elif name.startswith(ROWS):
            moved[name] = tensor[order]
    return moved
