"""Names of what an environment of Isaac Lab observes and of what its actions move."""

from __future__ import annotations

from typing import Any

import torch

from regimen.envs.foreign.meaning import ActionTerm, io_of_managers, limits_of, targets
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import ConfigError


def io_of(env: Any, task: str) -> IOSpec:
    """Return the names, sizes and order of the observations and actions of an open environment.

    Args:
        env: of Isaac Lab, unwrapped.
        task: its id, for messages.

    Raises:
        ConfigError: a group that is no vector.
    """
    if hasattr(env, "observation_manager"):
        return io_of_managers(env, task, [_action_term(*named) for named in env.action_manager._terms.items()])
    groups = {}
    for name, space in env.single_observation_space.spaces.items():
        if len(space.shape or ()) != 1:
            raise ConfigError(f"{task}: the observation group `{name}` is {space}, expected a vector.")
        groups[name] = {"observation": int(space.shape[0])}
    action = env.single_action_space
    if len(action.shape or ()) != 1:
        raise ConfigError(f"{task}: its action is {action}, expected a vector.")
    count = int(action.shape[0])
    spec = ActionSpec([f"action_{i}" for i in range(count)], [1.0] * count, [0.0] * count)
    return IOSpec(groups, spec, float(env.step_dt), {g: {"observation": {"of": task}} for g in groups})


def _action_term(name: str, term: Any) -> ActionTerm:
    joints = targets(term, getattr(term, "_joint_names", None))
    return ActionTerm(name, joints, getattr(term, "_scale", 1.0), getattr(term, "_offset", 0.0), _limits(term, joints))


def _limits(term: Any, joints: list[str]) -> torch.Tensor | None:
    """Return the limits of the joints of a term that sets positions, (k, 2) in rad or m; None for another."""
    if "Position" not in type(term).__name__ or not hasattr(term, "_asset"):
        return None
    return limits_of(joints, term._asset, term._asset.data.soft_joint_pos_limits.torch[0])
