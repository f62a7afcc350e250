"""Replay buffer: the last transitions of every environment, on the agent's device, sampled as n-step returns.

The observation after a step is the next column of the ring; only where an episode ended, the observation before the
automatic reset is stored separately. This halves the memory of a ring that stores both ends of every transition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from regimen.envs.device_reads import read_is_free

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict

STEPS_PER_END = 16
"""Transitions for each final observation allocated at first; the room doubles if episodes are shorter."""

OTHER_BYTES = 4 + 1 + 1 + 8
"""Bytes of a transition for reward, terminated, ended and the number of its final observation."""


def ring_bytes(num_envs: int, capacity: int, width: int, num_actions: int) -> int:
    """Return the bytes of a ring; `width` is that of all observation groups together."""
    rows = num_envs * (capacity + 1)
    return rows * (4 * (width + num_actions) + OTHER_BYTES) + rows // STEPS_PER_END * 4 * width


@dataclass
class Batch:
    """Transitions with n-step returns; all tensors begin with the same dimensions (…).

    Attributes:
        obs: group -> (…, d).
        action: (…, A).
        reward: (…), discounted sum over the effective number of steps.
        discount: (…), factor of the value of `next_obs`: gamma to the number of steps, 0 after a termination.
        next_obs: group -> (…, d); where the episode ended, the observation before the reset.
    """

    obs: Obs
    action: torch.Tensor
    reward: torch.Tensor
    discount: torch.Tensor
    next_obs: Obs

    def minibatch(self, k: int) -> Batch:
        """Return entry `k` of the first dimension."""
        return self._at(k)

    def parts(self, most: int) -> list[Batch]:
        """Return all B entries of the first dimension in order, in parts of nearly equal size.

        Args:
            most: size of a part at most, a multiple of 16. So are all parts but the last, because random numbers for
                the parts are then those for all rows at once: PyTorch draws normal numbers in groups of 16 on a CPU.
        """
        rows = len(self.reward)
        size = -(-rows // (16 * -(-rows // most))) * 16
        return [self._at(slice(start, start + size)) for start in range(0, rows, size)]

    def _at(self, index: int | slice) -> Batch:
        obs, following = ({group: x[index] for group, x in o.items()} for o in (self.obs, self.next_obs))
        return Batch(obs, self.action[index], self.reward[index], self.discount[index], following)


class ReplayRing:
    """The last `capacity` transitions of each of N envs.

    Attributes:
        steps: transitions of each env written so far, those overwritten included.
    """

    def __init__(
        self, num_envs: int, capacity: int, sizes: dict[str, int], num_actions: int, device: torch.device
    ) -> None:
        """Allocate.

        Args:
            num_envs: N.
            capacity: transitions kept of each env.
            sizes: width of each observation group.
            num_actions: A.
            device: of all tensors.
        """
        shape = (num_envs, capacity + 1)  # one column more: the observation after the newest transition
        self.num_envs, self.capacity, self.columns, self.device = num_envs, capacity, capacity + 1, device
        self.obs = {g: torch.zeros(*shape, d, device=device) for g, d in sizes.items()}
        self.action = torch.zeros(*shape, num_actions, device=device)
        self.reward = torch.zeros(shape, device=device)
        self.terminated = torch.zeros(shape, dtype=torch.bool, device=device)
        self.ended = torch.zeros(shape, dtype=torch.bool, device=device)
        self.final_id = torch.zeros(shape, dtype=torch.long, device=device)
        self._finals = {g: torch.zeros(self._first_rows, d, device=device) for g, d in sizes.items()}
        self._ends = [0] * self.columns  # ended episodes in each column
        self._oldest_final = self._next_final = self.steps = 0

    @property
    def _first_rows(self) -> int:
        return max(1, self.num_envs * self.columns // STEPS_PER_END)

    @property
    def size(self) -> int:
        """Transitions of each env that can be sampled."""
        return min(self.steps, self.capacity)

    @property
    def head(self) -> int:
        """Column of the newest observation, which no transition starts from yet."""
        return self.steps % self.columns

    def begin(self, obs: Obs) -> None:
        """Write the observations that the first transition starts from, group -> (N, d)."""
        for group, ring in self.obs.items():
            ring[:, self.head] = obs[group]

    def add(
        self,
        action: torch.Tensor,
        reward: torch.Tensor,
        terminated: torch.Tensor,
        ended: torch.Tensor,
        obs: Obs,
        final_obs: Obs,
        ended_ids: torch.Tensor | None = None,
    ) -> None:
        """Write one step of all envs.

        Args:
            action: (N, A).
            reward: (N,).
            terminated: (N,) bool, without truncated episodes.
            ended: (N,) bool, the episode ended either way.
            obs: after the step, of the next episode where one ended.
            final_obs: rows valid where `ended`: before the reset.
            ended_ids: (n,) indices of `ended`, where they are read already.
        """
        at = self.head
        self.action[:, at], self.reward[:, at] = action, reward
        self.terminated[:, at], self.ended[:, at] = terminated, ended
        self._keep_finals(at, ended.nonzero().squeeze(1) if ended_ids is None else ended_ids, final_obs)
        self.steps += 1
        self._oldest_final += self._ends[self.head]  # the transition that started here is overwritten
        self._ends[self.head] = 0
        self.begin(obs)

    def end_episodes(self, final_obs: Obs) -> None:
        """End the episodes of all envs with the newest transition, as a time-out would.

        Args:
            final_obs: group -> (N, d), the observations after that transition.
        """
        if self.steps:
            at = (self.steps - 1) % self.columns
            running = ~self.ended[:, at]
            self.ended[:, at] = True
            self._keep_finals(at, running.nonzero().squeeze(1), final_obs)

    def _keep_finals(self, at: int, envs: torch.Tensor, final_obs: Obs) -> None:
        """Queue the final observations of `envs` (n,): they are dropped in the order in which they came."""
        if not len(envs):
            return
        ids = self._next_final + torch.arange(len(envs), device=self.device)
        self._next_final += len(envs)
        self._ends[at] += len(envs)
        self._make_room(self._next_final - self._oldest_final)
        self.final_id[envs, at] = ids
        for group, finals in self._finals.items():
            finals[ids % len(finals)] = final_obs[group][envs]

    def _make_room(self, needed: int) -> None:
        rows = len(next(iter(self._finals.values())))
        if needed <= rows:
            return
        new_rows = max(2 * rows, needed)
        ids = torch.arange(self._oldest_final, self._oldest_final + rows, device=self.device)
        for group, finals in self._finals.items():
            self._finals[group] = finals.new_zeros(new_rows, finals.shape[1])
            self._finals[group][ids % new_rows] = finals[ids % rows]

    def sample(self, batches: int, each: int, gamma: float, num_steps: int) -> Batch:
        """Draw `batches` minibatches of `each` transitions of every env: all envs are in each of them.

        Args:
            batches: U.
            each: transitions of one env in one minibatch; B = N * each.
            gamma: discount of one step.
            num_steps: steps of the return.

        Returns:
            Tensors (U, B, …).
        """
        shape = (batches, self.num_envs, each)
        age = torch.randint(1, self.size + 1, shape, device=self.device)
        env = torch.arange(self.num_envs, device=self.device)[:, None].expand(shape)
        return self.read(env.reshape(batches, -1), age.reshape(batches, -1), gamma, num_steps)

    def read(self, env: torch.Tensor, age: torch.Tensor, gamma: float, num_steps: int) -> Batch:
        """Return the transitions of `env` (…) that started `age` (…) steps before the newest observation.

        The return sums up to `num_steps` rewards; fewer where the episode or what is recorded ends before.
        """
        row, column = env * self.columns, (self.steps - age) % self.columns
        last, steps = column, torch.ones_like(age)
        reward, running = _take(self.reward, row + column), ~_take(self.ended, row + column)
        for k in range(1, num_steps):
            ahead = (column + k) % self.columns
            running &= age > k
            reward += torch.where(running, gamma**k * _take(self.reward, row + ahead), 0.0)
            last, steps = torch.where(running, ahead, last), steps + running
            running &= ~_take(self.ended, row + ahead)
        discount = gamma**steps * ~_take(self.terminated, row + last)
        obs = {group: _take(ring, row + column) for group, ring in self.obs.items()}
        return Batch(obs, _take(self.action, row + column), reward, discount, self._successors(row, last))

    def _successors(self, row: torch.Tensor, last: torch.Tensor) -> Obs:
        following, last = row + (last + 1) % self.columns, row + last
        successors = {group: _take(ring, following) for group, ring in self.obs.items()}
        if not read_is_free(self.device):  # a read of the rows that ended would wait; all rows are computed
            ended, ids = _take(self.ended, last)[..., None], _take(self.final_id, last)
            finals = {group: rows[ids % len(rows)] for group, rows in self._finals.items()}
            return {group: torch.where(ended, finals[group], obs) for group, obs in successors.items()}
        rows_ended = _take(self.ended, last).nonzero(as_tuple=True)
        ids = _take(self.final_id, last[rows_ended])
        for group, finals_of in self._finals.items():
            successors[group][rows_ended] = finals_of[ids % len(finals_of)]
        return successors

    def state_dict(self) -> StateDict:
        """Return the content, to be written at once: a full ring is not copied."""
        filled = min(self.steps + 1, self.columns)
        return {
            "steps": self.steps,
            "columns": {name: _first(ring, filled) for name, ring in self._rings().items()},
            "finals": self._finals,
            "queue": [self._oldest_final, self._next_final],
            "ends": self._ends,
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        for name, ring in self._rings().items():
            ring[:, : state["columns"][name].shape[1]] = state["columns"][name].to(self.device)
        self._finals = {g: finals.to(self.device).clone() for g, finals in state["finals"].items()}
        self._oldest_final, self._next_final = state["queue"]
        self._ends, self.steps = list(state["ends"]), state["steps"]

    def _rings(self) -> dict[str, torch.Tensor]:
        names = ("action", "reward", "terminated", "ended", "final_id")
        return {f"obs.{g}": ring for g, ring in self.obs.items()} | {name: getattr(self, name) for name in names}


def _take(ring: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
    """Return the entries of a ring (N, T, …) at the flat positions (…)."""
    rows = ring.reshape(-1, *ring.shape[2:])
    return rows.index_select(0, flat.reshape(-1)).reshape(*flat.shape, *ring.shape[2:])


def _first(ring: torch.Tensor, columns: int) -> torch.Tensor:
    """Return the first columns; a copy of a part, because the file of a view holds the whole."""
    return ring if columns == ring.shape[1] else ring[:, :columns].clone()
