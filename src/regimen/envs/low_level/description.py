"""Observations and actions of a task whose actions are commands of a low-level policy; without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from regimen.envs.vec_env import ActionSpec, IOSpec

if TYPE_CHECKING:
    from regimen.config.task_schema import LowLevelCfg

ACTIONS = ("velocity_x", "velocity_y")
"""Wanted velocity in the world frame."""


def commanding_io(io: IOSpec, cfg: LowLevelCfg) -> IOSpec:
    """Return the `IOSpec` of the upper level.

    Args:
        io: of the low-level policy's task, which has the group `cfg.observations`.
        cfg: of the low level.
    """
    observations = {"policy": io.observations.get(cfg.observations, {})}
    meaning = {"policy": io.meaning.get(cfg.observations, {})}
    action = ActionSpec(list(ACTIONS), [cfg.speed] * 2, [0.0] * 2, 1.0)
    return IOSpec(observations, action, io.step_dt * cfg.decimation, meaning)
