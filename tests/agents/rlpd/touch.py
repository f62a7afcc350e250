"""A task with a scripted expert for tests: points that must touch their goal, and short trainings in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from helpers.point_env import PointEnv
from helpers.tasks import CONF
from regimen.agents.rlpd.config import RlpdCfg
from regimen.config import structured
from regimen.config.schema import Config, HardwareCfg
from regimen.config.task_schema import EvaluationCfg
from regimen.data.demonstrations import DemonstrationWriter
from regimen.data.episode_collector import EpisodeCollector, scripted_demonstrator
from regimen.data.episodes.schema import EpisodeAttributes
from regimen.data.transition_buffer import Transitions
from regimen.envs.vec_env import ActionSpec, IOSpec, Obs
from regimen.stages.train import TrainCfg

SMALL = {"hidden": [16, 16], "ensemble_size": 3, "batch_size": 16, "log_period": 10, "training_starts": 15, "utd": 2}
REACH_M = 0.1


@dataclass
class TouchEnvCfg:
    """The task of a run."""

    _target_: str = "agents.rlpd.touch.TouchEnv"
    num_envs: int = 2
    episode_length_s: float = 2.0
    observation_noise: bool = False
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)


class TouchEnv(PointEnv):
    """Reward 1 and end at the goal; the third action is a gripper that fails to hold when it is commanded open."""

    def __init__(self, num_envs: int = 2, length: int = 20) -> None:
        super().__init__(num_envs, length, noise=0.0)
        self.io = IOSpec(
            {"policy": {"position": 2}, "privileged": {"way": 2}},
            ActionSpec(["x", "y", "gripper"], [1.0] * 3, [0.0] * 3, 1.0),
            0.1,
        )
        self.opening = torch.zeros(num_envs)

    @classmethod
    def open(cls, config: Config) -> TouchEnv:
        return cls(config.env.num_envs, round(config.env.episode_length_s / 0.1))

    def restart(self, mask: torch.Tensor) -> None:
        super().restart(mask)
        if hasattr(self, "opening"):
            self.opening = torch.where(mask, 0.0, self.opening)

    def observe(self) -> Obs:
        return {"policy": self.position.clone(), "privileged": self.goal - self.position}

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        self.move(action[:, :2])
        self.opening = (self.opening + action[:, 2]).clamp(0.0, 3.0)
        success = self.distance_to_goal() < REACH_M
        terminated = success | (self.opening > 2.5)
        truncated = (self.age >= self.max_episode_length) & ~terminated
        info: dict[str, Any] = {"final_obs": self.observe(), "log": {}, "labels": {"success": success}, "metrics": {}}
        if (done := terminated | truncated).any():
            self.restart(done)
        return self.observe(), success.float(), terminated, truncated, info

    def scripted_expert(self, noise: float, seed: int) -> ToGoalExpert:
        return ToGoalExpert(self, noise, seed)

    def distance_to_goal(self) -> torch.Tensor:
        return (self.position - self.goal).norm(dim=1)

    def failing(self) -> torch.Tensor:
        return self.opening > 1.5

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"goal": self.goal.clone(), "opening": self.opening.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.opening = state["opening"].clone()


class ToGoalExpert:
    """Straight to the goal with the hand closing, with noise; it counts its steps, as a memory of its own."""

    def __init__(self, env: TouchEnv, noise: float, seed: int) -> None:
        self.env, self.noise = env, noise
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = torch.zeros(env.num_envs, dtype=torch.long)

    def act(self) -> torch.Tensor:
        self.steps += 1
        way = (self.env.goal - self.env.position) / 0.1
        noise = self.noise * torch.randn(len(way), 2, generator=self.generator)
        slow = 0.5 + 0.1 * (self.steps % 3)[:, None]
        return torch.cat(((way * slow).clamp(-1, 1) + noise, -torch.ones(len(way), 1)), dim=1).clamp(-1, 1)

    def reset(self, env_ids: torch.Tensor) -> None:
        self.steps[env_ids] = 0

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps.clone(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"].clone()
        self.generator.set_state(state["generator"])


def rlpd_cfg(**changes: Any) -> RlpdCfg:
    """conf/agent/rlpd.yaml, made small; sections may be given in part."""
    values = yaml.safe_load((CONF / "agent" / "rlpd.yaml").read_text()) | SMALL
    for name, value in changes.items():
        values[name] = values[name] | value if isinstance(value, dict) else value
    return structured.build(RlpdCfg, values)


def touch_config(num_envs: int = 2, interval: int = 20, data: list[str] | None = None, **agent: Any) -> Config:
    """The configuration of a short training."""
    settings = {"max_steps": 60, "demonstrations": {"episodes": 3}, "interventions": {"patience": 5, "hold": 4}}
    return Config(
        env=TouchEnvCfg(num_envs=num_envs),
        sim=None,
        agent=rlpd_cfg(**{**settings, **agent}),
        hardware=HardwareCfg(threads=1),
        stage=TrainCfg(checkpoint_interval=interval),
        seed=3,
        data=data or [],
        choices={"task": "touch", "agent": "rlpd", "stage": "train"},
    )


def made_steps(rows: int, seed: int = 0) -> Transitions:
    """Random transitions of the task."""
    g = torch.Generator().manual_seed(seed)
    obs, following = ({n: torch.randn(rows, 2, generator=g) for n in ("policy", "privileged")} for _ in range(2))
    action = 2 * torch.rand(rows, 3, generator=g) - 1
    reward, mask = torch.rand(rows, generator=g), (torch.rand(rows, generator=g) > 0.2).float()
    return Transitions(obs, action, reward, mask, following, torch.zeros(rows, dtype=torch.bool))


def write_demonstrations(
    path: Path, episodes: int = 8, noise: float = 0.1, length: int = 20, task: type[TouchEnv] = TouchEnv
) -> Path:
    """Episodes of the expert in two envs, failed ones included, as stage=collect writes them."""
    env = task(2, length)
    collector = EpisodeCollector(env, scripted_demonstrator(env, noise, 0), only_successful=False)
    attributes = EpisodeAttributes(io=env.io.to_dict(), step_dt=0.1, task="touch")
    writer = DemonstrationWriter(path, env.io, {"success": np.dtype("bool")}, attributes)
    collector.begin(0)
    while writer.episodes < episodes:
        for episode in collector.step(episodes - writer.episodes):
            writer.add_episode(episode)
    writer.close()
    return path


SEEN = {"near": [16, 12, 3], "far": [8, 8, 3]}


class SeenTouchEnv(TouchEnv):
    """The same task with two cameras: bright columns and rows show where the goal is from the point."""

    def __init__(self, num_envs: int = 2, length: int = 20) -> None:
        super().__init__(num_envs, length)
        self.io.images = {name: list(size) for name, size in SEEN.items()}

    def observe(self) -> Obs:
        way = (self.goal - self.position).clamp(-1.5, 1.5) / 1.5
        return super().observe() | {name: _picture(way, *size[:2]) for name, size in SEEN.items()}


def _picture(way: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """A bright spot at `way` (N, 2), within ±1, in pictures (N, height, width, 3) uint8."""
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    distance = (rows[:, None] - way[:, 1, None, None]) ** 2 + (columns - way[:, 0, None, None]) ** 2
    return (255 * torch.exp(-8 * distance)).to(torch.uint8)[..., None].repeat(1, 1, 1, 3)


PIXELS = {"channels": [4, 4, 4], "features": 4, "proprioception": 4, "shift": 1}


def seen_config(num_envs: int = 2, data: list[str] | None = None, **agent: Any) -> Config:
    """The configuration of a short training from both cameras and the position."""
    settings = {"images": list(SEEN), "observations": ["policy"], "pixels": PIXELS, "max_steps": 40}
    config = touch_config(num_envs, 20, data, **{**settings, **agent})
    config.env._target_ = "agents.rlpd.touch.SeenTouchEnv"
    return config
