"""Names of what an environment of Isaac Lab observes and of what its actions move."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch

from regimen.envs.vec_env import ActionSpec, IOSpec, TermMeaning
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
        observations, meaning = _of_managers(env, task)
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


def _of_managers(env: Any, task: str) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, TermMeaning]]]:
    manager, sizes, meaning = env.observation_manager, {}, {}
    actions = [joint for names in map(_joints_of_action, env.action_manager._terms.values()) for joint in names]
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
        found[key] = value.flatten().tolist() if isinstance(value, torch.Tensor) else _plain(value)
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
    return list(value) if isinstance(value, tuple) else value


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
        scale += _row(getattr(term, "_scale", 1.0), len(names))
        offset += _row(getattr(term, "_offset", 0.0), len(names))
        limits += _limits(env, term, names)
    return ActionSpec(joints, scale, offset, limits=limits if len(limits) == len(joints) else None)


def _row(value: Any, count: int) -> list[float]:
    """Return a scale or offset of `count` values, those of the first environment, rounded as they are stored."""
    if isinstance(value, torch.Tensor):
        row = value[0] if value.dim() > 1 else value
        return [round(float(number), 6) for number in row.flatten().expand(count)]
    return [float(value)] * count if isinstance(value, int | float) else [1.0] * count


def _limits(env: Any, term: Any, names: list[str]) -> list[list[float]]:
    """Return the limits of the joints of a term that sets positions; nothing for another."""
    if "Position" not in type(term).__name__ or not hasattr(term, "_asset"):
        return []
    asset = term._asset
    bounds = asset.data.soft_joint_pos_limits.torch[0]
    if any(name not in asset.joint_names for name in names):
        return []
    return [[float(v) for v in bounds[asset.joint_names.index(name)]] for name in names]
