"""Points with all that a served task may have: pictures, a scripted expert, an optimal action, and a robot's arm."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch

from helpers.point_env import PointEnv, PointEnvCfg
from regimen.config.schema import Config
from regimen.envs.robot_arm import RobotReading
from regimen.envs.vec_env import IOSpec, Obs
from regimen.system.errors import ConfigError, DivergedError


@dataclass
class ArmEnvCfg(PointEnvCfg):
    """The task of `PointEnv` with pictures."""

    _target_: str = "helpers.arm_env.ArmEnv"


SLOW = 4.5
"""Actions of this value take a second."""


class Expert:
    """Moves to the goal, with noise of its own generator."""

    def __init__(self, env: ArmEnv, noise: float, seed: int) -> None:
        self.env, self.noise = env, noise
        self.generator = torch.Generator().manual_seed(seed)
        self.acts = torch.zeros(env.num_envs, dtype=torch.long)

    def act(self) -> torch.Tensor:
        self.acts += 1
        return self.env.optimal_action() + self.noise * torch.randn(self.env.num_envs, 2, generator=self.generator)

    def reset(self, env_ids: torch.Tensor) -> None:
        self.acts[env_ids] = 0

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.get_state(), "acts": self.acts.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.set_state(state["generator"])
        self.acts = state["acts"].clone()


class Arm:
    """Point 0 as the tool of an arm."""

    def __init__(self, env: ArmEnv) -> None:
        self.env = env

    def reading(self) -> RobotReading:
        pose = [*self.env.position[0].tolist(), 0.2, 0.0, 0.0, 1.0, 0.0]
        nothing, opening = [0.0] * 7, float(not self.env.gripper_closed)
        return RobotReading(pose, [0.0] * 6, [0.0] * 3, [0.0] * 3, nothing, nothing, [nothing] * 6, opening)

    def move_to(self, pose: list[float]) -> None:
        self.env.step((torch.tensor([pose[:2]]) - self.env.position) / self.env.step_dt)

    def move_gripper(self, width: float) -> None:
        self.env.gripper_closed = width < 0.05

    def reset(self) -> None:
        self.env.reset()

    def set_impedance(self, parameters: dict[str, float]) -> None:
        if unknown := parameters.keys() - {"translational_stiffness"}:
            raise ConfigError(f"The controller has no {', '.join(sorted(unknown))}.")


class ArmEnv(PointEnv):
    """Points seen by a camera of 4 x 6 pixels; an action above 5 makes the physics diverge."""

    phases = ("far", "near")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.io = IOSpec(self.io.observations, self.io.action, self.step_dt, images={"camera": [4, 6, 3]})
        self.gripper_closed = False

    @classmethod
    def open(cls, config: Config) -> ArmEnv:
        cfg = config.env
        env = cls(cfg.num_envs, round(cfg.episode_length_s / 0.1), 0.01 if cfg.observation_noise else 0.0)
        env.wind = cfg.wind
        env.generator.manual_seed(config.seed)
        return env

    def observe(self) -> Obs:
        shade = ((self.position[:, :1] + 2) * 60).to(torch.uint8)
        return {**super().observe(), "camera": shade[:, None, None].expand(-1, 4, 6, 3).contiguous()}

    def step(self, action: torch.Tensor) -> Any:
        if bool((action == SLOW).all()):
            time.sleep(1.0)
        if bool((action > 5).any()):
            raise DivergedError("The state of the point is not finite.", (action > 5).any(1).nonzero()[:, 0].tolist())
        return super().step(action)

    def optimal_action(self) -> torch.Tensor:
        return (self.goal - self.position).clamp(-1, 1)

    def distance_to_goal(self) -> torch.Tensor:
        return (self.goal - self.position).norm(dim=1)

    def failing(self) -> torch.Tensor:
        return self.position.norm(dim=1) > 1.4

    def scripted_expert(self, noise: float, seed: int) -> Expert:
        return Expert(self, noise, seed)

    def robot_arm(self) -> Arm:
        return Arm(self)
