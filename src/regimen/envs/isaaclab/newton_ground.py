"""Uneven ground in Newton: a height field of the model, which its solver MuJoCo Warp collides with as MuJoCo does.

Newton's importer of USD has no height fields, so the shape goes into the builder that Isaac Lab fills with the robots.
Isaac Lab's own generated ground reaches Newton in the same way, but sampled by rays from a mesh
(`isaaclab_newton.physics.newton_manager`, `_inject_terrain_heightfields`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regimen.envs.isaaclab.state import physics_manager

if TYPE_CHECKING:
    from regimen.envs.terrain.height_field import HeightField

LABEL = "/World/ground"

DEPTH = 1.0
"""How far the ground reaches below its lowest point in m.

Newton leaves 0.1 mm (`SolverMuJoCo`), so that a foot on the lowest ground is pushed out downwards.
"""


def lay(simulation: Any, ground: HeightField) -> None:
    """Add the ground to a simulation whose model is not yet built.

    Args:
        simulation: Isaac Lab's `SimulationContext`, before its reset.
        ground: heights.
    """
    import newton
    import warp
    from isaaclab_newton.physics.newton_manager_cfg import NewtonBuilderCfg

    rows = ground.heights.cpu().numpy().T  # Newton's rows lie along y, as MuJoCo's
    # The lowest height is in the pose: one of the field itself is lost when Newton's solver updates the poses of shapes
    # (`update_geom_properties_kernel`), which would lift the ground by it.
    low = float(rows.min())
    half = [(end - start) / 2 for start, end in zip(ground.start, ground.end, strict=True)]
    x, y = (start + side for start, side in zip(ground.start, half, strict=True))
    builder = simulation.get_or_create_backend(NewtonBuilderCfg(physics_cfg=simulation.cfg.physics))
    builder.add_shape_heightfield(
        heightfield=newton.Heightfield(rows - low, *rows.shape, *half),
        xform=warp.transform(warp.vec3(x, y, low), warp.quat_identity()),
        label=LABEL,
    )


def deepen(simulation: Any) -> None:
    """Make the ground of an open simulation as deep as `DEPTH` says."""
    import warp

    size = physics_manager(simulation)._solver.mjw_model.hfield_size
    warp.to_torch(size)[:, 3] = DEPTH
