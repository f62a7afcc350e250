"""Short FastSAC trainings for tests: small networks, real tasks or made transitions."""

from __future__ import annotations

from typing import Any

import torch
import yaml

from helpers.tasks import CONF
from helpers.trainings import training_config
from regimen.agents.fast_sac.agent import FastSac
from regimen.agents.fast_sac.config import FastSacCfg
from regimen.config.schema import Config
from regimen.data.replay_buffer import Batch
from regimen.envs.vec_env import ActionSpec, IOSpec

CPU = torch.device("cpu")
SMALL = {"actor_hidden_dim": 16, "critic_hidden_dim": 16, "num_atoms": 21, "batch_size": 32, "logging_interval": 12}
IO = IOSpec({"policy": {"x": 4}, "critic": {"y": 5}}, ActionSpec(["a", "b"], [1.0, 1.0], [0.0, 0.0], 2.0), 0.1)


def sac_cfg(**changes: Any) -> FastSacCfg:
    """conf/agent/fast_sac.yaml, made small."""
    values = yaml.safe_load((CONF / "agent" / "fast_sac.yaml").read_text())
    return FastSacCfg(**{**values, "buffer_size": 64, "learning_starts": 2, **SMALL, **changes})


def sac_config(task: str, num_envs: int, steps: int, interval: int = 24, **agent: Any) -> Config:
    """The configuration of a short training of a real task."""
    config = training_config(task, timesteps=24, num_envs=num_envs, interval=interval)
    config.agent = sac_cfg(num_learning_iterations=steps, **agent)
    config.choices["agent"] = "fast_sac"
    return config


def sac_agent(num_envs: int = 4, seed: int = 0, **changes: Any) -> FastSac:
    """An agent for `IO`, its ring open."""
    agent = FastSac(sac_cfg(**changes), IO, num_envs, CPU, seed)
    agent._open_ring()
    agent.symmetry = None
    return agent


def made_batch(rows: int = 32, seed: int = 0, **changes: torch.Tensor) -> Batch:
    """Transitions (B, …) drawn at random."""
    g = torch.Generator().manual_seed(seed)
    obs, following = ({"policy": torch.randn(rows, 4, generator=g), "critic": torch.randn(rows, 5, generator=g)}
                      for _ in range(2))  # fmt: skip
    values = {"action": torch.randn(rows, 2, generator=g), "reward": torch.randn(rows, generator=g),
              "discount": torch.full((rows,), 0.97)}  # fmt: skip
    return Batch(obs=obs, next_obs=following, **{**values, **changes})


def fill(agent: FastSac, steps: int, seed: int = 0) -> None:
    """Write made transitions into the agent's ring."""
    g, n = torch.Generator().manual_seed(seed), agent.num_envs

    def obs() -> dict[str, torch.Tensor]:
        return {group: torch.randn(n, size, generator=g) for group, size in agent.sizes.items()}

    agent.ring.begin(obs())
    for _ in range(steps):
        ended = torch.rand(n, generator=g) < 0.1
        action, reward = torch.randn(n, 2, generator=g), torch.randn(n, generator=g)
        agent.ring.add(action, reward, ended & (reward > 0), ended, obs(), obs())
