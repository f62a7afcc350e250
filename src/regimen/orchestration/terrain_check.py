"""Check before the start that a simulator can have the ground of a task, and that its terms fit the ground."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.config.yaml_io import PlainSection
from regimen.envs.terrain.ray_pattern import PATTERNS, RayPattern, pattern_of
from regimen.envs.terrain.scan_grid import ScanGrid
from regimen.orchestration.preflight_report import PreflightContext

HAVE = "sim=mujoco, mujoco_warp, genesis or isaaclab"
"""Simulators of this repository with uneven ground."""

SCAN, LEVELS = "height_scan", "TerrainLevels"
MOTION = ("MotionCommand", "reset_from_motion", "reset_to_motion_command")
"""Terms that follow clips, which were recorded on flat ground."""


def is_scan(term: Any) -> bool:
    """Return whether the plain configuration of an observation term is a height scan."""
    return isinstance(term, dict) and term.get("func") == SCAN


def observation_width(env: PlainSection, per_joint: int, vectors: Collection[str] = ()) -> int:
    """Return the largest width of all observation groups together.

    Args:
        env: plain configuration of the task.
        per_joint: the most values that a term has which is no scan and has no rays.
        vectors: terms with 3 values at most.
    """
    width = 0
    for group in env.get("observations", {}).values():
        for term in (group.get("terms") or {}).values():
            pattern = _scan(term) if is_scan(term) else _rays(term)
            is_vector = isinstance(term, dict) and term.get("func") in vectors
            values = 3 if is_vector else per_joint if pattern is None or pattern.problems() else pattern.count
            of_term = term.get("history") if isinstance(term, dict) else None
            width += values * (of_term or group.get("history") or 1)
    return width


def check_terrain(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for a simulator without uneven ground, a scan larger than it, and terms that need flat ground."""
    env, plain = composed.config.env, composed.plain["env"]
    terms = {
        f"env.observations.{group}.terms.{name}": term
        for group, section in plain.get("observations", {}).items()
        for name, term in (section.get("terms") or {}).items()
    }
    scans = {path: _scan(term) for path, term in terms.items() if is_scan(term)}
    rays = {path: pattern for path, term in terms.items() if (pattern := _rays(term)) is not None}
    problems = {path: scan.problems() for path, scan in scans.items()}
    problems |= {path: pattern.problems() for path, pattern in rays.items()}
    for path, lines in problems.items():
        for problem in lines:
            yield Problem(f"{path}.params", f"`{path}.params.{problem}.")
    ground = getattr(env, "terrain", None)
    if ground is None:
        for name, term in (plain.get("curriculum") or {}).items():
            if isinstance(term, dict) and term.get("func") == LEVELS:
                path = f"env.curriculum.{name}"
                yield Problem(path, f"`{path}` needs uneven ground, env.terrain: set {path}=null.")
    if ground is None or ground.problems():
        return
    if not getattr(composed.config.sim, "TERRAIN", False):
        what = f"sim={composed.choices['sim']} has no uneven ground"
        yield Problem("env.terrain", f"{what}: choose {HAVE}, or flat ground (env.terrain=null).")
    extent = [points * ground.cell for points in ground.points]
    for path, scan in scans.items():
        if not scan.problems() and any(side > most for side, most in zip(scan.size, extent, strict=True)):
            most = " x ".join(f"{side:g}" for side in extent)
            yield Problem(f"{path}.params.size", f"`{path}.params.size={list(scan.size)}`: the ground has {most} m.")
    for section in ("commands", "events"):
        for name, term in (plain.get(section) or {}).items():
            if isinstance(term, dict) and str(term.get("func")).rpartition(":")[2] in MOTION:
                path = f"env.{section}.{name}"
                yield Problem(path, f"`{path}` follows motion clips on flat ground: set env.terrain=null.")


def _scan(term: PlainSection) -> ScanGrid:
    return ScanGrid.of(term.get("params") or {})


def _rays(term: Any) -> RayPattern | None:
    """Return the rays of the plain configuration of an observation term; None where it has none."""
    if not isinstance(term, dict) or term.get("func") not in PATTERNS:
        return None
    return pattern_of(str(term["func"]), term.get("params") or {})
