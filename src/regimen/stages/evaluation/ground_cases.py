"""Kinds and levels of uneven ground that an evaluation covers. Nothing here imports numpy: preflight counts them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimen.config.structured import build
from regimen.config.task_schema import TerrainCfg

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainSection


@dataclass(frozen=True)
class GroundCase:
    """Tiles of one kind at one level.

    Attributes:
        kind: name of the kind.
        level: row of difficulty.
        columns: in which it stands.
    """

    kind: str
    level: int
    columns: tuple[int, ...]


def ground_cases(env: PlainSection) -> list[GroundCase]:
    """Return what is evaluated, kind by kind and the lowest level first; nothing on flat ground.

    Args:
        env: plain configuration of the task.
    """
    if not env.get("terrain"):
        return []
    cfg: TerrainCfg = build(TerrainCfg, env["terrain"])
    if cfg.problems():
        return []
    kinds, asked = cfg.column_kinds(), (env.get("evaluation") or {}).get("levels")
    levels = sorted(set(asked or (0, (cfg.levels - 1) // 2, cfg.levels - 1)))
    columns = {kind: tuple(i for i, name in enumerate(kinds) if name == kind) for kind in dict.fromkeys(kinds)}
    return [GroundCase(kind, level, places) for kind, places in columns.items() for level in levels]


def level_problems(env: PlainSection) -> list[str]:
    """Return a line if levels are to be evaluated that the ground does not have.

    Args:
        env: plain configuration of the task.
    """
    asked = (env.get("evaluation") or {}).get("levels") or []
    if asked and not env.get("terrain"):
        return [f"env.evaluation.levels={asked}: the ground is flat. Set env.evaluation.levels=[]."]
    most = (env.get("terrain") or {}).get("levels", 0) - 1
    wrong = [level for level in asked if not 0 <= level <= most]
    return [f"env.evaluation.levels={asked}: expected levels from 0 to {most}."] if wrong else []
