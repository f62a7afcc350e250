"""Names of what an environment of Isaac Lab observes and of what its actions move."""

from __future__ import annotations

from typing import Any

from regimen.envs.foreign.meaning import observations as of_terms
from regimen.envs.foreign.meaning import row
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
        actions = [joint for term in env.action_manager._terms.values() for joint in _joints_of_action(term)]
        observations, meaning = of_terms(env, task, actions)
        return IOSpec(observations, _action_of_managers(env), float(env.step_dt), meaning)
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


def _joints_of_action(term: Any) -> list[str]:
    """Return the joints that an action term moves, one for each of its values, or names made of its own."""
    joints = list(getattr(term, "_joint_names", ()) or ())
    name = type(term).__name__
    return joints if len(joints) == term.action_dim else [f"{name}_{i}" for i in range(term.action_dim)]


def _action_of_managers(env: Any) -> ActionSpec:
    joints: list[str] = []
    scale: list[float] = []
    offset: list[float] = []
    limits: list[list[float]] = []
    several = len(env.action_manager._terms) > 1
    for name, term in env.action_manager._terms.items():
        names = _joints_of_action(term)
        joints += [f"{name}/{joint}" if several else joint for joint in names]
        scale += row(getattr(term, "_scale", 1.0), len(names))
        offset += row(getattr(term, "_offset", 0.0), len(names))
        limits += _limits(env, term, names)
    return ActionSpec(joints, scale, offset, limits=limits if len(limits) == len(joints) else None)


def _limits(env: Any, term: Any, names: list[str]) -> list[list[float]]:
    """Return the limits of the joints of a term that sets positions; nothing for another."""
    if "Position" not in type(term).__name__ or not hasattr(term, "_asset"):
        return []
    asset = term._asset
    bounds = asset.data.soft_joint_pos_limits.torch[0]
    if any(name not in asset.joint_names for name in names):
        return []
    return [[float(v) for v in bounds[asset.joint_names.index(name)]] for name in names]
