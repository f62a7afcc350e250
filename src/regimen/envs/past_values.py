"""Past values of rows that are written once in each control step: read several steps back, or late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.runs.checkpoint_header import StateDict


@dataclass(frozen=True)
class Part:
    """Neighbouring columns that are read alike.

    Attributes:
        width: number of columns.
        history: number of values of each column that are read, the oldest first.
        delay: least and greatest delay in steps.
        jitters: whether the delay is drawn in each step, and not for each episode.
    """

    width: int
    history: int = 1
    delay: tuple[int, int] = (0, 0)
    jitters: bool = False

    @property
    def steps(self) -> int:
        """Steps that have to be kept."""
        return self.history + self.delay[1]


class PastValues:
    """A ring of the last steps of (N, D) values; the first value of an episode stands for all before it.

    Attributes:
        width: number of columns that are read.
    """

    def __init__(
        self, parts: Sequence[Part], num_envs: int, device: torch.device, rand: Callable[..., torch.Tensor]
    ) -> None:
        """Allocate the ring.

        Args:
            parts: of the columns, side by side.
            num_envs: N.
            device: of all tensors.
            rand: shape -> uniform in [0, 1); nothing is drawn for a delay that is always the same.
        """
        self._parts, self._rand = list(parts), rand
        self._steps = max(part.steps for part in parts)
        self._columns = sum(part.width for part in parts)
        rows: list[int] = []
        back: list[int] = []
        owner: list[int] = []
        first = 0
        for number, part in enumerate(parts):
            for step in reversed(range(part.history)):
                rows += range(first, first + part.width)
                back += [step] * part.width
                owner += [number] * part.width
            first += part.width
        self.width = len(rows)
        self._rows, self._back, self._owner = (torch.tensor(v, device=device) for v in (rows, back, owner))
        self._ring = torch.zeros(self._steps, self._columns, num_envs, device=device)
        self._slot = 0
        self._fresh = [torch.arange(num_envs, device=device)]  # envs reset since the last step
        self._count = num_envs
        self._delay = torch.zeros(len(parts), num_envs, dtype=torch.long, device=device)
        self._delayed = [number for number, part in enumerate(parts) if part.delay[1] > 0]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin new episodes in `env_ids` (n,)."""
        self._fresh.append(env_ids)
        for number in self._delayed:
            self._delay[number, env_ids] = self._drawn(self._parts[number], len(env_ids))

    def step(self) -> None:
        """Advance by one control step, after the values of the present one were read."""
        self._slot = (self._slot + 1) % self._steps
        self._fresh = []
        for number in self._delayed:
            if self._parts[number].jitters:
                self._delay[number] = self._drawn(self._parts[number], self._count)

    def read(self, values: torch.Tensor, before: torch.Tensor | None = None) -> torch.Tensor:
        """Take the values of this step, in place of those given in it before; return what is read, (N, width).

        Args:
            values: (N, D).
            before: (D,) what an episode has before its first step; None: its first values.
        """
        now = values.t()
        self._ring[self._slot] = now
        for ids in self._fresh:
            self._ring[:, :, ids] = now[:, ids] if before is None else before[:, None]
            self._ring[self._slot] = now
        ring = self._ring.view(-1, len(values))
        if not self._delayed:
            slots = (self._slot - self._back) % self._steps
            return ring[slots * self._columns + self._rows].t().contiguous()
        slots = (self._slot - self._back[:, None] - self._delay[self._owner]) % self._steps
        return ring.gather(0, slots * self._columns + self._rows[:, None]).t().contiguous()

    def _drawn(self, part: Part, count: int) -> torch.Tensor:
        low, high = part.delay
        if low == high:
            return torch.full((count,), low, device=self._delay.device)
        return (low + self._rand(count) * (high - low + 1)).long().clamp_max(high)

    def state_dict(self) -> StateDict:
        """Return the ring and the delays."""
        fresh = torch.zeros(self._count, dtype=torch.bool, device=self._ring.device)
        for ids in self._fresh:
            fresh[ids] = True
        return {
            "ring": self._ring.clone(),
            "slot": self._slot,
            "fresh": fresh,
            "delay": self._delay.clone(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self._ring, self._slot = state["ring"].clone(), state["slot"]
        self._fresh, self._delay = [state["fresh"].nonzero().squeeze(1)], state["delay"].clone()
