"""Configuration of a human's controls; nothing here imports torch or opens a device."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from regimen.display.window import KEYS, no_window
from regimen.system.errors import did_you_mean

STICKS = ("left_x", "left_y", "right_x", "right_y", "dpad_x", "dpad_y")
"""Inputs of a gamepad from -1 to 1: right and down are positive."""

TRIGGERS = ("left_trigger", "right_trigger")
"""Inputs from 0 to 1."""

BUTTONS = (
    *("south", "east", "north", "west", "left_bumper", "right_bumper", "select", "start", "mode"),
    *("left_thumb", "right_thumb", "dpad_up", "dpad_down", "dpad_left", "dpad_right"),
)

DISCARD = "discard"
"""Command: break off the episode, which is not kept, and begin another."""


def _keyboard() -> dict[str, str]:
    return {
        **{"w": "x+", "s": "x-", "a": "y+", "d": "y-", "r": "z+", "f": "z-"},
        **{"u": "roll+", "o": "roll-", "i": "pitch+", "k": "pitch-", "j": "yaw+", "l": "yaw-"},
        **{"e": "gripper+", "q": "gripper-", "backspace": DISCARD},
    }


def _gamepad() -> dict[str, str]:
    return {
        **{"left_y": "x-", "left_x": "y-", "right_y": "z-", "right_x": "yaw-", "dpad_x": "roll+", "dpad_y": "pitch-"},
        **{"left_trigger": "gripper+", "right_trigger": "gripper-", "select": DISCARD},
    }


@dataclass
class ControlsCfg:
    """Device of a human, and what each of its inputs does.

    An entry of `keyboard` and `gamepad` is input: action, such as `w: x+`, with the names of the task's actions. A `-`
    reverses the input. Actions that the task does not have are ignored.

    Attributes:
        device: `keyboard`, `gamepad` (the first one found), or a device file such as /dev/input/event5.
        keyboard: key -> what it does.
        gamepad: stick, trigger or button -> what it does.
        speed: action of a key, or of a stick at its end, as a share of the action's bound.
        dead_zone: deflection of a stick that counts as none.
    """

    device: str = "keyboard"
    keyboard: dict[str, str] = field(default_factory=_keyboard)
    gamepad: dict[str, str] = field(default_factory=_gamepad)
    speed: float = 1.0
    dead_zone: float = 0.1

    @property
    def table(self) -> dict[str, str]:
        """What the inputs of the chosen device do."""
        return self.keyboard if self.device == "keyboard" else self.gamepad

    def problems(self) -> list[str]:
        """Return the problems of the values and of the device, one line each."""
        lines = []
        for name, known in (("keyboard", KEYS), ("gamepad", (*STICKS, *TRIGGERS, *BUTTONS))):
            for key, text in getattr(self, name).items():
                if key not in known:
                    lines.append(f"controls.{name}.{key}: no such input. {did_you_mean(key, known)}")
                elif text != DISCARD and text[-1:] not in ("+", "-"):
                    lines.append(
                        f"controls.{name}.{key}={text}: expected an action with its sign, as x+, or {DISCARD}."
                    )
        if not 0 < self.speed <= 1:
            lines.append(f"controls.speed={self.speed:g}: expected more than 0, at most 1.")
        if not 0 <= self.dead_zone < 1:
            lines.append(f"controls.dead_zone={self.dead_zone:g}: expected 0 or more, less than 1.")
        if self.device not in ("keyboard", "gamepad") and not self.device.startswith("/"):
            lines.append(f"controls.device={self.device}: expected keyboard, gamepad, or a file as /dev/input/event5.")
        if why := no_window(os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY")):
            lines.append(f"controls.device={self.device}: {why}")
        return lines
