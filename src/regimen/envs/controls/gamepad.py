"""Gamepads through the input devices of Linux, read without a library.

Numbers are those of `linux/input-event-codes.h`; the layout of sticks and buttons is that of the kernel's gamepad
specification, which its drivers follow (docs.kernel.org/input/gamepad.html).
"""

from __future__ import annotations

import array
import os
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from regimen.envs.controls.config import TRIGGERS
from regimen.envs.controls.controller import InputEvent
from regimen.system.errors import PreflightError

EVENT = struct.Struct("llHHi")
"""Time in s and µs, type, code and value: `struct input_event`."""

EV_KEY, EV_ABS = 1, 3
AXES = {
    0: "left_x", 1: "left_y", 2: "left_trigger", 3: "right_x", 4: "right_y", 5: "right_trigger", 16: "dpad_x",
    17: "dpad_y",
}  # fmt: skip
KEYS = {
    0x130: "south", 0x131: "east", 0x133: "north", 0x134: "west", 0x136: "left_bumper", 0x137: "right_bumper",
    0x13A: "select", 0x13B: "start", 0x13C: "mode", 0x13D: "left_thumb", 0x13E: "right_thumb", 0x220: "dpad_up",
    0x221: "dpad_down", 0x222: "dpad_left", 0x223: "dpad_right",
}  # fmt: skip
GAMEPAD = 0x130
"""The button that makes a device a gamepad."""

FOLDER = Path("/dev/input")


def decode(data: bytes, ranges: Mapping[int, tuple[int, int]]) -> list[InputEvent]:
    """Return the inputs of a stream of whole events; other events are left out.

    Args:
        data: `struct input_event` after `struct input_event`.
        ranges: code of an axis -> its lowest and highest value.
    """
    events = []
    for _, _, kind, code, value in EVENT.iter_unpack(data[: len(data) - len(data) % EVENT.size]):
        if kind == EV_KEY and code in KEYS and value in (0, 1):
            events.append(InputEvent(KEYS[code], float(value)))
        elif kind == EV_ABS and code in AXES and code in ranges:
            low, high = ranges[code]
            share = min(max((value - low) / max(high - low, 1), 0.0), 1.0)
            name = AXES[code]
            events.append(InputEvent(name, share if name in TRIGGERS else 2 * share - 1))
    return events


def find_gamepad() -> Path:
    """Return the first gamepad of this machine.

    Raises:
        PreflightError: there is none, or it may not be read.
    """
    denied = []
    for path in sorted(FOLDER.glob("event*"), key=lambda path: int(path.name[5:])):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except PermissionError:
            denied.append(path)
            continue
        except OSError:
            continue
        try:
            if _has_key(descriptor, GAMEPAD):
                return path
        finally:
            os.close(descriptor)
    if denied:
        raise PreflightError(
            f"No gamepad among the devices that may be read; {len(denied)} may not, such as {denied[0]}. Add yourself "
            "to the group `input`: sudo usermod -a -G input $USER, and log in again."
        )
    if not sys.platform.startswith("linux"):
        raise PreflightError(
            "Gamepads are read through /dev/input, which only Linux has. Take controls.device=keyboard."
        )
    raise PreflightError("There is no gamepad in /dev/input. Plug one in, or take controls.device=keyboard.")


class Gamepad:
    """One open device."""

    def __init__(self, path: Path, ranges: Mapping[int, tuple[int, int]] | None = None) -> None:
        """Open it.

        Args:
            path: device file.
            ranges: see `decode`; None asks the device.

        Raises:
            PreflightError: it cannot be opened, or is no input device.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise PreflightError(f"The gamepad {path} cannot be opened ({error.strerror}).") from error
        try:
            self._ranges = dict(ranges) if ranges is not None else _ranges(self._descriptor)
        except OSError as error:
            os.close(self._descriptor)
            raise PreflightError(f"{path} is no input device of Linux ({error.strerror}).") from error
        self._rest = b""

    def poll(self) -> list[InputEvent]:
        """Return the inputs that changed since the last call.

        Raises:
            PreflightError: the device is gone.
        """
        data = self._rest
        with suppress(BlockingIOError):
            try:
                while part := os.read(self._descriptor, 64 * EVENT.size):
                    data += part
            except OSError as error:
                if isinstance(error, BlockingIOError):
                    raise
                raise PreflightError(f"The gamepad {self.path} is gone. Plug it in, and resume the run.") from error
        whole = len(data) - len(data) % EVENT.size
        self._rest = data[whole:]
        return decode(data[:whole], self._ranges)

    def close(self) -> None:
        """Close the device; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _read_request(number: int, size: int) -> int:
    """Return the ioctl request that reads `size` bytes: `_IOC(_IOC_READ, 'E', number, size)`."""
    return 2 << 30 | size << 16 | ord("E") << 8 | number


def _has_key(descriptor: int, code: int) -> bool:
    """Return whether a device has a key: EVIOCGBIT."""
    import fcntl

    bits = array.array("B", bytes(96))
    with suppress(OSError):
        fcntl.ioctl(descriptor, _read_request(0x20 + EV_KEY, len(bits)), bits)
    return bool(bits[code // 8] >> code % 8 & 1)


def _ranges(descriptor: int) -> dict[int, tuple[int, int]]:
    """Return the range of each axis: EVIOCGABS gives value, minimum, maximum, fuzz, flat and resolution."""
    import fcntl

    ranges = {}
    for code in AXES:
        figures = array.array("i", [0] * 6)
        fcntl.ioctl(descriptor, _read_request(0x40 + code, 4 * len(figures)), figures)
        if figures[2] > figures[1]:
            ranges[code] = figures[1], figures[2]
    return ranges
