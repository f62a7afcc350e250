"""A human in front of a window, with keyboard or gamepad."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regimen.display.window import PictureWindow
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.controls.controller import Controller, InputEvent
from regimen.envs.controls.gamepad import Gamepad, find_gamepad

POLL_S = 0.002


class HumanControls:
    """Window and device; a context manager.

    Attributes:
        controller: the inputs as an action.
    """

    def __init__(self, cfg: ControlsCfg, actions: Sequence[str], clip: float | None, title: str) -> None:
        """Open the device; the window opens with the first picture.

        Args:
            cfg: device and table.
            actions: names of the task's actions.
            clip: bound of the actions.
            title: of the window.

        Raises:
            ConfigError: an action has no input, or no window opens.
            PreflightError: there is no such gamepad.
        """
        self.controller = Controller(cfg, actions, clip)
        self._gamepad: Gamepad | None = None
        if cfg.device != "keyboard":
            self._gamepad = Gamepad(find_gamepad() if cfg.device == "gamepad" else Path(cfg.device))
        self._window = PictureWindow(title)
        self._due = time.monotonic()

    def __enter__(self) -> HumanControls:
        return self

    def __exit__(self, *exc: object) -> None:
        """Close window and device."""
        self._window.close()
        if self._gamepad is not None:
            self._gamepad.close()

    @property
    def closed(self) -> bool:
        """Whether the window was closed."""
        return self._window.closed

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W, 3) uint8."""
        self._window.show(picture)

    def poll(self) -> None:
        """Take over the inputs that changed, at once."""
        keys = [InputEvent(event.key, float(event.down)) for event in self._window.poll()]
        self.controller.feed(keys if self._gamepad is None else self._gamepad.poll())

    def wait(self, step_s: float) -> None:
        """Take over inputs until a step of `step_s` seconds after the last call is over; a late step is not made up."""
        self._due = max(self._due + step_s, time.monotonic())
        self.poll()
        while (left := self._due - time.monotonic()) > 0:
            time.sleep(min(POLL_S, left))
            self.poll()
