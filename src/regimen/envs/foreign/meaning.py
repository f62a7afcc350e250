"""Names of what an environment built by managers observes, and of what its actions move."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from regimen.envs.vec_env import ActionSpec, IOSpec, TermMeaning
from regimen.system.errors import ConfigError


@dataclass(frozen=True)
class ActionTerm:
    """A term of the action of an environment.

    Attributes:
        name: of the term.
        targets: the joints, tendons or sites that it moves, one for each of its values.
        scale: a number, or a tensor (k,) or (N, k).
        offset: as `scale`.
        limits: of the targets, (k, 2) in m or rad, where it sets positions; None for another term.
    """

    name: str
    targets: list[str]
    scale: Any
    offset: Any
    limits: torch.Tensor | None


def targets(term: Any, names: Sequence[str] | None) -> list[str]:
    """Return the names of what an action term moves if they are one for each of its values, else names made of its own.

    Args:
        term: of the library.
        names: joints, tendons or sites, by the library.
    """
    found = list(names or ())
    made = [f"{type(term).__name__}_{i}" for i in range(term.action_dim)]
    return found if len(found) == term.action_dim else made


def limits_of(joints: Sequence[str], entity: Any, bounds: torch.Tensor) -> torch.Tensor | None:
    """Return the rows of `bounds` of some joints of an entity, (k, 2); None if one of them is not among its joints.

    Args:
        joints: their names.
        entity: with `joint_names`.
        bounds: (J, 2), of all its joints.
    """
    known = entity.joint_names
    return bounds[[known.index(joint) for joint in joints]] if all(joint in known for joint in joints) else None


def io_of_managers(env: Any, task: str, terms: Sequence[ActionTerm]) -> IOSpec:
    """Return the names, sizes and order of the observations and actions of an environment built by managers.

    Args:
        env: open, unwrapped.
        task: its id, for messages.
        terms: of its action, in their order.

    Raises:
        ConfigError: a group that is no vector.
    """
    sizes, meaning = _observations(env, task, [target for term in terms for target in term.targets])
    return IOSpec(sizes, _action(terms), float(env.step_dt), meaning)


def _action(terms: Sequence[ActionTerm]) -> ActionSpec:
    several = len(terms) > 1
    limits = [term.limits.tolist() for term in terms if term.limits is not None]
    return ActionSpec(
        [f"{term.name}/{target}" if several else target for term in terms for target in term.targets],
        [value for term in terms for value in _row(term.scale, len(term.targets))],
        [value for term in terms for value in _row(term.offset, len(term.targets))],
        limits=[pair for rows in limits for pair in rows] if len(limits) == len(terms) else None,
    )


def _observations(
    env: Any, task: str, actions: list[str]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, TermMeaning]]]:
    """Return group -> term -> size, and group -> term -> function, scale, clip, history, joints or bodies."""
    manager, sizes, meaning = env.observation_manager, {}, {}
    for group, terms in manager.active_terms.items():
        shapes, cfgs = manager.group_obs_term_dim[group], manager._group_obs_term_cfgs[group]
        wrong = [f"{t} {tuple(s)}" for t, s in zip(terms, shapes, strict=True) if len(s) != 1]
        if wrong:
            raise ConfigError(f"{task}: the observation group `{group}` has {', '.join(wrong)}, expected vectors.")
        sizes[group] = {term: int(math.prod(shape)) for term, shape in zip(terms, shapes, strict=True)}
        meaning[group] = {
            term: _meaning(env, cfg, sizes[group][term], actions) for term, cfg in zip(terms, cfgs, strict=True)
        }
    return sizes, meaning


def _meaning(env: Any, cfg: Any, size: int, actions: list[str]) -> TermMeaning:
    """Return function, scale, clip, history, and joints or bodies of a term."""
    found: TermMeaning = {"func": getattr(cfg.func, "__name__", type(cfg.func).__name__)}
    for key in ("scale", "clip"):
        value = getattr(cfg, key)
        found[key] = _plain(value)
    history = int(cfg.history_length or 0)
    if history:
        found["history"] = history
    columns = size // max(1, history)
    if found["func"] == "last_action" and columns == len(actions):
        return found | {"joints": actions}
    for selected in _entities(cfg):
        asset = env.scene[selected.name]
        for kind in ("joint", "body"):
            names = list(getattr(asset, f"{kind}_names", ()) or ())
            ids = getattr(selected, f"{kind}_ids", slice(None))
            chosen = names[ids] if isinstance(ids, slice) else [names[int(i)] for i in ids]
            if chosen and len(chosen) == columns:
                return found | {f"{kind}s" if kind == "joint" else "bodies": chosen}
    return found


def _entities(cfg: Any) -> list[Any]:
    """Return the entities of a scene that a term reads: its parameters, and the defaults of its function."""
    given = [value for value in (cfg.params or {}).values() if type(value).__name__ == "SceneEntityCfg"]
    try:
        defaults = [p.default for name, p in inspect.signature(cfg.func).parameters.items() if name not in cfg.params]
    except (TypeError, ValueError):
        defaults = []
    return given + [value for value in defaults if type(value).__name__ == "SceneEntityCfg"]


def _plain(value: Any) -> Any:
    """Return a tuple or a tensor as a list, and a tensor of one value as a number."""
    if isinstance(value, torch.Tensor):
        return value.item() if value.numel() == 1 else value.flatten().tolist()
    return list(value) if isinstance(value, tuple) else value


def _row(value: Any, count: int) -> list[float]:
    """Return a scale or offset of `count` values, those of the first environment, rounded as they are stored."""
    if isinstance(value, torch.Tensor):
        row = value[0] if value.dim() > 1 else value
        return [round(float(number), 6) for number in row.flatten().expand(count)]
    return [float(value)] * count if isinstance(value, int | float) else [1.0] * count
