"""Several teachers of one student: each of them acts on the kinds of ground that it alone was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regimen.agents.base import Policy
    from regimen.envs.vec_env import Obs


class GroundTeachers:
    """A policy that is another one on each kind of ground; robots stay on the kind on which they start."""

    def __init__(self, teachers: Sequence[Policy], teacher_of_env: Sequence[int], device: torch.device) -> None:
        """Take the policies.

        Args:
            teachers: K policies.
            teacher_of_env: N indices of them.
            device: of the observations.
        """
        of_env = torch.tensor(list(teacher_of_env), device=device)
        self._rows = [(of_env == k).nonzero().squeeze(1) for k in range(len(teachers))]
        self._order = torch.cat(self._rows).argsort()
        self._teachers = list(teachers)

    def act(self, obs: Obs, state: list[Any] | None) -> tuple[torch.Tensor, list[Any]]:
        """Return the actions (N, A), and the states of all teachers, each of its own envs."""
        states, actions = [], []
        for k, (teacher, rows) in enumerate(zip(self._teachers, self._rows, strict=True)):
            own = {group: values[rows] for group, values in obs.items()}
            action, after = teacher.act(own, None if state is None else state[k])
            actions.append(action)
            states.append(after)
        return torch.cat(actions)[self._order], states

    def reset(self, state: list[Any], env_ids: torch.Tensor) -> list[Any]:
        """Return the states with the envs `env_ids` (n,) at the start of an episode."""
        return [
            teacher.reset(of_teacher, torch.isin(rows, env_ids).nonzero().squeeze(1))
            for teacher, rows, of_teacher in zip(self._teachers, self._rows, state, strict=True)
        ]
