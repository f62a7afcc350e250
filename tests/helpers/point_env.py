"""A tiny environment that keeps the contract: points that must reach a goal. Tests break it on purpose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch

from regimen.config.schema import Config
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.vec_env import ActionSpec, IOSpec, Obs


@dataclass
class PointEnvCfg:
    """The part of a task that `stage=evaluate` changes."""

    _target_: str = "helpers.point_env.PointEnv"
    num_envs: int = 8
    episode_length_s: float = 2.5
    observation_noise: bool = True
    wind: float = 0.0
    events: dict[str, Any] = field(default_factory=lambda: {"wind": {"mode": "interval"}})
    evaluation: EvaluationCfg = field(
        default_factory=lambda: EvaluationCfg("goal", [[0.0, 0.0], [0.8, 0.0]], ["wind"], "speed_error")
    )


class PointEnv:
    """N points in the plane, moved by their velocity; an episode ends beyond 1.5 m or after 25 steps."""

    def __init__(self, num_envs: int = 8, length: int = 25, noise: float = 0.01) -> None:
        self.num_envs, self.max_episode_length, self.step_dt, self.noise = num_envs, length, 0.1, noise
        self.device = torch.device("cpu")
        action = ActionSpec(joints=["x", "y"], scale=[1.0, 1.0], offset=[0.0, 0.0], clip=1.0)
        self.io = IOSpec({"policy": {"position": 2, "goal": 2}}, action, self.step_dt)
        self.generator = torch.Generator()
        self.position = torch.zeros(num_envs, 2)
        self.goal = torch.zeros(num_envs, 2)
        self.age = torch.zeros(num_envs, dtype=torch.long)
        self.fixed_goal: torch.Tensor | None = None
        self.wind = 0.0

    @classmethod
    def open(cls, config: Config) -> PointEnv:
        cfg: PointEnvCfg = config.env
        env = cls(cfg.num_envs, round(cfg.episode_length_s / 0.1), 0.01 if cfg.observation_noise else 0.0)
        env.wind = 2.0 if cfg.events["wind"] else 0.0
        return env

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        assert name == "goal" and values.shape == self.goal.shape
        self.fixed_goal = values

    def reset(self, seed: int | None = None) -> Obs:
        if seed is not None:
            self.generator.manual_seed(seed)
        self.restart(torch.ones(self.num_envs, dtype=torch.bool))
        return self.observe()

    def restart(self, mask: torch.Tensor) -> None:
        draw = torch.rand(self.num_envs, 4, generator=self.generator) - 0.5
        self.position[mask], self.goal[mask] = draw[mask, :2], 2 * draw[mask, 2:]
        self.age[mask] = 0
        if self.fixed_goal is not None:
            self.goal[mask] = self.fixed_goal[mask]

    def stagger(self) -> None:
        self.age = (torch.rand(self.num_envs, generator=self.generator) * self.max_episode_length).long()

    def observe(self) -> Obs:
        noise = self.noise * torch.randn(self.num_envs, 4, generator=self.generator)
        return {"policy": torch.cat([self.position, self.goal], dim=1) + noise}

    def move(self, action: torch.Tensor) -> None:
        self.position += self.step_dt * (action.clamp(-1, 1) + self.wind)
        self.age += 1

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        self.move(action)
        reward = -(self.position - self.goal).norm(dim=1)
        terminated = self.position.norm(dim=1) > 1.5
        truncated = (self.age >= self.max_episode_length) & ~terminated
        info: dict[str, Any] = {"final_obs": self.observe(), "log": {"distance": float(-reward.mean())}}
        info["labels"] = {"side": self.position[:, 0].sign().to(torch.int16)}
        info["metrics"] = {"forward_speed": action[:, 0].clone()}
        done = terminated | truncated
        if done.any():
            self.restart(done)
        return self.observe(), reward, terminated, truncated, info

    def state_dict(self) -> dict[str, Any]:
        tensors = {"position": self.position, "goal": self.goal, "age": self.age}
        return {k: v.clone() for k, v in tensors.items()} | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position, self.goal, self.age = (state[k].clone() for k in ("position", "goal", "age"))
        self.generator.set_state(state["generator"])

    def render(self) -> np.ndarray:
        return np.full((48, 64, 3), int(self.age[0]) * 8 % 256, np.uint8)

    def close(self) -> None:
        pass


class ToGoal:
    """An agent that has learnt to move towards the goal, with the commanded speed in the first direction."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> ToGoal:
        return cls(bundle["policy"]["gain"])

    def __init__(self, gain: float) -> None:
        self.gain = gain

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        action = self.gain * obs["policy"][:, 2:]
        return action, state

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        return state


class StepCounter(ToGoal):
    """A policy with a memory: how many steps it has seen of each env's episode."""

    seen: ClassVar[list[list[int]]] = []

    def act(self, obs: Obs, state: Any) -> tuple[torch.Tensor, Any]:
        steps = torch.zeros(len(obs["policy"]), dtype=torch.long) if state is None else state
        self.seen.append(steps.tolist())
        return super().act(obs, None)[0], steps + 1

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        return state.index_fill(0, env_ids, 0)
