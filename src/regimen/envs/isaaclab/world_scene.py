"""A scene of Isaac Lab with N copies of one of our robots on a plane or uneven ground, on Newton."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.envs.isaaclab import newton_ground, usd_writer
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    import mujoco

    from regimen.envs.isaaclab.world_config import IsaacLabWorldCfg
    from regimen.envs.robots.robot import Robot
    from regimen.envs.terrain.height_field import HeightField

CONTACTS = {"mjGEOM_SPHERE": 1, "mjGEOM_CAPSULE": 2, "mjGEOM_CYLINDER": 4, "mjGEOM_BOX": 4}
"""Largest number of contacts of a shape with a plane."""

CONTACTS_ON_FIELD = 4
"""Largest number of contacts of a shape with a height field, of `ccd_hfield_kernel` in MuJoCo Warp."""

ROWS = {1: 1, 3: 4, 4: 6, 6: 10}
"""Dimensions of a contact -> its constraints, at most: edges of a pyramid of friction."""


@dataclass(frozen=True)
class Outline:
    """Monitored bodies and sites of a robot by sensor name.

    Attributes:
        monitored: name -> its colliding geoms.
        sites: name -> (body, position in its frame in m).
        shapes: names of the types of all colliding geoms.
    """

    monitored: dict[str, list[int]]
    sites: dict[str, tuple[str, tuple[float, ...]]]
    shapes: list[str]

    def contacts(self, uneven: bool) -> int:
        """Return the largest number of contacts with the ground, a plane or uneven."""
        return sum(CONTACTS_ON_FIELD if uneven else CONTACTS.get(shape, 0) for shape in self.shapes)


def read_outline(model: mujoco.MjModel) -> Outline:
    """Read what the sensors of a compiled MJCF measure, and its shapes.

    Args:
        model: it matches its `Robot`.
    """
    import mujoco

    touches = model.geom_contype | model.geom_conaffinity
    solid = [g for g in range(model.ngeom) if touches[g] and model.geom_bodyid[g] != 0]
    monitored: dict[str, list[int]] = {}
    sites: dict[str, tuple[str, tuple[float, ...]]] = {}
    for sensor in (model.sensor(i) for i in range(model.nsensor)):
        kind, _, name = sensor.name.partition("_")
        if kind == "contact":
            of_body = int(sensor.reftype[0]) == int(mujoco.mjtObj.mjOBJ_BODY)
            own = int(sensor.refid[0])
            monitored[name] = [g for g in solid if (model.geom_bodyid[g] if of_body else g) == own]
        elif kind == "pos":
            site = int(sensor.objid[0])
            body = model.body(int(model.site_bodyid[site])).name
            sites[name] = (body, tuple(float(x) for x in model.site_pos[site]))
    kinds = [mujoco.mjtGeom(int(model.geom_type[g])).name for g in solid]
    return Outline(monitored, sites, kinds)


def robot_usd(robot: Robot, model: mujoco.MjModel) -> Path:
    """Return the USD file of a robot, named by the content of its model; it is written at first use.

    Raises:
        ConfigError: a shape or joint that the writer cannot write, or a part of the MJCF that it does not write.
    """
    import mujoco
    import numpy as np

    if lost := list(_not_written(model)):
        raise ConfigError(f"sim=isaaclab cannot simulate the robot `{robot.name}`, which has {', '.join(lost)}.")
    content = np.empty(mujoco.mj_sizeModel(model), np.uint8)
    mujoco.mj_saveModel(model, None, content)
    found = hashlib.sha256(content.tobytes())
    for module in (usd_writer.__file__, usd_writer.solver_attributes.__file__):
        found.update(Path(module).read_bytes())
    file = ISAAC_LAB.cache.expanduser() / "robots" / f"{robot.name}-{found.hexdigest()[:12]}.usd"
    if not file.exists():
        unfinished = file.with_name(f"{os.getpid()}-{file.name}")
        try:
            usd_writer.write_usd(robot.mjcf, unfinished, solver=True)
        except ValueError as error:
            unfinished.unlink(missing_ok=True)
            raise ConfigError(f"sim=isaaclab cannot simulate the robot `{robot.name}`: {error}.") from error
        unfinished.rename(file)
    return file


def _not_written(model: mujoco.MjModel) -> Iterator[str]:
    """Yield the parts of an MJCF that a USD of this writer does not have."""
    for count, what in (
        (model.neq, "equality constraints"),
        (model.ntendon, "tendons"),
        (model.npair, "contact pairs"),
    ):
        if count:
            yield what
    solid = [g for g in range(model.ngeom) if model.geom_bodyid[g] != 0]
    kind, affinity = model.geom_contype[solid], model.geom_conaffinity[solid]
    touch = (kind[:, None] & affinity[None, :]) | (affinity[:, None] & kind[None, :])
    body = model.geom_bodyid[solid]
    parent = model.body_parentid[body]
    related = (body[:, None] == body[None, :]) | (parent[:, None] == body[None, :]) | (body[:, None] == parent[None, :])
    if ((touch != 0) & ~related).any():
        yield "shapes that touch each other (contype, conaffinity)"


def ground_usd() -> Path:
    """Return the USD file of the ground plane, written at first use."""
    file = ISAAC_LAB.cache.expanduser() / "robots" / f"ground-{hashlib.sha256(_source()).hexdigest()[:12]}.usda"
    if not file.exists():
        unfinished = file.with_name(f"{os.getpid()}-{file.name}")
        usd_writer.write_ground(unfinished)
        unfinished.rename(file)
    return file


def _source() -> bytes:
    return Path(usd_writer.__file__).read_bytes()


@dataclass
class OpenScene:
    """An open scene: Isaac Lab's simulation and scene, and what is closed in the end."""

    simulation: Any
    scene: Any
    opened: contextlib.ExitStack

    def close(self) -> None:
        """Stop the simulation and release it; another may be opened afterwards."""
        self.simulation.stop()
        self.scene = None
        self.simulation.clear_instance()
        self.opened.close()


def open_scene(
    cfg: IsaacLabWorldCfg,
    robot: Robot,
    model: mujoco.MjModel,
    num_envs: int,
    device: str,
    ground: HeightField | None = None,
) -> OpenScene:
    """Build the scene.

    Args:
        cfg: the `sim` group.
        robot: names and gains.
        model: its compiled MJCF.
        num_envs: N.
        device: of the physics.
        ground: heights in place of a plane.
    """
    from isaaclab.app import launch_simulation
    from isaaclab.scene import InteractiveScene
    from isaaclab.sim import SimulationContext

    outline = read_outline(model)
    contacts = outline.contacts(ground is not None)
    simulation_cfg = _simulation_cfg(cfg, contacts, _constraints(model, contacts), device)
    opened = contextlib.ExitStack()
    try:
        opened.enter_context(launch_simulation(simulation_cfg, {"device": device}))
        simulation = SimulationContext(simulation_cfg)
        if ground is not None:
            newton_ground.lay(simulation, ground)
        scene = InteractiveScene(_scene_cfg(robot, model, outline, num_envs, plane=ground is None))
        simulation.reset()
        if ground is not None:
            newton_ground.deepen(simulation)
    except BaseException:
        SimulationContext.clear_instance()
        opened.close()
        raise
    return OpenScene(simulation, scene, opened)


def _constraints(model: mujoco.MjModel, contacts: int) -> int:
    """Return the largest number of constraints of a robot: contacts, limits and dry friction of joints."""
    edges = max((ROWS[int(dimensions)] for dimensions in model.geom_condim), default=0)
    return edges * contacts + int(model.jnt_limited.sum()) + int((model.dof_frictionloss > 0).sum())


def _simulation_cfg(cfg: IsaacLabWorldCfg, contacts: int, constraints: int, device: str) -> Any:
    from isaaclab.sim import SimulationCfg
    from isaaclab_newton.physics import MJWarpSolverCfg, NewtonCfg, NewtonShapeCfg

    solver = MJWarpSolverCfg(
        njmax=max(constraints, 1),
        nconmax=max(contacts, 1),
        iterations=cfg.iterations,
        ls_iterations=cfg.ls_iterations,
        tolerance=cfg.tolerance,
        integrator=cfg.integrator,
        cone=cfg.cone,
        use_mujoco_contacts=True,
    )
    shapes = NewtonShapeCfg(margin=0.0, gap=0.0)
    physics = NewtonCfg(solver_cfg=solver, num_substeps=cfg.substeps, default_shape_cfg=shapes)
    return SimulationCfg(dt=cfg.dt, device=device, physics=physics, save_logs_to_file=False)


def _scene_cfg(robot: Robot, model: mujoco.MjModel, outline: Outline, num_envs: int, plane: bool) -> Any:
    """Return the configuration of the scene: a plane, the robot, and one contact sensor of the monitored shapes.

    All robots stand at the origin, each in a world of its own.
    """
    import isaaclab.sim as sim_utils
    from isaaclab.actuators import ImplicitActuatorCfg
    from isaaclab.assets import ArticulationCfg, AssetBaseCfg
    from isaaclab.scene import InteractiveSceneCfg
    from isaaclab.sensors import ContactSensorCfg

    def per_joint(values: tuple[float, ...]) -> dict[str, float]:
        return dict(zip(robot.joints, values, strict=True))

    articulation = ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=sim_utils.UsdFileCfg(usd_path=str(robot_usd(robot, model))),
        init_state=ArticulationCfg.InitialStateCfg(
            pos=tuple(float(x) for x in model.body_pos[1]), joint_pos=per_joint(robot.default_joint_pos)
        ),
        actuators={
            "all": ImplicitActuatorCfg(
                joint_names_expr=list(robot.joints),
                joint_effort_limit=per_joint(robot.effort_limit),
                stiffness=per_joint(robot.stiffness),
                damping=per_joint(robot.damping),
                armature=per_joint(robot.armature),
            )
        },
    )
    cfg = InteractiveSceneCfg(num_envs=num_envs, env_spacing=0.0)
    if plane:
        cfg.ground = AssetBaseCfg(
            prim_path="/World/ground", spawn=sim_utils.GroundPlaneCfg(usd_path=str(ground_usd())), collision_group=-1
        )
    cfg.robot = articulation
    if geoms := sorted({g for own in outline.monitored.values() for g in own}):
        shapes = "|".join(str(g) for g in geoms)
        cfg.contact = ContactSensorCfg(
            prim_path="{ENV_REGEX_NS}/Robot/[^/]*",
            sensor_shape_prim_expr=[f"{{ENV_REGEX_NS}}/Robot/[^/]*/collision_({shapes})"],
        )
    return cfg
