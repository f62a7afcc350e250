"""Names of what an environment of mjlab observes and of what its actions move."""

from __future__ import annotations

from typing import Any

import torch

from regimen.envs.foreign.meaning import ActionTerm, io_of_managers, limits_of, targets
from regimen.envs.mjlab.groups import renamed
from regimen.envs.vec_env import IOSpec


def io_of(env: Any, task: str) -> IOSpec:
    """Return the names, sizes and order of the observations and actions of an open environment.

    Args:
        env: of mjlab, unwrapped.
        task: its id, for messages.

    Raises:
        ConfigError: a group that is no vector.
    """
    names = env.action_manager.active_terms
    io = io_of_managers(env, task, [_action_term(env, name) for name in names])
    groups = io.observations
    return IOSpec(
        {renamed(name, groups): sizes for name, sizes in groups.items()},
        io.action,
        io.step_dt,
        {renamed(name, groups): found for name, found in io.meaning.items()},
    )


def _action_term(env: Any, name: str) -> ActionTerm:
    term = env.action_manager.get_term(name)
    moved = targets(term, getattr(term, "target_names", None))
    return ActionTerm(name, moved, getattr(term, "scale", 1.0), getattr(term, "offset", 0.0), _limits(env, term, moved))


def _limits(env: Any, term: Any, joints: list[str]) -> torch.Tensor | None:
    """Return the limits of the joints of a term that sets positions, (k, 2) in rad or m; None for another."""
    if type(term).__name__ != "JointPositionAction":
        return None
    entity = env.scene[term.cfg.entity_name]
    return limits_of(joints, entity, entity.data.soft_joint_pos_limits[0])
