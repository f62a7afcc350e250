"""Gamepads: a pipe that carries the events of Linux, and a virtual device where the kernel makes one."""

from __future__ import annotations

import fcntl
import os
import struct
import time
from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.controls.controller import Controller, InputEvent
from regimen.envs.controls.gamepad import AXES, EVENT, KEYS, Gamepad, decode, find_gamepad
from regimen.system.errors import PreflightError

STICK, TRIGGER = (-32768, 32767), (0, 255)
RANGES = {0: STICK, 1: STICK, 2: TRIGGER, 3: STICK, 4: STICK, 5: TRIGGER, 16: (-1, 1), 17: (-1, 1)}
KEY, ABS, SYN = 1, 3, 0


def events(*parts: tuple[int, int, int]) -> bytes:
    return b"".join(EVENT.pack(1, 2, kind, code, value) for kind, code, value in (*parts, (SYN, 0, 0)))


def test_numbers_of_the_kernel_become_inputs_from_minus_one_to_one() -> None:
    stream = events((ABS, 0, 32767), (ABS, 1, -32768), (ABS, 5, 51), (ABS, 17, 1), (KEY, 0x130, 1), (KEY, 0x13A, 0))
    assert decode(stream, RANGES) == [
        InputEvent("left_x", 1.0),
        InputEvent("left_y", -1.0),
        InputEvent("right_trigger", 0.2),
        InputEvent("dpad_y", 1.0),
        InputEvent("south", 1.0),
        InputEvent("select", 0.0),
    ]
    assert decode(events((KEY, 30, 1), (KEY, 0x130, 2), (4, 4, 9), (ABS, 40, 1)), RANGES) == [], "other events"
    centred = decode(events((ABS, 0, 128)), {0: (0, 255)})
    assert abs(centred[0].value) < 0.01


def test_a_device_file_moves_the_action(tmp_path: Path) -> None:
    os.mkfifo(path := tmp_path / "event0")
    pad, control = Gamepad(path, RANGES), Controller(ControlsCfg("gamepad"), ["x", "y", "gripper"], 1.0)
    assert pad.poll() == []
    with path.open("wb", buffering=0) as device:
        stream = events((ABS, 1, -32768), (ABS, 5, 255))
        device.write(stream[:30])
        control.feed(pad.poll())
        assert control.action().tolist() == [1.0, 0.0, 0.0], "half an event waits for its rest"
        device.write(stream[30:] + events((ABS, 1, 0)))
        control.feed(pad.poll())
        assert control.action().tolist() == [0.0, 0.0, -1.0]
    pad.close()
    pad.close()


def test_what_is_no_gamepad_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with raises_naming(PreflightError, "event9"):
        Gamepad(tmp_path / "event9")
    (tmp_path / "event3").write_bytes(b"")
    with raises_naming(PreflightError, "event3"):
        Gamepad(tmp_path / "event3")
    monkeypatch.setattr("regimen.envs.controls.gamepad.FOLDER", tmp_path)
    with raises_naming(PreflightError, "controls.device=keyboard"):
        find_gamepad()


UINPUT = Path("/dev/uinput")
SET_EVENT, SET_KEY, SET_AXIS, CREATE, DESTROY = 0x40045564, 0x40045565, 0x40045567, 0x5501, 0x5502
"""Requests of `linux/uinput.h`."""


@pytest.mark.skipif(not os.access(UINPUT, os.W_OK), reason="needs /dev/uinput: the kernel makes no virtual devices")
def test_a_virtual_gamepad_is_found_and_read() -> None:
    device = os.open(UINPUT, os.O_WRONLY | os.O_NONBLOCK)
    try:
        for kind in (KEY, ABS):
            fcntl.ioctl(device, SET_EVENT, kind)
        for code in KEYS:
            fcntl.ioctl(device, SET_KEY, code)
        highest, lowest = [0] * 64, [0] * 64
        for code in AXES:
            fcntl.ioctl(device, SET_AXIS, code)
            lowest[code], highest[code] = RANGES[code]
        head = struct.pack("80sHHHHI", b"virtual gamepad", 3, 1, 1, 1, 0)
        os.write(device, head + struct.pack("256i", *highest, *lowest, *[0] * 128))
        fcntl.ioctl(device, CREATE)
        time.sleep(0.5)
        pad = Gamepad(find_gamepad())
        os.write(device, events((ABS, 0, 32767), (KEY, 0x137, 1)))
        time.sleep(0.1)
        assert pad.poll() == [InputEvent("left_x", 1.0), InputEvent("right_bumper", 1.0)]
        fcntl.ioctl(device, DESTROY)
        with raises_naming(PreflightError, pad.path):
            for _ in range(20):
                pad.poll()
                time.sleep(0.1)
        pad.close()
    finally:
        os.close(device)
