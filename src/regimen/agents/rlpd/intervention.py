"""Interventions: the task's scripted expert takes over by rules, or a human at a keyboard or gamepad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from regimen.display.video import captioned
from regimen.envs.stall import StallRule

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.agents.rlpd.config import InterventionsCfg
    from regimen.envs.controls.human import HumanControls
    from regimen.envs.vec_env import DemonstratedTask, ScriptedExpert, VecEnv
    from regimen.runs.checkpoint_header import StateDict


@dataclass(frozen=True)
class Intervention:
    """What is done in one step.

    Attributes:
        action: (N, A), that of the policy, or of the expert or human.
        intervened: (N,) bool, where it is not the policy's.
        began: (N,) bool, where the expert or human took over in this step.
    """

    action: torch.Tensor
    intervened: torch.Tensor
    began: torch.Tensor


class Intervener(Protocol):
    """Chooses in each step and env between the policy and what intervenes."""

    def choose(self, action: torch.Tensor) -> Intervention:
        """Return what is done in place of the policy's actions (N, A)."""
        ...

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in the envs `env_ids` (n,)."""
        ...

    def state_dict(self) -> StateDict:
        """Return everything that later decisions depend on, as far as it can be stored."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        ...


class ScriptedIntervener:
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


ACTS = "#f4c27a"
"""Colour of the caption while the human acts."""


class HumanIntervener:
    """A human acts in one env while an input of the controls is not at rest, and the policy otherwise.

    This is the rule of HIL-SERL's SpaceMouse (Luo et al. 2024, arXiv 2410.21845). Each step takes the time of a step of
    the task. A closed window ends it: the policy acts alone from then on, as fast as it can.
    """

    def __init__(self, env: VecEnv, controls: HumanControls, on_close: Callable[[], None]) -> None:
        """Begin with the policy.

        Args:
            env: of one episode at a time; it is rendered in each step.
            controls: window and device.
            on_close: called once, when the window was closed.
        """
        self._env, self._controls, self._on_close = env, controls, on_close
        self._acts = self._closed = False
        self.count = self.steps = 0

    def choose(self, action: torch.Tensor) -> Intervention:
        """Show the env, wait for the end of the step, and return the human's action or that of the policy (1, A)."""
        nowhere = torch.zeros(1, dtype=torch.bool)
        if not self._closed and self._controls.closed:
            self._closed = True
            self._controls.__exit__()
            self._on_close()
        if self._closed:
            return Intervention(action, nowhere, nowhere)
        acting = "you act" if self._acts else "the policy acts"
        text = f"{acting}; {self.count} interventions, {self.steps} steps"
        self._controls.show(captioned(self._env.render(), text, ACTS if self._acts else "white"))
        self._controls.wait(self._env.step_dt)
        controller = self._controls.controller
        controller.discarded()  # an episode of the training is not broken off
        began, self._acts = controller.active and not self._acts, controller.active
        if not self._acts:
            return Intervention(action, nowhere, nowhere)
        self.count += began
        self.steps += 1
        taken = torch.from_numpy(controller.action())[None].to(action)
        return Intervention(taken, ~nowhere, torch.tensor([began]))

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin a new episode: a human that still acts intervenes again."""
        self._acts = False

    def state_dict(self) -> StateDict:
        """Return the counts, which the window shows."""
        return {"count": self.count, "steps": self.steps}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; what a human does next cannot be stored."""
        self.count, self.steps = state["count"], state["steps"]
