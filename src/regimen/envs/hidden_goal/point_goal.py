"""A point in the plane with a hidden goal: the dark room's question with continuous actions and a dense reward."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from regimen.envs.hidden_goal.base import STEP_S, HiddenGoal, HiddenGoalCfg
from regimen.envs.vec_env import ActionSpec, IOSpec

RADIUS_M = (0.5, 1.0)
"""Distance of the goals from the start."""

WALL_M = 1.2
SPEED = 1.5
"""m/s at action 1, along each axis."""

PRECISION_M = 0.5
"""Distance from the goal at which the reward has fallen to exp(-1/2)."""

NUM_GOALS = 1000
SECTORS = 16
PICTURE_PX = 144


@dataclass
class PointGoalCfg(HiddenGoalCfg):
    """A point and its goal."""

    _target_: str = "regimen.envs.hidden_goal.PointGoal"


class PointGoal(HiddenGoal):
    """N points; the action (N, 2) is a velocity, clipped to ±1. Reward exp(-(distance / PRECISION_M)^2 / 2) a step.

    The position is observed. A square wall keeps the point within ±WALL_M.
    """

    START: ClassVar[tuple[float, float]] = (0.0, 0.0)

    @staticmethod
    def io_spec() -> IOSpec:
        """Return one position and one velocity."""
        return IOSpec({"policy": {"position": 2}}, ActionSpec(["x", "y"], [1.0] * 2, [0.0] * 2, 1.0), STEP_S)

    @staticmethod
    def goal_table() -> tuple[torch.Tensor, torch.Tensor]:
        """Return points spread evenly over a ring (golden angle); those in every fourth of 16 sectors are held out."""
        index = torch.arange(NUM_GOALS, dtype=torch.float64)
        inner, outer = RADIUS_M
        radius = (inner**2 + (outer**2 - inner**2) * (index + 0.5) / NUM_GOALS).sqrt()
        angle = (index * math.pi * (3.0 - math.sqrt(5.0))) % (2.0 * math.pi)
        goals = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
        return goals.float(), (angle / (2.0 * math.pi) * SECTORS).long() % 4 == 0

    def moved(self, action: torch.Tensor) -> torch.Tensor:
        """Return the positions one step on."""
        return (self.position + SPEED * STEP_S * action.clamp(-1.0, 1.0)).clamp(-WALL_M, WALL_M)

    def reward(self) -> torch.Tensor:
        """Return 1 on the goal, less the further away."""
        return torch.exp(-0.5 * ((self.position - self.goal) / PRECISION_M).square().sum(1))

    def observed(self) -> torch.Tensor:
        """Return the positions in m."""
        return self.position.clone()

    def optimal_action(self) -> torch.Tensor:
        """Return the velocity that ends on the goal, or comes nearest to it, in one step."""
        return ((self.goal - self.position) / (SPEED * STEP_S)).clamp(-1.0, 1.0)

    def render(self) -> np.ndarray:
        """Return the plane from above: the goal green, the point white."""
        picture = np.full((PICTURE_PX, PICTURE_PX, 3), 40, np.uint8)
        axis = (np.arange(PICTURE_PX) + 0.5) / PICTURE_PX * 2 * WALL_M - WALL_M
        for place, colour, size in ((self.goal[0], (63, 143, 91), 0.1), (self.position[0], (240, 240, 240), 0.05)):
            x, y = place.tolist()
            picture[(axis[None, :] - x) ** 2 + (-axis[:, None] - y) ** 2 < size**2] = colour
        return picture
