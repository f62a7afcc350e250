"""Return, length, success and interventions of the episodes of a training."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from regimen.agents.rlpd.intervention import Intervention
    from regimen.runs.checkpoint_header import StateDict

COUNTED = ("return", "length", "intervention_count", "intervention_steps")
"""What is counted of each episode."""

DISCOUNTED = "discounted_return"

SCORED = 50
"""Episodes over which the score of a checkpoint is averaged."""


class EpisodeStatistics:
    """Return, length, success and interventions of episodes, as means over those that ended in a log period."""

    def __init__(self, num_envs: int, gamma: float) -> None:
        """Begin episodes in N envs; `gamma` is the discount of a step."""
        self.gamma, self._num_envs = gamma, num_envs
        self._running = {name: torch.zeros(num_envs) for name in (*COUNTED, DISCOUNTED)}
        self._ended: dict[str, list[float]] = {}
        self._unaided: deque[float] = deque(maxlen=SCORED)
        self._intervened = 0.0

    def add(
        self, reward: torch.Tensor, ended: torch.Tensor, chosen: Intervention, success: torch.Tensor | None
    ) -> None:
        """Count one step: reward (N,), ended (N,) bool, the actions, and whether the step succeeded (N,), if known."""
        discount = self.gamma ** self._running["length"]
        added = {"return": reward.cpu(), "length": torch.ones(len(reward)), DISCOUNTED: discount * reward.cpu()}
        added |= {"intervention_count": chosen.began, "intervention_steps": chosen.intervened}
        for name, total in self._running.items():
            total += added[name]
        self._intervened += float(chosen.intervened.float().mean())
        if not ended.any():
            return
        values = {name: total[ended].tolist() for name, total in self._running.items()}
        alone = (self._running["intervention_steps"][ended] == 0).float()
        self._unaided.extend((alone * self._running[DISCOUNTED][ended]).tolist())
        if success is not None:
            values["success"] = success.cpu()[ended].float().tolist()
        for name, rows in values.items():
            self._ended.setdefault(name, []).extend(rows)
        for total in self._running.values():
            total[ended] = 0.0

    def score(self) -> float | None:
        """Return what the best checkpoint is chosen by, or None before the first episode ended.

        It is the mean discounted return of the last episodes, 0 for one with an intervention: with help the return is
        high from the beginning.
        """
        return sum(self._unaided) / len(self._unaided) if self._unaided else None

    def means(self, steps: int) -> dict[str, float]:
        """Return the means of the last `steps` env steps, and start over; without an episode only the share."""
        rows_of = {name: rows for name, rows in self._ended.items() if name != DISCOUNTED}
        means = {f"environment/episode/{name}": sum(rows) / len(rows) for name, rows in rows_of.items()}
        means["environment/intervention_share"] = self._intervened / steps
        self._ended, self._intervened = {}, 0.0
        return means

    def take(self) -> list[dict[str, float]]:
        """Return the values of each episode that ended, for `receive` of another process, and remove them."""
        rows = [dict(zip(self._ended, values, strict=True)) for values in zip(*self._ended.values(), strict=True)]
        self._ended = {}
        return rows

    def receive(self, values: Mapping[str, float]) -> None:
        """Add an episode that another process counted."""
        for name, value in values.items():
            self._ended.setdefault(name, []).append(value)
        self._unaided.append(values.get(DISCOUNTED, 0.0) if values.get("intervention_steps") == 0 else 0.0)

    def add_interventions(self, intervened: torch.Tensor) -> None:
        """Count steps (B,) of another process, of N envs together, in which the expert acted."""
        self._intervened += float(intervened.sum()) / self._num_envs

    def state_dict(self) -> StateDict:
        """Return the sums of the running episodes, the last scores, and what was counted since the last `means`."""
        running = {name: total.clone() for name, total in self._running.items()}
        ended = {name: list(rows) for name, rows in self._ended.items()}
        return {**running, "unaided": list(self._unaided), "ended": ended, "intervened": self._intervened}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; one of an older checkpoint lacks what was counted since the last `means`."""
        self._running = {name: state[name].clone() for name in self._running}
        self._unaided.extend(state["unaided"])
        self._ended = {name: list(rows) for name, rows in state.get("ended", {}).items()}
        self._intervened = state.get("intervened", 0.0)

    def begin_episodes(self) -> None:
        """Reset the sums of the running episodes, for envs that begin new ones; the last scores stay."""
        for total in self._running.values():
            total.zero_()
