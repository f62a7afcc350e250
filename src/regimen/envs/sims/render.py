"""Pictures of a MuJoCo simulation on a machine without a display, and often without a GPU.

The OpenGL library is tried in a process of its own before it is used here: a missing or broken one would leave
half-loaded bindings behind, and some drivers crash.
"""

from __future__ import annotations

import functools
import importlib
import logging
import os
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.system.errors import ConfigError, PreflightError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    import mujoco

PACKAGES = {"egl": "libegl1 libegl-mesa0 libgl1-mesa-dri", "osmesa": "libosmesa6"}
BACKENDS = ("cgl",) if sys.platform == "darwin" else tuple(PACKAGES)
"""OpenGL without a window on this system, the one to prefer first."""

SHADOW_COLOUR = np.array([0.27, 0.30, 0.33, 1.0], np.float32)
SHADOW_THICKNESS = 0.002  # of the shape's own, so that it keeps a surface to draw
SHADOW_LIFT = 0.005  # m, above the ground

_PROBE = "import sys, importlib; importlib.import_module(f'mujoco.{sys.argv[1]}').GLContext(16, 16).make_current()"


@functools.cache
def pick_backend() -> str:
    """Return the OpenGL backend that works here: `egl`, or `osmesa` where that one fails; `cgl` on macOS.

    The environment variable MUJOCO_GL, set to one of them, leaves only that one to try.

    Raises:
        PreflightError: if none works; the message names the reason and the package to install.
    """
    wanted = os.environ.get("MUJOCO_GL", "").lower()
    reasons: dict[str, str] = {}
    for backend in [wanted] if wanted in BACKENDS else BACKENDS:
        reason = _why_not(backend)
        if reason is None:
            if reasons:
                logging.getLogger(__name__).warning("Rendering with osmesa, which is slower: %s", _told(reasons))
            return backend
        reasons[backend] = reason
    packages = [f"`apt-get install {PACKAGES[backend]}`" for backend in reasons if backend in PACKAGES]
    install = f"On Debian or Ubuntu: {' or '.join(packages)}; or run" if packages else "Run"
    raise PreflightError(f"Cannot render on this machine. {_told(reasons)} {install} with video=false.")


def _told(reasons: dict[str, str]) -> str:
    return " ".join(f"{backend} failed ({reason})." for backend, reason in reasons.items())


def _why_not(backend: str) -> str | None:
    """Return why a process of its own cannot open a context with `backend`, or None if it can."""
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    command = [sys.executable, "-c", _PROBE, backend]
    try:
        probe = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return "no answer within 60 s"
    if probe.returncode == 0:
        return None
    return next(iter(reversed(probe.stderr.strip().splitlines())), f"exit code {probe.returncode}")


def _open_context(width: int, height: int) -> Any:
    """Return an OpenGL context, made current."""
    backend = pick_backend()
    if backend in PACKAGES:
        os.environ["PYOPENGL_PLATFORM"] = backend
    context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
    context.make_current()
    return context


def _free(drawing: Any, context: Any) -> None:
    context.make_current()
    drawing.free()
    context.free()


class Renderer:
    """Draws one simulation at a time into an array.

    Attributes:
        width: of the image, px.
        height: of the image, px.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        width: int = 640,
        height: int = 480,
        camera: str | None = "track",
        hidden: Sequence[int] = (),
    ) -> None:
        """Open an OpenGL context for `model`.

        Args:
            model: what to draw; its quality settings are lowered to what a CPU draws in time.
            width: of the image, px.
            height: of the image, px.
            camera: name of a camera of the model; None is a view of the whole model.
            hidden: groups of geoms that are not drawn, beside those that MuJoCo hides.
        """
        import mujoco

        self.width, self.height = width, height
        self._model = model
        self._camera = _camera(model, camera)
        _lower_quality(model, width, height)
        self._context = _open_context(width, height)
        self._drawing = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._drawing)
        self._scene = mujoco.MjvScene(model, maxgeom=2000)
        self._option = mujoco.MjvOption()
        self._option.geomgroup[list(hidden)] = 0
        self._sun = None if model.nhfield else _sun(model)  # shadows lie on a plane
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._pixels = np.empty((height, width, 3), np.uint8)
        self._finalizer = weakref.finalize(self, _free, self._drawing, self._context)
        self._finalizer.atexit = False  # MuJoCo closes its display before, and the context with it

    def render(self, data: mujoco.MjData) -> np.ndarray:
        """Return the image (height, width, 3) uint8 of `data`, whose kinematics must be up to date."""
        self._update(data)
        return self._draw()

    def render_cameras(self, data: mujoco.MjData, cameras: Sequence[str]) -> list[np.ndarray]:
        """Return an image (height, width, 3) uint8 for each of the model's `cameras`; the scene is made only once."""
        import mujoco

        self._update(data)
        images = []
        for name in cameras:
            mujoco.mjv_updateCamera(self._model, data, _camera(self._model, name), self._scene)
            images.append(self._draw())
        return images

    def upload_heights(self) -> None:
        """Take over the height field of the model, after it was changed."""
        import mujoco

        self._context.make_current()
        mujoco.mjr_uploadHField(self._model, self._drawing, 0)

    def _update(self, data: mujoco.MjData) -> None:
        """Fill the scene."""
        import mujoco

        everything = mujoco.mjtCatBit.mjCAT_ALL.value
        self._context.make_current()
        mujoco.mjv_updateScene(self._model, data, self._option, None, self._camera, everything, self._scene)
        if self._sun is not None:
            _cast_shadows(self._scene, self._sun)

    def _draw(self) -> np.ndarray:
        import mujoco

        mujoco.mjr_render(self._rect, self._scene, self._drawing)
        mujoco.mjr_readPixels(self._pixels, None, self._rect, self._drawing)
        return self._pixels[::-1].copy()

    def close(self) -> None:
        """Give the context back; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _camera(model: mujoco.MjModel, name: str | None) -> mujoco.MjvCamera:
    """Return the camera `name` of the model, or a free camera on the whole model."""
    import mujoco

    camera = mujoco.MjvCamera()
    if name is None:
        mujoco.mjv_defaultFreeCamera(model, camera)
        return camera
    names = [model.camera(i).name for i in range(model.ncam)]
    if name not in names:
        raise ConfigError(f"The model has no camera `{name}`. {did_you_mean(name, names)}")
    camera.type, camera.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, names.index(name)
    return camera


def _lower_quality(model: mujoco.MjModel, width: int, height: int) -> None:
    """No multisampling, no shadow map, coarse round shapes: a tenth of the time of the defaults on a CPU."""
    quality, size = model.vis.quality, model.vis.global_
    quality.offsamples, quality.shadowsize = 0, 0
    quality.numslices, quality.numstacks, quality.numquads = 14, 8, 2
    size.offwidth, size.offheight = max(size.offwidth, width), max(size.offheight, height)


def _sun(model: mujoco.MjModel) -> np.ndarray | None:
    """Return where the first downward directional light shines (3,), None without one."""
    import mujoco

    directional = model.light_type == mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    falling = np.flatnonzero(directional & (model.light_dir[:, 2] < 0))
    return model.light_dir[falling[0]] if len(falling) else None


def _cast_shadows(scene: mujoco.MjvScene, sun: np.ndarray) -> None:
    """Lay a flat dark copy of every shape on the plane z = 0, along the light `sun` (3,).

    A shadow map more than doubles the time of an image on a CPU; this method needs a millisecond.
    """
    import mujoco

    plane = mujoco.mjtGeom.mjGEOM_PLANE.value
    flatten = np.eye(3)
    flatten[:, 2] -= sun / sun[2]
    flatten[2, 2] = SHADOW_THICKNESS
    for i in range(min(scene.ngeom, scene.maxgeom - scene.ngeom)):
        shape = scene.geoms[i]
        if shape.type != plane:
            shadow = scene.geoms[scene.ngeom]
            position = flatten @ shape.pos + (0.0, 0.0, SHADOW_LIFT)
            axes = (flatten @ shape.mat).ravel()
            mujoco.mjv_initGeom(shadow, shape.type, shape.size.astype(np.float64), position, axes, SHADOW_COLOUR)
            scene.ngeom += 1
