"""Convert `.pth` files that rl_games itself wrote to policies of this project: `regimen adopt Ant.pth agent=<yours> …`.

Such a file holds weights by name, but neither names of observations nor of joints. The agent's configuration gives the
network, the task the former, the user the latter.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.agents.rl_games.agent import RlGames
from regimen.agents.runner import library
from regimen.envs.term_binding import joint_terms
from regimen.runs import checkpoint
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

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
    content = library.read_checkpoint(path)
    state = weights_of(path, content)
    made = RlGames(config.agent, io, config.env.num_envs, torch.device("cpu"), 0)
    _require_same(path, state, made.agent.model.state_dict(), io)
    if joints != io.action.joints:
        state = _reordered(state, io, joints, joint_terms(config.env))
    epoch = content.get("epoch")
    return {
        "format": checkpoint.FORMAT,
        "run": None,
        "step": None,
        "metric": None,
        "adopted": {"file": path.name, "sha256": files.sha256(path), "iteration": epoch, "joints": joints},
        "agent": asdict(config.agent),
        "io": io.to_dict(),
        "faults": [],
        "policy": {"model": state, "num_envs": config.env.num_envs},
    }


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


def _reordered(
    state: dict[str, torch.Tensor], io: IOSpec, joints: list[str], terms: list[str] | None
) -> dict[str, torch.Tensor]:
    """Return the weights with the columns and rows that belong to joints in the task's order.

    Raises:
        IOMismatchError: the joints are not those of the task.
        ConfigError: the network has other layers, or the observations of joints are not declared.
    """
    new = io.action.joints
    if sorted(joints) != sorted(new):
        raise IOMismatchError(f"--joints names {', '.join(joints)}; the task has {', '.join(new)}.")
    if terms is None or not any(name.startswith(COLUMNS[0]) for name in state):
        raise ConfigError("Joints can be reordered for networks of `mlp` on manager-based tasks: use --joints task.")
    order, columns = io.joint_permutation(joints, terms)
    moved = dict(state)
    for name, tensor in state.items():
        if name.startswith(COLUMNS) and tensor.ndim:
            moved[name] = tensor[..., columns]
        elif name.startswith(ROWS):
            moved[name] = tensor[order]
    return moved
