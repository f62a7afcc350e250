"""Names of what an environment of mjlab observes and of what its actions move."""

from __future__ import annotations

from typing import Any

from regimen.envs.foreign.meaning import observations, row
from regimen.envs.mjlab.groups import renamed
from regimen.envs.vec_env import ActionSpec, IOSpec


def io_of(env: Any, task: str) -> IOSpec:
    """Return the names, sizes and order of the observations and actions of an open environment.

    Args:
        env: of mjlab, unwrapped.
        task: its id, for messages.

    Raises:
        ConfigError: a group that is no vector.
    """
    terms = [env.action_manager.get_term(name) for name in env.action_manager.active_terms]
    groups, meaning = observations(env, task, [target for term in terms for target in _targets(term)])
    return IOSpec(
        {renamed(name, groups): sizes for name, sizes in groups.items()},
        _action(env, terms),
        float(env.step_dt),
        {renamed(name, groups): found for name, found in meaning.items()},
    )


def _targets(term: Any) -> list[str]:
    """Return the joints, tendons or sites that a term moves, one for each of its values, or names made of its own."""
    targets = list(getattr(term, "target_names", ()) or ())
    return (
        targets if len(targets) == term.action_dim else [f"{type(term).__name__}_{i}" for i in range(term.action_dim)]
    )


def _action(env: Any, terms: list[Any]) -> ActionSpec:
    joints: list[str] = []
    scale: list[float] = []
    offset: list[float] = []
    limits: list[list[float]] = []
    for name, term in zip(env.action_manager.active_terms, terms, strict=True):
        targets = _targets(term)
        joints += [f"{name}/{target}" if len(terms) > 1 else target for target in targets]
        scale += row(getattr(term, "scale", 1.0), len(targets))
        offset += row(getattr(term, "offset", 0.0), len(targets))
        limits += _limits(env, term, targets)
    return ActionSpec(joints, scale, offset, limits=limits if len(limits) == len(joints) else None)


def _limits(env: Any, term: Any, joints: list[str]) -> list[list[float]]:
    """Return the limits of the joints of a term that sets positions; nothing for another."""
    entity = env.scene[term.cfg.entity_name]
    if type(term).__name__ != "JointPositionAction" or any(joint not in entity.joint_names for joint in joints):
        return []
    bounds = entity.data.soft_joint_pos_limits[0]
    return [[float(v) for v in bounds[entity.joint_names.index(joint)]] for joint in joints]
