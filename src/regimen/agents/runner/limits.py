"""End of a training by settings of rl_games, which are the section `params.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS = ("max_epochs", "max_frames")
EXPECTED = "Expected max_epochs=<epochs> or max_frames=<env steps of all envs together>, above 0; -1 is no limit."


def epoch_steps(settings: Mapping[str, Any]) -> int:
    """Return the env steps per env of an epoch."""
    return int(settings.get("horizon_length") or settings.get("num_steps_per_episode", 1))


def epochs(settings: Mapping[str, Any], num_envs: int) -> int | None:
    """Return the epochs until the first of `max_epochs` and `max_frames` is reached, None without a limit.

    As in rl_games, -1 is no limit, and frames are the env steps of all envs together.

    Args:
        settings: of the training.
        num_envs: N.
    """
    frames = int(settings.get("max_frames") or -1)
    by_frames = -(-frames // (num_envs * epoch_steps(settings)))
    limits = [count for count in (int(settings.get("max_epochs") or -1), by_frames) if count > 0]
    return min(limits, default=None)
