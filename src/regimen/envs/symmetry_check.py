"""Check, before the simulator starts, whether a task can have a mirror image (`regimen.envs.symmetry`)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from regimen.config.static_modules import find, split_target
from regimen.envs.fault_estimate.columns import resolve_mode
from regimen.envs.robots.robot import load

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig


def unmirrored(config: PlainConfig) -> str | None:
    """Return why a task has no mirror image; None if it may have one.

    Args:
        config: the resolved configuration.
    """
    env = config["env"]
    robot = load(env["robot"]) if env.get("robot") else None
    if robot is None:
        return "the task has no robot whose left and right are known"
    if robot.mirror is None:
        return f"the robot `{robot.name}` declares no left and right (`mirror` in its robot.py)"
    if resolve_mode(env.get("estimate"), config.get("estimator")):
        return "an estimate of faults has no mirror image"
    terms = {f"{g}.{n}": t for g, group in env["observations"].items() for n, t in group["terms"].items() if t}
    undeclared = [name for name, term in terms.items() if not _declares(term["func"])]
    return f"no mirror image is declared (@mirrors) for observations {', '.join(undeclared)}" if undeclared else None


def _declares(func: str) -> bool:
    """Return whether an observation term is decorated by `@mirrors(...)`, read from its source."""
    _, term = find(*split_target(func if ":" in func else f"regimen.envs.terms.observations:{func}"))
    marks = getattr(term, "decorator_list", [])
    return any(isinstance(mark, ast.Call) and ast.unparse(mark.func).split(".")[-1] == "mirrors" for mark in marks)
