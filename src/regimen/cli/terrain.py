"""`regimen terrain task=<name>`: the uneven ground of a task as a table and a picture."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.config.compose import compose_config
from regimen.display.formatting import size
from regimen.display.text_tables import TextTable, print_tables
from regimen.system.errors import ConfigError
from regimen.system.files import display_path


def terrain_verb(argv: list[str]) -> int:
    """Print the kinds of ground of a task and draw them from above and in profile; nothing is simulated.

    Args:
        argv: overrides as for launch.py, and flags.
    """
    parser = argparse.ArgumentParser(prog="regimen terrain", description=terrain_verb.__doc__)
    parser.add_argument("overrides", nargs="*", help="as for launch.py, for example task=go2_rough env.terrain.seed=1")
    parser.add_argument("--out", type=Path, help="picture to write (default: outputs/terrain/<task>.png)")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    arguments = parser.parse_args(argv)
    config = compose_config(arguments.overrides, arguments.config_dir)
    cfg = getattr(config.env, "terrain", None)
    if cfg is None:
        raise ConfigError(f"task={config.choices['task']} has flat ground. Choose task=go2_rough, or set env.terrain.")
    from regimen.display.ground_figure import Profile, draw_ground
    from regimen.envs.terrain.grid import build_terrain

    terrain = build_terrain(cfg)
    heights, border, points = terrain.ground.heights.numpy(), cfg.border_points, cfg.tile_points
    levels, rows, profiles, names = sorted({0, (cfg.levels - 1) // 2, cfg.levels - 1}), [], [], []
    for kind in cfg.used:
        columns = [column for column, name in enumerate(terrain.kinds) if name == kind]
        for level in levels if columns else ():
            x, y = border + level * points, border + columns[0] * points
            profiles.append(Profile(kind, level, heights[x : x + points, y + points // 2]))
        ends = [p.heights for p in profiles if p.kind == kind]
        extent = [f"{part.min():.2f} … {part.max():.2f}" for part in (ends[0], ends[-1])] if ends else ["", ""]
        rows.append((kind, cfg.used[kind].func, str(len(columns)), *extent))
        if columns:
            names.append((kind, float(terrain.origins[0, columns, 1].mean())))
    lengths = " x ".join(f"{(n - 1) * cfg.cell:g}" for n in cfg.points)
    title = f"Ground of {config.choices['task']}: {lengths} m, {cfg.levels} levels, {size(cfg.memory_bytes())}"
    header = ("kind", "func", ">columns", ">m at level 0", f">m at level {levels[-1]}")
    print_tables([TextTable(title, header, rows)])
    out = arguments.out or Path("outputs/terrain") / f"{config.choices['task']}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_ground(heights, cfg.cell, terrain.ground.start, names, profiles, out)
    print(f"picture: {display_path(out)}")
    return 0
