"""Bind terms: find the function of a term's configuration, and resolve joint and body names to ids."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.config.targets import resolve
from regimen.config.task_schema import unweighted_problem
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

if TYPE_CHECKING:
    from regimen.config.task_schema import TermCfg
    from regimen.envs.term_env import TermEnv


def find_term(kind: str, func: str) -> Callable[..., Any]:
    """Return the function or class of a term.

    Args:
        kind: module under `regimen.envs.terms` that bare names refer to.
        func: bare name or `pkg.mod:name`.
    """
    return resolve(func if ":" in func else f"regimen.envs.terms.{kind}:{func}")


def match_ids(patterns: str | Sequence[str], names: list[str], where: str) -> torch.Tensor:
    """Return the ids (k,) of all names that fully match one of the regular expressions, in the order of `names`.

    Raises:
        ConfigError: if a pattern matches nothing.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    for pattern in wanted:
        if not any(re.fullmatch(pattern, n) for n in names):
            raise ConfigError(f"{where}: `{pattern}` matches none of the names. {did_you_mean(pattern, names)}")
    ids = [i for i, n in enumerate(names) if any(re.fullmatch(p, n) for p in wanted)]
    return torch.tensor(ids, dtype=torch.long)


def as_slice(ids: list[int], device: torch.device) -> torch.Tensor | slice:
    """Return an index of columns: a slice, which needs no copy, where `ids` are consecutive, else a tensor."""
    if ids and ids == list(range(ids[0], ids[-1] + 1)):
        return slice(ids[0], ids[-1] + 1)
    return torch.tensor(ids, dtype=torch.long, device=device)


def bind_term(env: TermEnv, kind: str, name: str, cfg: TermCfg) -> Callable[..., Any]:
    """Return a callable term: a partial function, or an instance of a stateful term.

    Args:
        env: given to the term as its first argument.
        kind: as in `find_term`.
        name: the term's name in the task, for messages.
        cfg: its configuration.

    Raises:
        ConfigError: if a name in `joints`, `bodies`, `sites` or `rewards` matches nothing, or a parameter does not
            exist.
    """
    func = find_term(kind, cfg.func)
    names = {"joints": env.joints, "bodies": env.bodies, "sites": env.sites}
    names |= {"rewards": list(env.rewards.terms)} if kind == "curriculum" else {}
    params = dict(cfg.params)
    for key in names.keys() & params.keys():
        where = f"{kind}.{name}.params.{key}"
        if key == "rewards":
            patterns = [params[key]] if isinstance(params[key], str) else params[key]
            problems = [unweighted_problem(p, env.rewards.terms, env.rewards.unweighted) for p in patterns]
            raise_if_any([f"{where}: {problem}" for problem in problems if problem])
        ids = match_ids(params[key], names[key], where)
        params[key] = ids.to(env.device) if isinstance(func, type) else as_slice(ids.tolist(), env.device)
    names_of_func = [p for p in inspect.signature(func).parameters if p not in ("env", "env_ids")]
    for key in params:
        if key not in names_of_func:
            raise ConfigError(f"{kind}.{name}: {cfg.func} has no parameter `{key}`. {did_you_mean(key, names_of_func)}")
    bound: Callable[..., Any] = func(env, **params) if isinstance(func, type) else partial(func, env, **params)
    return bound


def joint_terms(env: Any) -> list[str] | None:
    """Return the terms of the group `policy` with one value per joint; None where the task does not name its terms.

    Args:
        env: a task's typed configuration.
    """
    groups = getattr(env, "observations", None)
    if groups is None:
        return None
    terms = {name: find_term("observations", term.func) for name, term in groups["policy"].terms.items() if term}
    per_joint = ("joints", "last_action")
    return [n for n, f in terms.items() if {f.__name__, *inspect.signature(f).parameters} & set(per_joint)]
