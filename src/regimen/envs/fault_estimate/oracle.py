"""An estimator computed from the true fault: immediate or delayed, with false alarms, or always healthy.

The delay models a detector while a policy is trained, as the original's DelayedFaultNotifier does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.envs.manager_base import term_state

if TYPE_CHECKING:
    from regimen.config.task_schema import EstimateCfg
    from regimen.runs.checkpoint_header import StateDict

FALSE_ALARM_S = (0.2, 2.0)
"""Shortest and longest false alarm; the true verdict and the end of the episode end it earlier."""


class Oracle:
    """Computes the announced fault class of each env; it has its own generator and state.

    Attributes:
        told: (N,) announced class, 0 for healthy.
        steps: (N,) steps since this class was announced.
    """

    def __init__(
        self, cfg: EstimateCfg, mode: str, num_joints: int, num_envs: int, step_dt: float, device: torch.device
    ) -> None:
        """Start healthy.

        Args:
            cfg: delay and rate of false alarms.
            mode: `none`, `oracle` or `oracle_delayed`.
            num_joints: C, joints that can fail; class c is the c-th of them, counted from 1.
            num_envs: N.
            step_dt: seconds between two updates.
            device: of all tensors.
        """
        self._speaks, self._joints = mode != "none", num_joints
        self._delay = cfg.delay_steps if mode == "oracle_delayed" else [0, 0]
        self._alarm_rate = cfg.false_alarms_per_hour * step_dt / 3600.0 if self._speaks else 0.0
        self._alarm_steps = [round(t / step_dt) for t in FALSE_ALARM_S]
        self.generator = torch.Generator(device=device)
        self.told, self.steps, self.fault, self.wait, self.alarm, self.alarm_left = (
            torch.zeros(num_envs, dtype=torch.long, device=device) for _ in range(6)
        )

    def seed(self, seed: int) -> None:
        """Seed the generator."""
        self.generator.manual_seed(seed)

    def update(self, fault: torch.Tensor, begun: torch.Tensor) -> None:
        """Advance by one observation.

        Args:
            fault: (N,) true class, 0 for healthy.
            begun: (N,) bool, envs whose episode begins with this observation.
        """
        for held in (self.told, self.steps, self.fault, self.wait, self.alarm_left):
            held.masked_fill_(begun, 0)
        onset = (fault > 0) & (self.fault == 0)
        low, high = self._delay
        delay = torch.randint(low, high + 1, fault.shape, generator=self.generator, device=fault.device)
        self.wait = torch.where(onset, delay, (self.wait - 1).clamp_min(0))
        self.fault = fault.clone()
        true_verdict = torch.where(self.wait == 0, fault, 0) * self._speaks
        if self._alarm_rate:
            self._false_alarms(~begun & (true_verdict == 0))
        verdict = torch.where((true_verdict == 0) & (self.alarm_left > 0), self.alarm, true_verdict)
        self.steps = torch.where(verdict > 0, torch.where(verdict == self.told, self.steps + 1, 1), 0)
        self.told = verdict

    def _false_alarms(self, possible: torch.Tensor) -> None:
        """Count alarms down, and start new ones where no true fault is announced, never of a faulty joint."""
        draws = torch.rand(3, len(possible), generator=self.generator, device=possible.device)
        self.alarm_left = (self.alarm_left - 1).clamp_min(0) * possible
        others = self._joints - (self.fault > 0).long()
        begins = possible & (others > 0) & (self.alarm_left == 0) & (draws[0] < self._alarm_rate)
        joint = 1 + torch.minimum((draws[1] * others).long(), (others - 1).clamp_min(0))
        joint += (self.fault > 0) & (joint >= self.fault)
        low, high = self._alarm_steps
        self.alarm = torch.where(begins, joint, self.alarm)
        self.alarm_left = torch.where(begins, low + (draws[2] * (high - low)).long(), self.alarm_left)

    def state_dict(self) -> StateDict:
        """Return counters, classes and generator."""
        held = {name: value for name, value in term_state(self).items() if not name.startswith("_")}
        return held | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        for name, value in state.items():
            if name != "generator":
                setattr(self, name, value.to(self.told.device, copy=True))
        self.generator.set_state(state["generator"])
