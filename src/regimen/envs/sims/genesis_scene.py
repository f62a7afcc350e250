"""Start of Genesis, once in a process, and a scene of N copies of one robot on a plane."""

from __future__ import annotations

import ctypes.util
import logging
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.robots.robot import Robot

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

    _target_: str = "regimen.envs.sims.genesis.GenesisWorld"
    dt: float = 0.005
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
        return num_envs * 220_000 + 600 * 2**20


def missing(python: str, viewer: bool) -> list[str]:
    """Return one line for each package that is missing to start Genesis; nothing is imported.

    Args:
        python: path of the interpreter of the run.
        viewer: whether a window is to be opened.
    """
    wrong = [] if _has_genesis(python) else [INSTALL.format(python=python)]
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


def _has_genesis(python: str) -> bool:
    if Path(python) == Path(sys.executable):
        return find_spec("genesis") is not None
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('genesis') is None)"
    return subprocess.run([python, "-c", look], check=False).returncode == 0


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
        import genesis as gs
    except ImportError as error:
        raise PreflightError(f"sim=genesis {INSTALL.format(python=sys.executable)} ({error})") from error
    if not gs._initialized:
        backend = gs.gpu if cfg.device.startswith("cuda") else gs.cpu
        gs.init(backend=backend, logging_level="error", performance_mode=cfg.performance_mode)
    return gs


def build(gs: Any, cfg: GenesisWorldCfg, robot: Robot, without_ground: str, num_envs: int) -> tuple[Any, Any, Any, Any]:
    """Return scene, plane, robot and camera, built.

    Args:
        gs: Genesis, started.
        cfg: the `sim` group.
        robot: for the name of its model.
        without_ground: its MJCF without floor and lights.
        num_envs: N.
    """
    scene = gs.Scene(
        sim_options=gs.options.SimOptions(dt=cfg.dt),
        rigid_options=gs.options.RigidOptions(batch_dofs_info=True, batch_links_info=True, enable_self_collision=False),
        show_viewer=cfg.viewer,
    )
    plane = scene.add_entity(gs.morphs.Plane(), material=gs.materials.Rigid(friction=PLANE_FRICTION))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / robot.mjcf.name
        file.write_text(without_ground, encoding="utf-8")
        entity = scene.add_entity(gs.morphs.MJCF(file=os.fspath(file)))
        camera = scene.add_camera(res=tuple(cfg.render_size), pos=(2.0, -2.0, 1.2), GUI=False)
        scene.build(n_envs=num_envs)
    return scene, plane, entity, camera
