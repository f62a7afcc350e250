"""Convert checkpoints written by rsl_rl itself to policies of this project: `regimen adopt model_300.pt --joints …`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.agents.adoption import adopted_bundle, permutation, require_activation, require_sizes
from regimen.agents.rsl_rl import foreign_checkpoint
from regimen.agents.rsl_rl.build import build_actor
from regimen.agents.rsl_rl.config import RslRlPpoCfg, activations
from regimen.agents.rsl_rl.foreign_checkpoint import LegacyPolicy
from regimen.agents.rsl_rl.policy import load_actor

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle


def adopt(path: Path, config: Config, io: IOSpec, joints: list[str]) -> tuple[PolicyBundle, LegacyPolicy]:
    """Return the bundle of a checkpoint with the policy of an rsl_rl file, and the content of that file.

    Args:
        path: the file.
        config: its task, and the agent, whose `actor.activation` is that of the policy.
        io: observations and actions of the task.
        joints: in the order in which the policy was trained with them.

    Raises:
        CheckpointError: see `foreign_checkpoint.read`.
        ConfigError: the library has no such activation, or see `adoption.permutation`.
        IOMismatchError: it reads or writes other numbers of values than the task, or moves other joints.
    """
    old, activation = foreign_checkpoint.read(path), config.agent.actor.get("activation")
    require_activation("agent.actor.activation", activation, activations())
    require_sizes(path, old.num_observations, old.num_actions, io, config)
    if (moved := permutation(io, joints, config)) is not None:
        _reorder(old, *moved)
    agent = RslRlPpoCfg(**{**asdict(config.agent), "actor": {"activation": activation, **old.model}})
    load_actor(build_actor(agent, io, torch.device("cpu")), {"actor": old.state})
    return adopted_bundle(path, agent, io, {"actor": old.state}, joints, old.iteration), old


def _reorder(old: LegacyPolicy, order: list[int], columns: list[int]) -> None:
    """Put the columns and rows of a policy's weights that belong to joints into the task's order, in place."""
    for name, tensor in old.state.items():
        if name in (old.first_layer, *(f"obs_normalizer.{part}" for part in ("_mean", "_var", "_std"))):
            old.state[name] = tensor[..., columns]
        elif name.startswith((f"mlp.{old.last_layer}.", "distribution.")):
            old.state[name] = tensor[order]
