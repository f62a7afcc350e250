"""The decision rule: a class that is most likely for several steps in a row becomes the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

NONE = -1


@dataclass
class DecisionCfg:
    """When a probability becomes a verdict.

    Attributes:
        threshold: probability that a joint must reach to win a step.
        consecutive: steps in a row, k, that it must win; also the first steps of an episode without any verdict.
        latch: whether a verdict stands until the reset; without it, `healthy` winning 2 k steps takes it back. In
            both cases another joint that wins 2 k steps replaces it.
    """

    threshold: float = 0.9
    consecutive: int = 5
    latch: bool = True

    def problems(self) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        lines = []
        if not 0.0 < self.threshold < 1.0:
            lines.append(f"decision.threshold={self.threshold}: expected a probability between 0 and 1.")
        if self.consecutive < 1:
            lines.append(f"decision.consecutive={self.consecutive}: expected 1 or more.")
        return lines


class DecisionRule:
    """The rule for N robots at once.

    Attributes:
        verdict: (N,) int16 class, -1 while there is none.
        age: (N,) int32 steps since the verdict, this one included.
        winner: (N,) int16 class that won the last step, -1 for none.
        streak: (N,) int32 steps in a row that it has won.
        steps: (N,) int32 observations of this episode so far.
    """

    def __init__(self, cfg: DecisionCfg, num_envs: int, device: torch.device | str = "cpu") -> None:
        """Begin without a verdict."""
        self.cfg = cfg
        self.verdict, self.winner = (torch.full((num_envs,), NONE, dtype=torch.int16, device=device) for _ in range(2))
        self.age, self.streak, self.steps = (torch.zeros(num_envs, dtype=torch.int32, device=device) for _ in range(3))

    def update(self, probabilities: torch.Tensor, begun: torch.Tensor) -> None:
        """Take one step.

        Args:
            probabilities: (N, 1 + J), healthy first.
            begun: (N,) bool, robots whose episode begins with this step.
        """
        self._forget(begun)
        k = self.cfg.consecutive
        highest, best = probabilities.max(dim=1)
        winner = torch.where(highest >= self.cfg.threshold, best.to(torch.int16), NONE)
        self.streak = torch.where(winner == self.winner, self.streak + 1, 1).masked_fill(winner == NONE, 0)
        self.winner, self.steps = winner, self.steps + 1
        settled = (self.steps > k) & (winner != self.verdict)
        first = settled & (self.verdict == NONE) & (winner > 0) & (self.streak >= k)
        other = settled & (self.verdict != NONE) & (self.streak >= 2 * k)
        revised = other & (winner > 0)
        changed = first | revised
        self.verdict = torch.where(changed, winner, self.verdict)
        self.age = torch.where(changed, 1, self.age + (self.verdict != NONE))
        if not self.cfg.latch:
            self._take_back(other & (winner == 0))

    def _forget(self, begun: torch.Tensor) -> None:
        if not begun.any():
            return
        for name, nothing in (("verdict", NONE), ("winner", NONE), ("age", 0), ("streak", 0), ("steps", 0)):
            setattr(self, name, getattr(self, name).masked_fill(begun, nothing))

    def _take_back(self, rows: torch.Tensor) -> None:
        self.verdict, self.age = self.verdict.masked_fill(rows, NONE), self.age.masked_fill(rows, 0)

    def state_dict(self) -> StateDict:
        """Return the full state."""
        return {name: value.clone() for name, value in vars(self).items() if name != "cfg"}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        for name, value in state.items():
            setattr(self, name, value.to(self.verdict.device, copy=True))


def decide(cfg: DecisionCfg, probabilities: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the verdicts (E, L) int16 of whole episodes; -1 for none, and in padding.

    Args:
        cfg: the rule.
        probabilities: (E, L, 1 + J).
        mask: (E, L) bool, where there is an episode; from its first step on.
    """
    episodes, length = mask.shape
    rule = DecisionRule(cfg, episodes, probabilities.device)
    verdicts = torch.full((episodes, length), NONE, dtype=torch.int16, device=probabilities.device)
    begun = torch.zeros(episodes, dtype=torch.bool, device=probabilities.device)
    for step in range(length):
        rule.update(probabilities[:, step], begun)
        verdicts[:, step] = rule.verdict
    return verdicts.masked_fill(~mask, NONE)
