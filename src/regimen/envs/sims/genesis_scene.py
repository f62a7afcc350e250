"""Start of Genesis, once in a process, and a scene of N copies of one robot: its model and solver state."""

from __future__ import annotations

import ctypes.util
import logging
import os
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from regimen.envs.robots.robot import Robot
from regimen.envs.sims import genesis_ground
from regimen.system.errors import ConfigError, PreflightError
from regimen.system.source_lookup import modules_by_name

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.terrain.height_field import HeightField

PLANE_FRICTION = 0.01
"""Lowest friction that Genesis accepts: a contact has the larger of two, hence the robot's, as in the MJCF."""

INSTALL = "needs the package genesis-world, which {python} does not have. Type: make genesis"

LIBRARIES = {"GL": "libgl1", "Xrender": "libxrender1", "EGL": "libegl1"}
"""Library that Genesis loads -> its Debian package."""

log = logging.getLogger(__name__)


@dataclass
class GenesisWorldCfg:
    """Genesis, an optional extra: on a CPU, or on a GPU with `hardware=gpu`.

    Attributes:
        dt: physics step in seconds.
        device: of the physics, `cpu` or `cuda`.
        render_size: width and height of an image in pixels.
        viewer: whether a window shows the robots; needs a display.
        performance_mode: about a fifth faster; compiles kernels for each number of robots.
        cache: folder of compiled kernels, shared by all runs; it may be deleted.
    """

    TORQUES: ClassVar[bool] = True
    TERRAIN: ClassVar[bool] = True
    DETERMINISM: ClassVar[dict[str, str]] = {"cpu": "bit"}
    _target_: str = "regimen.envs.sims.genesis.GenesisWorld"
    dt: float = field(default=0.005, metadata={"above": 0})
    device: str = "cpu"
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})
    viewer: bool = False
    performance_mode: bool = False
    cache: str = "~/.cache/regimen/genesis"

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each thing that is missing to start Genesis."""
        from regimen.system.host import interpreter

        return missing(interpreter(config), self.viewer)

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return the approximate memory of the scene."""
        return num_envs * 220_000 + 765 * 2**20


def missing(python: str, viewer: bool) -> list[str]:
    """Return one line for each package that is missing to start Genesis; nothing is imported.

    Args:
        python: path of the interpreter of the run.
        viewer: whether a window is to be opened.
    """
    from regimen.system.host import has_module

    wrong = [] if has_module(python, "genesis") else [INSTALL.format(python=python)]
    if names := " ".join(packages()):
        wrong.append(f"needs the system packages {names}. Type: apt-get install --no-install-recommends {names}")
    if viewer and sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        wrong.append("viewer=true: there is no display here. Take it away, and type video=true for a film.")
    return wrong


def packages() -> list[str]:
    """Return the Debian packages of the libraries that Genesis loads and this machine lacks."""
    if sys.platform != "linux":
        return []
    return [package for name, package in LIBRARIES.items() if not ctypes.util.find_library(name)]


def start(cfg: GenesisWorldCfg) -> Any:
    """Import Genesis and start it once in this process, with its kernel cache in `cfg.cache`.

    No seed is given to `gs.init`: it is part of the key of the kernel cache, so each new one would compile for most of
    a minute, and the physics draws nothing.
    """
    cache = Path(cfg.cache).expanduser()
    if not (cache / "kernels").exists():
        log.warning("Genesis compiles its kernels for the first time: a minute or two. They are kept in %s", cache)
    os.environ.setdefault("QD_OFFLINE_CACHE_FILE_PATH", os.fspath(cache / "kernels"))
    os.environ.setdefault("GS_CACHE_FILE_PATH", os.fspath(cache / "assets"))
    # Genesis' packages load the standard library's distutils; setuptools, which torch.compile needs, has to be first.
    import_module("setuptools")
    try:
        with modules_by_name():
            import genesis as gs
    except ImportError as error:
        raise PreflightError(f"sim=genesis {INSTALL.format(python=sys.executable)} ({error})") from error
    if not gs._initialized:
        backend = gs.gpu if cfg.device.startswith("cuda") else gs.cpu
        gs.init(backend=backend, logging_level="error", performance_mode=cfg.performance_mode)
    return gs


def build(
    gs: Any, cfg: GenesisWorldCfg, robot: Robot, without_ground: str, num_envs: int, ground: HeightField | None
) -> tuple[Any, Any, Any]:
    """Return scene, robot and camera, built; uneven ground has no camera.

    Args:
        gs: Genesis, started.
        cfg: the `sim` group.
        robot: for the name of its model.
        without_ground: its MJCF without floor and lights.
        num_envs: N.
        ground: heights in place of a plane.
    """
    scene = gs.Scene(
        sim_options=gs.options.SimOptions(dt=cfg.dt),
        rigid_options=gs.options.RigidOptions(batch_dofs_info=True, batch_links_info=True, enable_self_collision=False),
        show_viewer=cfg.viewer,
    )
    if ground is None:
        scene.add_entity(gs.morphs.Plane(), material=gs.materials.Rigid(friction=PLANE_FRICTION))
    else:
        genesis_ground.add(gs, scene, ground, PLANE_FRICTION, visible=cfg.viewer)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / robot.mjcf.name
        file.write_text(without_ground, encoding="utf-8")
        entity = scene.add_entity(gs.morphs.MJCF(file=os.fspath(file)))
        camera = None
        if ground is None:
            camera = scene.add_camera(res=tuple(cfg.render_size), pos=(2.0, -2.0, 1.2), GUI=False)
        scene.build(n_envs=num_envs)
    return scene, entity, camera


@dataclass(frozen=True)
class Outline:
    """Monitored bodies and sites of a robot by sensor name.

    Attributes:
        monitored: name -> (body, rank among its colliding geoms, or None for all of them).
        sites: name -> (body, position in its frame in m).
        without_ground: the MJCF without its includes.
    """

    monitored: dict[str, tuple[str, int | None]]
    sites: dict[str, tuple[str, tuple[float, ...]]]
    without_ground: str


def read_outline(robot: Robot) -> Outline:
    """Read the outline of `robot`, whose MJCF MuJoCo compiles.

    Raises:
        ConfigError: a joint, body or site of the robot is in an included file, which Genesis does not get.
    """
    tree = ElementTree.parse(robot.mjcf)
    root = tree.getroot()
    geoms: dict[str | None, tuple[str, int]] = {}
    sites: dict[str | None, tuple[str, tuple[float, ...]]] = {}
    for body in root.iter("body"):
        colliding = [g for g in body.findall("geom") if g.get("class") != "visual"]
        name = body.get("name", "")
        geoms |= {g.get("name"): (name, rank) for rank, g in enumerate(colliding)}
        sites |= {s.get("name"): (name, _numbers(s.get("pos", "0 0 0"))) for s in body.findall("site")}
    own = {joint.get("name") for joint in root.iter("joint")}
    own |= geoms.keys() | sites.keys() | {body.get("name") for body in root.iter("body")}
    named = [sensor.get(key) for sensor in root.iter("contact") for key in ("body2", "geom2")]
    named += [sensor.get("objname") for sensor in root.iter("framepos")]
    if away := [name for name in (*robot.joints, *filter(None, named)) if name not in own]:
        raise ConfigError(
            f"The Robot `{robot.name}`: {', '.join(away)} not in {robot.mjcf} itself. Genesis reads that file without "
            "its includes, for ground and light: put the robot into it, or choose sim=mujoco."
        )
    monitored: dict[str, tuple[str, int | None]] = {}
    for sensor in root.iter("contact"):
        name = sensor.get("name", "").removeprefix("contact_")
        if sensor.get("body2"):
            monitored[name] = (sensor.attrib["body2"], None)
        elif sensor.get("geom2"):
            monitored[name] = geoms[sensor.attrib["geom2"]]
    tracked = {s.attrib["name"].removeprefix("pos_"): sites[s.attrib["objname"]] for s in root.iter("framepos")}
    for include in root.findall("include"):
        root.remove(include)
    compiler = root.find("compiler")
    meshes = robot.mjcf.parent / ("" if compiler is None else compiler.get("meshdir", ""))
    for mesh in root.iter("mesh"):  # the text is compiled in another folder
        mesh.set("file", os.fspath((meshes / mesh.get("file", "")).resolve()))
    return Outline(monitored, tracked, ElementTree.tostring(root, encoding="unicode"))


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(float(x) for x in text.split())


MEMORY = (
    "dyn_state.links.cinr_inertial",
    "dyn_state.dofs.acc",
    "collider.collider_state.first_time",
    "collider.collider_state.sort_buffer.value",
    "collider.collider_state.sort_buffer.i_l",
    "collider.collider_state.sort_buffer.is_max",
    "collider.collider_state.contact_cache.normal",
    "collider.collider_state.contact_cache.penetration",
    "constraint_solver.constraint_state.is_warmstart",
    "constraint_solver.constraint_state.qacc_ws",
)
"""Paths from the rigid solver of a scene to its arrays: state in addition to positions and velocities.

Without it a restored robot continues within rounding only. Found by restoring every array of the solver and leaving out
one after the other, Genesis 1.4.5: the inertia of links in the frame of the centre of mass, which a step reuses from
the one before; the order of the broad phase, in which contacts are summed; the last contact normals; and the warm start
of the constraint solver.
"""


def save(solver: Any) -> dict[str, torch.Tensor]:
    """Return a copy of the arrays in `MEMORY`, by path.

    Args:
        solver: `scene.rigid_solver`.
    """
    return {path: view(solver, path).clone() for path in MEMORY}


def restore(solver: Any, memory: dict[str, torch.Tensor]) -> None:
    """Restore the result of `save`, after positions and velocities, whose setters clear these arrays.

    Args:
        solver: `scene.rigid_solver` of a scene of the same size.
        memory: result of `save`.
    """
    for path, saved in memory.items():
        view(solver, path).copy_(saved)


def view(solver: Any, path: str, transpose: bool = False) -> torch.Tensor:
    """Return an array of the solver as a tensor that shares its memory.

    Args:
        solver: `scene.rigid_solver`.
        path: names from the solver to the array.
        transpose: environments first; Genesis keeps them last.
    """
    from genesis.utils.misc import qd_to_torch

    for name in path.split("."):
        solver = getattr(solver, name)
    return qd_to_torch(solver, transpose=transpose, copy=False)
