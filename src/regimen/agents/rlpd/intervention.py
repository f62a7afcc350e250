"""Interventions: the task's scripted expert takes over where the policy stalls or is about to fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regimen.envs.stall import StallRule

if TYPE_CHECKING:
    from regimen.agents.rlpd.config import InterventionsCfg
    from regimen.envs.vec_env import DemonstratedTask, ScriptedExpert
    from regimen.runs.checkpoint_header import StateDict


@dataclass(frozen=True)
class Intervention:
    """What is done in one step.

    Attributes:
        action: (N, A), that of the policy or of the expert.
        intervened: (N,) bool, where it is the expert's.
        began: (N,) bool, where the expert took over in this step.
    """

    action: torch.Tensor
    intervened: torch.Tensor
    began: torch.Tensor


class Intervener:
    """Chooses in each step and env between the actions of policy and expert.

    The expert takes over for `hold` steps if the best distance to the goal has not fallen by `progress_m` for
    `patience` steps; and at once, for `guard_hold` steps, if the task is about to fail.
    """

    def __init__(self, cfg: InterventionsCfg, env: DemonstratedTask, expert: ScriptedExpert, num_envs: int) -> None:
        """Begin with new episodes in all envs.

        Args:
            cfg: the rules.
            env: gives distances.
            expert: of this env.
            num_envs: N.
        """
        self.cfg, self.env, self.expert = cfg, env, expert
        self._stall = StallRule(num_envs, cfg.patience, cfg.progress_m)
        self._left = torch.zeros(num_envs, dtype=torch.long)

    def choose(self, action: torch.Tensor) -> Intervention:
        """Return what is done in place of the policy's actions (N, A)."""
        steps = torch.where(self._stall.observe(self.env.distance_to_goal()), self.cfg.hold, 0)
        if self.cfg.guard_hold:
            steps = torch.where(self.env.failing().cpu(), steps.clamp(min=self.cfg.guard_hold), steps)
        began = (steps > 0) & (self._left == 0)
        if began.any():
            self._left[began] = steps[began]
            self.expert.reset(began.nonzero().squeeze(1))
        intervened = self._left > 0
        if intervened.any():
            action = torch.where(intervened[:, None], self.expert.act().to(action), action)
            self._left -= intervened.long()
            self._stall.restart(intervened & (self._left == 0))
        return Intervention(action, intervened, began)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in the envs `env_ids` (n,)."""
        self._stall.begin(env_ids)
        self._left[env_ids] = 0
        self.expert.reset(env_ids)

    def state_dict(self) -> StateDict:
        """Return everything that later decisions depend on, the expert included."""
        return self._stall.state_dict() | {"left": self._left.clone(), "expert": self.expert.state_dict()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._stall.load_state_dict(state)
        self._left = state["left"].clone()
        self.expert.load_state_dict(state["expert"])
