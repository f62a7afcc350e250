"""The JSON endpoints of the robot server of SERL and HIL-SERL, for clients that were written for it.

They are `POST /<name>` with a JSON object; the names and values are those of `franka_server.py`, so that a client
needs another address only. The token of the server is part of it: `http://any:<token>@127.0.0.1:5001/`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from regimen.envs.robot_arm import RobotArm, RobotReading
from regimen.system.errors import ConfigError
from regimen.system.json_data import Json

MAX_BODY = 2**16
MAX_GRIPPER = 255
WIDTH_PER_STEP_M = 1 / 2550
"""Of `move_gripper`: positions 0 to 255 are widths of 0 to 0.1 m."""


READ = {
    "getstate": tuple(RobotReading.__dataclass_fields__),
    "getpos": ("pose",),
    "getvel": ("vel",),
    "getforce": ("force",),
    "gettorque": ("torque",),
    "getq": ("q",),
    "getdq": ("dq",),
    "getjacobian": ("jacobian",),
}
"""Endpoint -> fields of the reading that it returns."""

OPENING_M = MAX_GRIPPER * WIDTH_PER_STEP_M
NOTHING = ("startimp", "stopimp", "clearerr", "activate_gripper", "set_load")
"""Endpoints for states that a simulated arm does not have: the controller is always on, and there are no faults."""

ENDPOINTS = (
    *READ, *NOTHING, "getpos_euler", "get_gripper", "pose", "jointreset", "reset_gripper", "open_gripper",
    "close_gripper", "close_gripper_slow", "move_gripper", "update_param",
)  # fmt: skip


def answer(arm: RobotArm, name: str, body: Json) -> Json:
    """Answer a request to one of `ENDPOINTS`.

    Args:
        arm: of the served task.
        name: of the endpoint.
        body: the JSON object that was sent.

    Raises:
        ConfigError: a value is missing, or not as expected.
    """
    if name in READ:
        reading = asdict(arm.reading())
        return {field: reading[field] for field in READ[name]}
    if name == "getpos_euler":
        pose = arm.reading().pose
        return {"pose": [*pose[:3], *euler(pose[3:])]}
    if name == "get_gripper":
        return {"gripper": arm.reading().gripper_pos}
    actions: dict[str, Callable[[], None]] = {
        "pose": lambda: arm.move_to(_pose(body)),
        "jointreset": arm.reset,
        "reset_gripper": lambda: arm.move_gripper(OPENING_M),
        "open_gripper": lambda: arm.move_gripper(OPENING_M),
        "close_gripper": lambda: arm.move_gripper(0.0),
        "close_gripper_slow": lambda: arm.move_gripper(0.0),
        "move_gripper": lambda: arm.move_gripper(_number(body, "gripper_pos", MAX_GRIPPER) * WIDTH_PER_STEP_M),
        "update_param": lambda: arm.set_impedance({key: _number(body, key) for key in body}),
    }
    if name in actions:
        actions[name]()
    return {"done": name}


def euler(quaternion: list[float]) -> list[float]:
    """Return the angles about the fixed axes x, y and z, in rad, of a quaternion x y z w."""
    x, y, z, w = quaternion
    roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
    pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
    return [roll, pitch, math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))]


def parsed(body: bytes) -> Json:
    """Return the JSON object of a request; an empty body is an empty object.

    Raises:
        ConfigError: it is none.
    """
    if not body:
        return {}
    if len(body) > MAX_BODY:
        raise ConfigError(f"The body of the request has {len(body)} bytes, at most {MAX_BODY} are read.")
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The body of the request is no JSON: {error}.") from None
    if not isinstance(data, dict):
        raise ConfigError("The body of the request is no JSON object.")
    return data


def _pose(body: Json) -> list[float]:
    values: Any = body.get("arr")
    if not isinstance(values, list) or len(values) != 7 or not all(map(_is_number, values)):
        raise ConfigError("`arr`: expected 7 numbers, position in m and quaternion x y z w.")
    norm = math.sqrt(sum(v * v for v in values[3:]))
    if norm < 1e-6:
        raise ConfigError("`arr`: its quaternion is zero.")
    return [float(v) for v in values[:3]] + [v / norm for v in values[3:]]


def _number(body: Json, key: str, most: float = math.inf) -> float:
    value: Any = body.get(key)
    if not _is_number(value) or not 0 <= value <= most:
        bound = "" if most == math.inf else f" to {most:g}"
        raise ConfigError(f"`{key}`: expected a number, 0{bound or ' or more'}.")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
