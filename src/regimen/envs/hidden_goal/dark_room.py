"""Dark room: a 9 x 9 grid with a hidden goal cell (Laskin et al., arXiv 2210.14215, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from regimen.envs.hidden_goal.base import STEP_S, HiddenGoal, HiddenGoalCfg
from regimen.envs.vec_env import ActionSpec, IOSpec

SIZE = 9
CENTRE = SIZE // 2
CELL_PX = 16
ACTIONS = ("stay", "up", "down", "left", "right")
MOVES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Change of row and column by each action."""


@dataclass
class DarkRoomCfg(HiddenGoalCfg):
    """A dark room; 2 s are the 20 steps of the original."""

    _target_: str = "regimen.envs.hidden_goal.DarkRoom"


class DarkRoom(HiddenGoal):
    """N rooms; the action (N, 5) is one score for each move, the largest is made. Reward 1 for each step on the goal.

    Row and column are observed, scaled to -1 … 1. A wall keeps the walker where it is.
    """

    START: ClassVar[tuple[float, float]] = (float(CENTRE), float(CENTRE))
    discrete_actions: ClassVar[bool] = True

    @staticmethod
    def io_spec() -> IOSpec:
        """Return one position and five scores."""
        return IOSpec({"policy": {"position": 2}}, ActionSpec(list(ACTIONS), [1.0] * 5, [0.0] * 5), STEP_S)

    @staticmethod
    def goal_table() -> tuple[torch.Tensor, torch.Tensor]:
        """Return all cells but the start cell; a regular lattice of 16 of the 80 is held out."""
        row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        cells = torch.stack((row.flatten(), column.flatten()), dim=1)
        cells = cells[(cells != CENTRE).any(1)]
        return cells.float(), (2 * cells[:, 0] + 3 * cells[:, 1]) % 5 == 0

    def moved(self, action: torch.Tensor) -> torch.Tensor:
        """Return the cells after the move with the largest score."""
        moves = torch.tensor(MOVES, device=self.device)
        return (self.position + moves[action.argmax(1)]).clamp(0.0, SIZE - 1.0)

    def reward(self) -> torch.Tensor:
        """Return 1 on the goal and 0 elsewhere."""
        return (self.position == self.goal).all(1).float()

    def observed(self) -> torch.Tensor:
        """Return row and column from -1 to 1."""
        return self.position / CENTRE - 1.0

    def optimal_action(self) -> torch.Tensor:
        """Return the move to the goal's row, then to its column, as one-hot rows (N, 5)."""
        down, right = (self.goal - self.position).sign().long().unbind(1)
        vertical = torch.where(down > 0, 2, 1)
        horizontal = torch.where(right > 0, 4, 3)
        choice = torch.where(down != 0, vertical, torch.where(right != 0, horizontal, 0))
        return torch.nn.functional.one_hot(choice, len(ACTIONS)).float()

    def render(self) -> np.ndarray:
        """Return the room from above: the goal green, the walker white."""
        grid = np.full((SIZE, SIZE, 3), 40, np.uint8)
        for place, colour in ((self.goal[0], (63, 143, 91)), (self.position[0], (240, 240, 240))):
            row, column = place.long().tolist()
            grid[row, column] = colour
        return grid.repeat(CELL_PX, 0).repeat(CELL_PX, 1)
