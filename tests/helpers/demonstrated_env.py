"""A tiny task with a scripted expert, a label of success, phases and one camera: a point that must come to rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from helpers.point_env import PointEnv
from regimen.config.schema import Config
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.vec_env import IOSpec, Obs

SIZE = [8, 12, 3]


@dataclass
class DemonstratedEnvCfg:
    """The task."""

    _target_: str = "helpers.demonstrated_env.DemonstratedEnv"
    num_envs: int = 1
    events: dict[str, Any] = field(default_factory=dict)
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)


class DemonstratedEnv(PointEnv):
    """As PointEnv, without noise; an episode ends in success at the goal. Goals beyond x = .3 cannot be reached."""

    phases = ("far", "near")

    def __init__(self, num_envs: int = 1) -> None:
        super().__init__(num_envs, length=25, noise=0.0)
        self.io = IOSpec(self.io.observations, self.io.action, self.step_dt, images={"camera": list(SIZE)})

    @classmethod
    def open(cls, config: Config) -> DemonstratedEnv:
        return cls(config.env.num_envs)

    def observe(self) -> Obs:
        shade = (100 + 50 * self.position[:, 0]).to(torch.uint8)
        return super().observe() | {"camera": shade[:, None, None, None].repeat(1, *SIZE)}

    def distance(self) -> torch.Tensor:
        return (self.position - self.goal).norm(dim=1)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        near = self.distance() < 0.3
        self.move(action)
        self.position[:, 0] = self.position[:, 0].clamp(max=0.3)
        success = self.distance() < 0.1
        truncated = (self.age >= self.max_episode_length) & ~success
        labels = {"success": success, "phase": near.long()}
        info: dict[str, Any] = {"final_obs": self.observe(), "log": {}, "labels": labels, "metrics": {}}
        if (done := success | truncated).any():
            self.restart(done)
        return self.observe(), success.float(), success, truncated, info

    def scripted_expert(self, noise: float, seed: int) -> Expert:
        return Expert(self, noise, seed)


class Expert:
    """Moves to the goal, slower from step to step: the number of steps since the reset is its state."""

    def __init__(self, env: DemonstratedEnv, noise: float, seed: int) -> None:
        self.env, self.noise, self.generator = env, noise, torch.Generator()
        self.generator.manual_seed(seed)
        self.steps = torch.zeros(env.num_envs)

    def act(self) -> torch.Tensor:
        self.steps += 1
        noise = self.noise * torch.randn(self.env.num_envs, 2, generator=self.generator)
        return 10 * (self.env.goal - self.env.position) / self.steps[:, None].sqrt() + noise

    def reset(self, env_ids: torch.Tensor) -> None:
        self.steps[env_ids] = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps.clone(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"].clone()
        self.generator.set_state(state["generator"])


def rendered(picture: np.ndarray) -> float:
    """Return the x of the point that a picture of the camera shows, m."""
    return (float(picture[0, 0, 0]) - 100) / 50
