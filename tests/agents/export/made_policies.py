"""Policies of each agent that acts by the present observation, their weights and normalisers drawn at random."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from agents.fast_sac.sac import sac_config
from agents.rsl_rl.test_ppo import RECURRENT
from agents.rsl_rl.test_ppo import config as rsl_rl_config
from helpers.recorded_runs import change
from helpers.tasks import make_env
from helpers.trainings import new_run, training_config
from regimen.config.schema import Config
from regimen.config.targets import resolve
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint

AGENTS = ("skrl_ppo", "rsl_rl_ppo", "fast_sac")


def config_for(agent: str, task: str = "reach") -> Config:
    """The configuration of a small training."""
    if agent == "skrl_ppo":
        return training_config(task, 24, 4)
    if agent == "fast_sac":
        return sac_config(task, 4, steps=24)
    model = RECURRENT if agent == "recurrent" else {"obs_normalization": True}
    return rsl_rl_config(task, 1, 4, model=model)


def bundle_for(agent: str, task: str = "reach") -> dict[str, Any]:
    """The checkpoint of a policy with larger weights than trained ones, and a normaliser that has seen something."""
    config = config_for(agent, task)
    io = make_env(task, 1).io
    made = resolve(config.agent._target_)(config.agent, io, 4, torch.device("cpu"), seed=0)
    state = made.policy_state()
    generator = torch.Generator().manual_seed(1)
    for name, value in _leaves(state):
        if value.is_floating_point() and name != "scale":
            drawn = torch.randn(value.shape, generator=generator) * (0.3 if value.dim() > 1 else 0.5)
            value.copy_(drawn.abs() + 0.5 if "var" in name or name.endswith("_std") else drawn)
    head = {"format": checkpoint.FORMAT, "run": "made", "step": 24, "faults": []}
    return head | {"agent": asdict(config.agent), "io": IOSpec.to_dict(io), "policy": state}


def run_with(folder: Path, agent: str, task: str = "reach") -> Path:
    """A run that left such a policy; its checkpoint."""
    run = new_run(folder / "outputs", config_for(agent, task))
    change(run.dir, git={"commit": "c0ffee", "dirty": True})
    path = run.checkpoints / "last.pt"
    checkpoint.save(path, bundle_for(agent, task) | {"run": run.id})
    return path


def _leaves(state: dict[str, Any]) -> list[tuple[str, torch.Tensor]]:
    found = []
    for name, value in state.items():
        found += _leaves(value) if isinstance(value, dict) else [(name.rpartition(".")[2], value)]
    return found
