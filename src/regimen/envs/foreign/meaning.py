"""Names of what an environment built by managers observes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch

from regimen.envs.vec_env import TermMeaning
from regimen.system.errors import ConfigError


def observations(
    env: Any, task: str, actions: Sequence[str]
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, TermMeaning]]]:
    """Return group -> term -> size, and group -> term -> function, scale, clip, history, joints or bodies.

    Args:
        env: open, unwrapped.
        task: its id, for messages.
        actions: name of each value of the action.

    Raises:
        ConfigError: a group that is no vector.
    """
    manager, sizes, meaning = env.observation_manager, {}, {}
    for group, terms in manager.active_terms.items():
        shapes, cfgs = manager.group_obs_term_dim[group], manager._group_obs_term_cfgs[group]
        wrong = [f"{t} {tuple(s)}" for t, s in zip(terms, shapes, strict=True) if len(s) != 1]
        if wrong:
            raise ConfigError(f"{task}: the observation group `{group}` has {', '.join(wrong)}, expected vectors.")
        sizes[group] = {term: int(math.prod(shape)) for term, shape in zip(terms, shapes, strict=True)}
        meaning[group] = {
            term: _meaning(env, cfg, sizes[group][term], list(actions)) for term, cfg in zip(terms, cfgs, strict=True)
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


def row(value: Any, count: int) -> list[float]:
    """Return a scale or offset of `count` values, those of the first environment, rounded as they are stored."""
    if isinstance(value, torch.Tensor):
        row = value[0] if value.dim() > 1 else value
        return [round(float(number), 6) for number in row.flatten().expand(count)]
    return [float(value)] * count if isinstance(value, int | float) else [1.0] * count
