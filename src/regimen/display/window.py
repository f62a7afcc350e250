"""A window that shows pictures and receives keys, and whether one can open on this machine."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from regimen.system.errors import ConfigError

_PROBE = """
import sys, warnings, glfw
warnings.simplefilter("ignore")
glfw.init() or sys.exit("no display answers")
glfw.window_hint(glfw.VISIBLE, False)
glfw.create_window(64, 64, "", None, None) or sys.exit("the display opens no OpenGL window")
"""

KEYS = (
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *("space", "enter", "tab", "backspace", "escape", "up", "down", "left", "right", "page_up", "page_down", "home"),
    *("end", "insert", "delete", "comma", "period", "minus", "equal", "slash", "semicolon", "left_shift"),
    *("right_shift", "left_control", "right_control", "left_alt", "right_alt"),
)
"""Names of the keys, by their place on an American keyboard."""

SMALLEST = 480
"""Height of the window in pixels at least; smaller pictures are enlarged."""


@functools.cache
def no_window(display: str | None, wayland: str | None) -> str | None:
    """Return the reason why no window opens on this machine, or None; tested in a subprocess, which may crash.

    Args:
        display: name of the X display.
        wayland: name of the Wayland display.
    """
    if sys.platform == "linux" and not display and not wayland:
        return "no display: neither DISPLAY nor WAYLAND_DISPLAY is set."
    if importlib.util.find_spec("glfw") is None:
        return f"the viewer needs glfw. Type: {sys.executable} -m pip install -e '.[viewer]'."
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return f"the display {display or wayland} did not answer within 60 s."
    if probe.returncode == 0:
        return None
    lines = probe.stderr.strip().splitlines() or [f"exit code {probe.returncode}"]
    return f"no window opens on the display {display or wayland} ({lines[-1]})."


@functools.cache
def _egl() -> Any:
    """Return the library EGL, or None without it."""
    name = ctypes.util.find_library("EGL") if sys.platform == "linux" else None
    if name is None:
        return None
    egl = ctypes.CDLL(name)
    egl.eglGetCurrentDisplay.restype = ctypes.c_void_p
    egl.eglMakeCurrent.argtypes = [ctypes.c_void_p] * 4
    return egl


def _release_egl() -> None:
    """Release the EGL context of this thread, such as that of a renderer: beside it X refuses the one of the window."""
    egl = _egl()
    display = None if egl is None else egl.eglGetCurrentDisplay()
    if display:
        egl.eglMakeCurrent(display, None, None, None)


@dataclass(frozen=True)
class KeyEvent:
    """A key that went down or up.

    Attributes:
        key: one of `KEYS`.
        down: whether it went down; a key that is held repeats nothing.
    """

    key: str
    down: bool


class PictureWindow:
    """A window of the present thread."""

    def __init__(self, title: str) -> None:
        """Open it; its size is that of the first picture.

        Raises:
            ConfigError: no window opens; `no_window` has the reason.
        """
        import glfw

        self._glfw, self._title = glfw, title
        self._window: Any = None
        self._events: list[KeyEvent] = []
        self._names = {getattr(glfw, f"KEY_{name.upper()}"): name for name in KEYS}
        self._gl: Any = ctypes.CDLL(ctypes.util.find_library("GL") or ctypes.util.find_library("opengl32") or "OpenGL")
        if not glfw.init():
            raise ConfigError("No window opens: no display answers.")

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W, 3) uint8, enlarged to the window."""
        glfw, gl = self._glfw, self._gl
        height, width = picture.shape[:2]
        _release_egl()
        if self._window is None:
            self._open(height, width)
        glfw.make_context_current(self._window)
        shown_width, shown_height = glfw.get_framebuffer_size(self._window)
        data = np.ascontiguousarray(picture)
        gl.glViewport(0, 0, shown_width, shown_height)
        gl.glPixelStorei(_UNPACK_ALIGNMENT, 1)
        gl.glRasterPos2f(ctypes.c_float(-1.0), ctypes.c_float(1.0))
        gl.glPixelZoom(ctypes.c_float(shown_width / width), ctypes.c_float(-shown_height / height))
        gl.glDrawPixels(width, height, _RGB, _UNSIGNED_BYTE, data.ctypes.data_as(ctypes.c_void_p))
        glfw.swap_buffers(self._window)
        glfw.make_context_current(None)  # the renderer of a simulator needs the thread for its own context

    def _open(self, height: int, width: int) -> None:
        glfw, scale = self._glfw, max(1, round(SMALLEST / height))
        self._window = glfw.create_window(width * scale, height * scale, self._title, None, None)
        if not self._window:
            raise ConfigError("No window opens: the display opens no OpenGL window.")
        glfw.set_key_callback(self._window, self._on_key)
        glfw.set_window_focus_callback(self._window, self._on_focus)
        glfw.make_context_current(self._window)
        glfw.swap_interval(0)

    def _on_key(self, window: Any, code: int, scancode: int, action: int, modifiers: int) -> None:
        if code in self._names and action in (self._glfw.PRESS, self._glfw.RELEASE):
            self._events.append(KeyEvent(self._names[code], action == self._glfw.PRESS))

    def _on_focus(self, window: Any, focused: int) -> None:
        if not focused:  # a key that goes up in another window is not reported here
            self._events += [KeyEvent(name, False) for name in KEYS]

    def poll(self) -> list[KeyEvent]:
        """Return the key events since the last call."""
        self._glfw.poll_events()
        events, self._events = self._events, []
        return events

    @property
    def closed(self) -> bool:
        """Whether its close button was pressed."""
        return self._window is not None and bool(self._glfw.window_should_close(self._window))

    def close(self) -> None:
        """Close it; a second call does nothing."""
        if self._window is not None:
            self._glfw.destroy_window(self._window)
            self._window = None


_RGB, _UNSIGNED_BYTE, _UNPACK_ALIGNMENT = 0x1907, 0x1401, 0x0CF5
"""Constants of OpenGL, which is called directly: PyOpenGL may be bound to the simulator's kind of context."""
