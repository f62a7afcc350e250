"""Convert checkpoints that skrl itself wrote to policies of this project: `regimen adopt best_agent.pt …`."""

from __future__ import annotations

import copy
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.adoption import adopted_bundle, permutation, require_activation, require_sizes
from regimen.agents.skrl_ppo import foreign_checkpoint
from regimen.agents.skrl_ppo.config import RunnerSection, SkrlPpoCfg
from regimen.agents.skrl_ppo.foreign_checkpoint import LOG_STD, Layers, SkrlFile
from regimen.agents.skrl_ppo.ppo import SkrlPpo
from regimen.agents.skrl_ppo.setting_checks import ACTIVATIONS
from regimen.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle

NORMALISER = "RunningStandardScaler"


def adopt(path: Path, config: Config, io: IOSpec, joints: list[str]) -> tuple[PolicyBundle, SkrlFile]:
    """Return the bundle of a checkpoint with the policy of a file of skrl, and the content of that file.

    Args:
        path: the file.
        config: its task, and the agent, whose `models` have the activations and the output of the policy, which are not
            in the file.
        io: observations and actions of the task.
        joints: in the order in which the policy was trained with them.

    Raises:
        CheckpointError: see `foreign_checkpoint.read`.
        ConfigError: the library has no such activation, or see `adoption.permutation`.
        IOMismatchError: it reads or writes other numbers of values than the task, or moves other joints.
    """
    old = foreign_checkpoint.read(path)
    agent = SkrlPpoCfg(**{**asdict(config.agent), **_sections(config.agent, old)})
    require_sizes(path, old.actor.num_inputs, old.num_actions, io, config)
    if (moved := permutation(io, joints, config)) is not None:
        _reorder(old, *moved)
    try:
        SkrlPpo(agent, io, 1, torch.device("cpu"), seed=0).load_policy_state(old.state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} has other networks than agent.models describes: {error}") from error
    return adopted_bundle(path, agent, io, old.state, joints, old.steps), old


def _sections(cfg: SkrlPpoCfg, old: SkrlFile) -> dict[str, Any]:
    """Return `models` and `agent` of a configuration with the networks and normalisers of a file."""
    models = {
        **copy.deepcopy(cfg.models),
        "separate": not old.shared,
        "policy": _model(cfg, "policy", old.actor),
        "value": _model(cfg, "value", old.critic),
    }
    agent = copy.deepcopy(cfg.agent)
    agent["observation_preprocessor"] = NORMALISER if old.scaler is not None else None
    agent["value_preprocessor"] = NORMALISER if old.scales_values else None
    return {"models": models, "agent": agent}


def _model(cfg: SkrlPpoCfg, role: str, layers: Layers) -> RunnerSection:
    """Return the section of a model: its own output and activations, the layers of the file."""
    section = copy.deepcopy(cfg.models[role])
    network = section.get("network") or [{}]
    given, key = network[0].get("activations"), f"agent.models.{role}.network.0.activations"
    names = given if isinstance(given, list) else [given]
    for name in names or [None]:
        require_activation(key, name, ACTIVATIONS)
    if len(names) not in (1, len(layers.units)):
        raise ConfigError(f"{key}={given}: the file has {len(layers.units)} hidden layers.")
    made = {"name": layers.container, "input": "OBSERVATIONS", "layers": layers.units, "activations": given}
    return {**section, "network": [made]}


def _reorder(old: SkrlFile, order: list[int], columns: list[int]) -> None:
    """Put the columns and rows of the weights that belong to joints into the task's order, in place."""
    for name, tensor in old.policy.items():
        if name == old.actor.first:
            old.policy[name] = tensor[:, columns]
        elif name == LOG_STD or name.startswith(old.actor.last):
            old.policy[name] = tensor[order]
    if old.scaler is not None:
        old.scaler = {name: tensor[columns] if tensor.ndim else tensor for name, tensor in old.scaler.items()}
