"""Metric terms: functions of the env that return (N,), averaged over an episode by `stage=evaluate`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import torch

from regimen.envs.terms.rewards import CONTACT_N
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


def feet_in_step(env: TermEnv, pairs: list[list[str]]) -> torch.Tensor:
    """Share of the pairs of feet that are both on the ground or both off it, in [0, 1].

    Of the diagonal pairs of a quadruped it is near 1 in a trot and near 0.5 by chance.

    Args:
        env: the task.
        pairs: two names of feet each.
    """
    contact = env.foot_force > CONTACT_N
    first, second = _columns(tuple((_foot(env, one), _foot(env, other)) for one, other in pairs), env.device)
    return (contact[:, first] == contact[:, second]).float().mean(1)


@cache
def _columns(pairs: tuple[tuple[int, int], ...], device: torch.device) -> torch.Tensor:
    """Return pairs (n, 2) of columns as (2, n) on a device, to which they are copied once."""
    with torch.inference_mode(False):  # kept, and may be used in a training
        return torch.tensor(pairs, device=device).t().contiguous()


def _foot(env: TermEnv, name: str) -> int:
    feet = list(env.robot.feet)
    if name not in feet:
        raise ConfigError(f"feet_in_step: the robot has no foot `{name}`. {did_you_mean(name, feet)}")
    return feet.index(name)


def highest_foot(env: TermEnv) -> torch.Tensor:
    """Height of the highest sole, m; its mean over time grows with the clearance of the steps."""
    return env.foot_pos[:, :, 2].max(1).values
