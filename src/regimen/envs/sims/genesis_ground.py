"""Uneven ground in Genesis: a terrain whose heights are those of the task, triangle by triangle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from regimen.envs.terrain.height_field import HeightField

COARSE = 16
"""Cells along the longer side of the mesh that stands for ground that is not shown."""

SDF_NODES = 16
"""Nodes along each axis of the distance field that Genesis computes of its mesh, the fewest that it accepts."""


def add(gs: Any, scene: Any, ground: HeightField, friction: float, visible: bool) -> None:
    """Add the ground to a scene that is not yet built.

    Genesis divides a cell into triangles by its other diagonal. A quarter turn about z makes that the diagonal of
    `HeightField`: the terrain's own x axis lies along y of the world, and its y axis against x.

    Rigid bodies collide with the heights. Genesis makes a mesh of them too, with a closed copy and a distance field,
    for pictures, rays and the box around it: 5 KB for each point, and minutes. Where nothing is drawn, a mesh of few
    points in the same box takes its place.

    Args:
        gs: Genesis, started.
        scene: to add it to.
        ground: heights.
        friction: of the ground.
        visible: whether a viewer shows it.
    """
    heights = ground.heights.cpu().numpy().T[:, ::-1].copy()
    meshed, cell = (heights, ground.cell) if visible else _coarse(heights, ground.cell)
    terrain = scene.add_entity(
        gs.morphs.Terrain(
            height_field=meshed,
            horizontal_scale=cell,
            vertical_scale=1.0,
            pos=(ground.end[0], ground.start[1], 0.0),
            euler=(0.0, 0.0, 90.0),
            visualization=visible,
        ),
        material=gs.materials.Rigid(friction=friction, sdf_min_res=SDF_NODES, sdf_max_res=SDF_NODES),
    )
    # What the collider takes over when the scene is built (`Collider._init_terrain_state`).
    description, kind = scene.desc.entities[-1], terrain.terrain_hf.dtype
    description.terrain_hf = heights.astype(kind)
    description.terrain_scale = np.array((ground.cell, 1.0), dtype=kind)


def _coarse(heights: np.ndarray, cell: float) -> tuple[np.ndarray, float]:
    """Return few points that fill the same box as `heights` (X, Y), and the distance between them in m."""
    step = max(1, -(-(max(heights.shape) - 1) // COARSE))
    low, high = float(heights.min()), float(heights.max())
    few = np.full([-(-(n - 1) // step) + 1 for n in heights.shape], low, dtype=np.float32)
    few[::2, ::2] = high
    return few, step * cell
