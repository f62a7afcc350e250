"""Points whose first or second axis fails, and a detector that reads it off: for tests without a simulator."""

from __future__ import annotations

from typing import Any

import torch

from helpers.point_env import PointEnv
from regimen.config.task_schema import EstimateCfg
from regimen.envs.fault_estimate.estimator import Estimate
from regimen.envs.fault_estimate.oracle import Oracle
from regimen.envs.fault_estimate.wrapper import EstimatedEnv
from regimen.envs.vec_env import Obs

ONSET = 8
JOINTS = ("y", "z")
NUMBERED = ("x", "y", "z")


class FaultyPoints(PointEnv):
    """Points of which two of three fail in step `ONSET` of every episode, of number 1 or 2, for good."""

    def labels(self) -> torch.Tensor:
        joint = torch.arange(self.num_envs) % 3
        return torch.where((joint > 0) & (self.age >= ONSET), joint, -1).to(torch.int16)

    def move(self, action: torch.Tensor) -> None:
        super().move(action)
        self._labels = self.labels()

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated, truncated, {**info, "labels": {"fault_joint": self._labels}}


class Counting:
    """A detector with a memory: it becomes surer with every observation of an episode, and sees the position."""

    classes = ("healthy", *JOINTS)

    def __init__(self, num_envs: int) -> None:
        self.seen = torch.zeros(num_envs)

    def update(self, obs: Obs, begun: torch.Tensor) -> Estimate:
        self.seen = self.seen.masked_fill(begun, 0.0) + 1.0
        sure = (self.seen / 30.0)[:, None]
        side = (obs["policy"][:, :1] > 0).float()
        probabilities = torch.cat((1.0 - sure, sure * side, sure * (1.0 - side)), dim=1)
        since = (self.seen - 5.0).clamp_min(0.0) * 0.1
        return Estimate(probabilities, torch.full((len(since),), -1, dtype=torch.int16), since)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"].clone()


def told(mode: str, num_envs: int = 9, seed: int = 0, **estimate: Any) -> EstimatedEnv:
    """Return points with an oracle, or with `Counting` for mode classifier."""
    env = FaultyPoints(num_envs)
    oracle = Oracle(EstimateCfg(**estimate), mode, len(JOINTS), num_envs, env.step_dt, env.device)
    source = Counting(num_envs) if mode == "classifier" else oracle
    return EstimatedEnv(env, JOINTS, NUMBERED, source, seed)
