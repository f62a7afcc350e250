"""Transition buffer: single transitions by running ids, the oldest overwritten first.

A transition is one row of a matrix, so that a minibatch is one gather. Rows hold both ends of a step and need no
neighbours: transitions of several envs, episodes and processes may be mixed, as demonstrations and interventions are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regimen.system.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from regimen.data.frame_store import FrameStore
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

NUM_SCALARS = 3
"""Columns of a row beside observations and action: reward, mask, and whether the action was an intervention."""


def buffer_bytes(capacity: int, width: int, num_actions: int) -> int:
    """Return the bytes of a full buffer; `width` is that of all observation groups together."""
    return 4 * capacity * (2 * width + num_actions + NUM_SCALARS)


@dataclass
class Transitions:
    """B steps.

    Attributes:
        obs: group -> (B, d), before the action; images (B, H, W, C) uint8.
        action: (B, A).
        reward: (B,).
        mask: (B,) 0 where the step ended its episode by a termination, else 1: a truncated one has a value beyond.
        next_obs: group -> (B, d), after the action; where the episode ended, before the reset.
        intervened: (B,) bool, whether the action replaced that of the policy.
    """

    obs: Obs
    action: torch.Tensor
    reward: torch.Tensor
    mask: torch.Tensor
    next_obs: Obs
    intervened: torch.Tensor

    def __len__(self) -> int:
        """Return B."""
        return len(self.action)

    def pieces(self, steps: int) -> Iterator[Transitions]:
        """Yield all steps in order, at most `steps` at once, as views."""
        for first in range(0, len(self), steps):
            yield self.select(slice(first, first + steps))

    def select(self, keep: torch.Tensor | slice) -> Transitions:
        """Return the steps chosen by a mask, by indices, or by a slice as views."""
        obs, following = ({group: x[keep] for group, x in o.items()} for o in (self.obs, self.next_obs))
        rest = (self.action[keep], self.reward[keep], self.mask[keep], following, self.intervened[keep])
        return Transitions(obs, *rest)

    @classmethod
    def join(cls, parts: list[Transitions]) -> Transitions:
        """Return the steps of all parts, in order; there must be one."""
        obs, following = (
            {group: torch.cat([getattr(part, side)[group] for part in parts]) for group in parts[0].obs}
            for side in ("obs", "next_obs")
        )
        action, reward, mask, intervened = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("action", "reward", "mask", "intervened")
        )
        return cls(obs, action, reward, mask, following, intervened)


@dataclass(frozen=True)
class Minibatches:
    """U minibatches of B transitions, as rows of a buffer.

    Attributes:
        rows: (U, B, width).
        width: d of all observation groups together.
        num_actions: A.
        shown: (U, B, 2) numbers of the frames before and after the action, in `frames`; None without images.
        frames: of the buffers.
    """

    rows: torch.Tensor
    width: int
    num_actions: int
    shown: torch.Tensor | None = None
    frames: FrameStore | None = None

    @property
    def obs(self) -> torch.Tensor:
        """Observations (U, B, d), all groups side by side."""
        return self.rows[..., : self.width]

    @property
    def obs_action(self) -> torch.Tensor:
        """Observations and actions side by side, (U, B, d + A)."""
        return self.rows[..., : self.width + self.num_actions]

    @property
    def action(self) -> torch.Tensor:
        """Actions (U, B, A)."""
        return self.rows[..., self.width : self.width + self.num_actions]

    @property
    def reward(self) -> torch.Tensor:
        """Rewards (U, B)."""
        return self.rows[..., self.width + self.num_actions]

    @property
    def mask(self) -> torch.Tensor:
        """Zero after a termination, else 1; (U, B)."""
        return self.rows[..., self.width + self.num_actions + 1]

    @property
    def next_obs(self) -> torch.Tensor:
        """Observations (U, B, d) that follow."""
        return self.rows[..., self.width + self.num_actions + NUM_SCALARS :]

    def beside(self, other: Minibatches) -> Minibatches:
        """Return minibatches of the transitions of both, whose images must be in one store."""
        shown = None if self.shown is None or other.shown is None else torch.cat((self.shown, other.shown), dim=1)
        rows = torch.cat((self.rows, other.rows), dim=1)
        return Minibatches(rows, self.width, self.num_actions, shown, self.frames)

    def images(self, k: int) -> tuple[Obs, Obs]:
        """Return the images of minibatch `k` before and after the action, camera -> (B, H, W, C) uint8; may be none."""
        if self.shown is None or self.frames is None:
            return {}, {}
        return self.frames.read(self.shown[k, :, 0]), self.frames.read(self.shown[k, :, 1])


class TransitionBuffer:
    """The first `kept` and the last of all others; each has an id, counted from 0 in the order in which they come.

    Attributes:
        sizes: width of each observation group.
        num_actions: A.
        capacity: transitions in a full buffer.
        kept: the first transitions, which are never overwritten.
        next_id: id of the next transition: the number of those that came, the overwritten ones included.
        frames: has the images of the transitions; None without images.
    """

    def __init__(
        self,
        capacity: int,
        sizes: dict[str, int],
        num_actions: int,
        device: torch.device,
        frames: FrameStore | None = None,
        kept: int = 0,
    ) -> None:
        """Allocate.

        Args:
            capacity: transitions in a full buffer.
            sizes: width of each observation group.
            num_actions: A.
            device: of all tensors but images.
            frames: receives the images, also those of other buffers.
            kept: the first transitions, fewer than `capacity`, which are never overwritten.
        """
        self.capacity, self.sizes, self.num_actions, self.next_id = capacity, dict(sizes), num_actions, 0
        self.width = sum(sizes.values())
        self.kept, self._ring = kept, capacity - kept
        self._rows = torch.zeros(capacity, 2 * self.width + num_actions + NUM_SCALARS, device=device)
        self.frames = frames
        self._shown = torch.zeros(0 if frames is None else capacity, 2, dtype=torch.long)

    def __len__(self) -> int:
        """Return the number of transitions that can be sampled."""
        return min(self.next_id, self.capacity)

    def push(self, transitions: Transitions, first_id: int | None = None) -> int:
        """Append transitions, and return the id of the newest one in the buffer.

        Args:
            transitions: consecutive ones.
            first_id: id of the first, by default the next one. Transitions that are there already are left out, so
                that a sender may repeat what it is not sure of.

        Raises:
            DatasetError: transitions before `first_id` are missing, or a group has another width or image size.
        """
        first_id = self.next_id if first_id is None else first_id
        if first_id > self.next_id:
            raise DatasetError(f"Transitions {self.next_id} to {first_id - 1} are missing: push them first.")
        last = max(self.next_id, first_id + len(transitions))
        ids = torch.arange(self.next_id, last)
        ids = ids[(ids < self.kept) | (ids >= last - self._ring)]
        at = self._at(ids)
        if self.frames is not None:
            self._show(transitions.select(ids - first_id), at, self.frames)
        packed = self._packed(transitions)
        self._rows[at.to(packed.device)] = packed[(ids - first_id).to(packed.device)]
        self.next_id = last
        return last - 1

    def _at(self, ids: torch.Tensor) -> torch.Tensor:
        """Return the rows (B,) of transitions `ids` (B,)."""
        return torch.where(ids < self.kept, ids, self.kept + (ids - self.kept) % max(1, self._ring))

    def _show(self, given: Transitions, at: torch.Tensor, frames: FrameStore) -> None:
        """Put the images of transitions to the rows `at` (B,), and release those of the overwritten transitions."""
        shown = torch.stack((frames.add(given.obs), frames.add(given.next_obs)), 1)
        frames.release(self._shown[at[at < len(self)]].flatten())
        self._shown[at] = shown

    def _packed(self, transitions: Transitions) -> torch.Tensor:
        for group, size in self.sizes.items():
            for obs in (transitions.obs, transitions.next_obs):
                if group not in obs or obs[group].shape[1] != size:
                    found = f"width {obs[group].shape[1]}" if group in obs else "no such group"
                    raise DatasetError(f"Transitions of observation group `{group}`: expected width {size}, {found}.")
        before, after = ([o[group] for group in self.sizes] for o in (transitions.obs, transitions.next_obs))
        scalars = torch.stack((transitions.reward, transitions.mask, transitions.intervened), dim=1)
        packed = torch.cat((*before, transitions.action, scalars, *after), dim=1)
        return packed.to(self._rows)

    def sample(self, batches: int, batch_size: int) -> Minibatches:
        """Draw `batches` minibatches of `batch_size` transitions, each transition equally often."""
        index = torch.randint(len(self), (batches * batch_size,), device=self._rows.device)
        rows = self._rows.index_select(0, index).view(batches, batch_size, -1)
        if self.frames is None:
            return Minibatches(rows, self.width, self.num_actions)
        shown = self._shown[index.cpu()].view(batches, batch_size, 2)
        return Minibatches(rows, self.width, self.num_actions, shown, self.frames)

    def read(self, ids: torch.Tensor) -> Transitions:
        """Return the transitions of `ids` (B,).

        Raises:
            DatasetError: one of them is not in the buffer.
        """
        oldest = max(self.kept, self.next_id - self._ring)
        if not bool(((ids >= 0) & (ids < self.next_id) & ((ids < self.kept) | (ids >= oldest))).all()):
            first = f"0 to {self.kept - 1} and " if self.kept else ""
            raise DatasetError(f"The buffer holds transitions {first}{oldest} to {self.next_id - 1}.")
        at = self._at(ids)
        rows = Minibatches(self._rows[at], self.width, self.num_actions)
        intervened = rows.rows[:, self.width + self.num_actions + 2].bool()
        obs, following = self._groups(rows.obs), self._groups(rows.next_obs)
        if self.frames is not None:
            shown = self._shown[at]
            obs, following = obs | self.frames.read(shown[:, 0]), following | self.frames.read(shown[:, 1])
        return Transitions(obs, rows.action, rows.reward, rows.mask, following, intervened)

    def _groups(self, x: torch.Tensor) -> Obs:
        return dict(zip(self.sizes, x.split(list(self.sizes.values()), dim=-1), strict=True))

    def state_dict(self) -> StateDict:
        """Return the content but images, to be written at once: a full buffer is not copied."""
        filled = len(self)
        rows = self._rows if filled == self.capacity else self._rows[:filled].clone()  # the file of a view is whole
        state = {"next_id": self.next_id, "sizes": self.sizes, "rows": rows}
        return state if self.frames is None else {**state, "shown": self._shown[:filled].clone()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict` of a buffer of the same capacity and groups; its store is restored by itself.

        Raises:
            DatasetError: naming what differs.
        """
        rows: torch.Tensor = state["rows"]
        if dict(state["sizes"]) != self.sizes or rows.shape[1] != self._rows.shape[1]:
            raise DatasetError(f"The saved transitions have the groups {dict(state['sizes'])}, expected {self.sizes}.")
        if len(rows) != min(state["next_id"], self.capacity):
            raise DatasetError(f"The saved transitions are of another capacity than {self.capacity}.")
        self._rows[: len(rows)] = rows.to(self._rows.device)
        if self.frames is not None:
            self._shown[: len(rows)] = state["shown"]
        self.next_id = state["next_id"]
