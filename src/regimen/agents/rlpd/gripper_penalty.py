"""Cost of the commands that open or close the gripper, as HIL-SERL's penalty of its gripper."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.agents.rlpd.demonstrations import Demonstrations
    from regimen.data.transition_buffer import Transitions
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import StateDict

TURNS = 0.5
"""Absolute command of the gripper beyond which it counts as opened or closed."""


class GripperPenalty:
    """What the commands of the gripper cost: each one that turns it, see `RlpdCfg.gripper_penalty`."""

    def __init__(self, cost: float, io: IOSpec, num_envs: int) -> None:
        """Begin closed in N envs; `cost` 0 for a task without a gripper."""
        self.cost, self._io = cost, io
        self._opened = torch.zeros(num_envs, dtype=torch.bool)

    def charge(self, action: torch.Tensor) -> torch.Tensor:
        """Return the cost (N,) of actions (N, A)."""
        if not self.cost:
            return torch.zeros(len(action))
        command = action[:, self._io.action.joints.index("gripper")].cpu()
        opened = torch.where(command.abs() > TURNS, command > 0, self._opened)
        turned, self._opened = opened != self._opened, opened
        return self.cost * turned.float()

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin closed in the envs `env_ids` (n,)."""
        self._opened[env_ids] = False

    def charged(self, given: Demonstrations) -> Transitions:
        """Return the transitions of demonstrations with these costs."""
        if not self.cost:
            return given.transitions
        each, costs = given.transitions.action.split(given.lengths), []
        for actions in each:
            along = GripperPenalty(self.cost, self._io, 1)
            costs += [along.charge(action[None]) for action in actions]
        return replace(given.transitions, reward=given.transitions.reward - torch.cat(costs))

    def state_dict(self) -> StateDict:
        """Return which grippers are open."""
        return {"opened": self._opened.clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._opened = state["opened"].clone()
