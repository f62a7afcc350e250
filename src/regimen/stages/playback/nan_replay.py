"""Replay of a NaN dump: a table of the last steps, a film or a window of the robot, and what was not finite."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.config.targets import resolve
from regimen.display.formatting import table
from regimen.envs.nan_dump import AFTER, NanDump
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from regimen.config.schema import Config
    from regimen.envs.robots.robot import Robot
    from regimen.envs.sims.world import World

COLUMNS = {
    "action": "largest action",
    "state/joint_vel": "joint speed (rad/s)",
    "state/joint_torque": "joint torque (N·m)",
    "state/root_lin_vel": "base speed (m/s)",
    "observation": "largest observation",
    "reward": "reward",
}
"""Array of the dump -> title of its column, in order."""


def describe(dump: NanDump, env_id: int) -> list[str]:
    """Return a table with one line for each step of env `env_id`, and a line for each thing that is not finite.

    Args:
        dump: the dump.
        env_id: one of its envs.
    """
    head, row = dump.head, row_of(dump, env_id)
    titles = {name: title for name, title in COLUMNS.items() if name in dump.arrays}
    lines = [("step", *titles.values(), "not finite")]
    for t, step in enumerate(dump.arrays["step"].tolist()):
        cells = [_largest(dump, name, t, row) for name in titles]
        lines.append((str(step), *cells, ", ".join(_names(dump, "", t, row))))
    subject = head["message"].partition(" is not finite")[0].removesuffix(",")
    found = ", ".join(_names(dump, AFTER, None, row)) or subject
    lines.append((f"then {head['step']}", *[""] * len(titles), found))
    shown = f"env {env_id} of {head['num_envs']}, steps of {head['step_dt'] * 1e3:g} ms; figures at the start of a step"
    return [head["message"], shown, *table(lines)]


def row_of(dump: NanDump, env_id: int) -> int:
    """Return the row of env `env_id` in the arrays.

    Raises:
        ConfigError: the dump has no such env.
    """
    ids = dump.head["env_ids"]
    if env_id not in ids:
        raise ConfigError(f"--env {env_id}: the dump holds env {', '.join(map(str, ids))}.")
    return int(ids.index(env_id))


def _values(dump: NanDump, name: str, t: int | None, row: int) -> np.ndarray | None:
    """Return the values of one env at step `t`, flat; None for what is not known of that step."""
    values = dump.arrays[name]
    if t is None:
        return np.atleast_1d(values[row]).ravel()
    return np.atleast_1d(values[t][row]).ravel() if t < len(values) else None


def _largest(dump: NanDump, name: str, t: int, row: int) -> str:
    """Return the value with the largest magnitude, and the joint it belongs to."""
    values = _values(dump, name, t, row)
    if values is None:
        return ""
    at = int(np.argmax(np.where(np.isfinite(values), np.abs(values), np.inf)))
    owner = _owner(dump, name, at)
    return f"{values[at]:.3g}" + (f" {owner}" if owner else "")


def _owner(dump: NanDump, name: str, column: int) -> str:
    """Return the joint or the observation term of a column, or nothing."""
    head, plain = dump.head, name.removeprefix(AFTER)
    if plain == "action":
        return str(head["actions"][column])
    if plain.startswith("state/joint_") and column < len(head["joints"]):
        return str(head["joints"][column])
    group = "policy" if plain == "observation" else plain.removeprefix("observation/")
    for term, size in head["observations"].get(group, {}).items() if plain.startswith("observation") else ():
        if column < size:
            return str(term)
        column -= size
    return ""


def _names(dump: NanDump, prefix: str, t: int | None, row: int) -> Iterator[str]:
    """Yield what is not finite at step `t`, or after the last one: quantity, and joint or term."""
    for name in dump.arrays:
        if name == "step" or name.startswith(AFTER) != bool(prefix) or dump.arrays[name].dtype.kind != "f":
            continue
        values = _values(dump, name, t, row)
        bad = [] if values is None else np.flatnonzero(~np.isfinite(values)).tolist()
        owners = list(dict.fromkeys(_owner(dump, name, column) for column in bad))
        yield from (f"{name.removeprefix(prefix).removeprefix('state/')} {owner}".strip() for owner in owners)


def open_world(config: Config) -> tuple[World, Robot]:
    """Open the simulator of a run with one robot.

    Raises:
        ConfigError: the task has no robot whose state could be shown.
    """
    from regimen.envs.robots.robot import load

    if not getattr(config.env, "MANAGER_BASED", False):
        task = config.choices.get("task")
        raise ConfigError(f"task={task} has no robot that a simulator shows: the dump can only be read as a table.")
    robot = load(config.env.robot)
    return resolve(config.sim._target_)(config.sim, robot, 1, 1), robot


def poses(dump: NanDump, env_id: int) -> Iterator[list[torch.Tensor]]:
    """Yield each finite state of env `env_id`: at the beginning of every step, then after the last one.

    A state is what `World.reset` takes: pose (1, 7), velocity (1, 6), joint positions and velocities (1, J).
    """
    import torch

    row, steps = row_of(dump, env_id), len(dump.arrays["step"])
    names = ("root_pos", "root_quat", "root_lin_vel", "root_ang_vel", "joint_pos", "joint_vel")
    for t in range(steps + 1):
        rows = [dump.arrays[f"state/{n}"][t] if t < steps else dump.arrays[f"{AFTER}state/{n}"] for n in names]
        position, turned, speed, turning, *joints = [torch.tensor(values[row])[None] for values in rows]
        state = [torch.cat((position, turned), 1), torch.cat((speed, turning), 1), *joints]
        if all(bool(torch.isfinite(part).all()) for part in state):
            yield state


def film(dump: NanDump, env_id: int, world: World, path: Path, speed: float) -> int:
    """Write an MP4 of env `env_id`; return the number of frames, one for each step with a finite state.

    Args:
        dump: the dump.
        env_id: one of its envs.
        world: simulator with one robot.
        path: the file.
        speed: of the film in shares of real time.
    """
    from regimen.display.video import VideoWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=max(1.0, speed / dump.head["step_dt"])) as writer:
        for state in poses(dump, env_id):
            _show(world, state)
            writer.add(world.render(0))
        return writer.frames


def _show(world: World, state: list[torch.Tensor]) -> None:
    import torch

    world.reset(torch.zeros(1, dtype=torch.long, device=world.device), *(part.to(world.device) for part in state))


def play(dump: NanDump, env_id: int, world: World, robot: Robot, speed: float) -> None:
    """Show env `env_id` in MuJoCo's window, over and over until it is closed.

    Raises:
        ConfigError: the simulator is not MuJoCo.
    """
    from regimen.stages.playback.viewer import Viewer

    task: Any = SimpleNamespace(world=world, robot=robot)
    pause = dump.head["step_dt"] / speed
    frames = itertools.cycle(list(poses(dump, env_id)))
    with Viewer(task) as viewer:
        for state in frames:
            if not viewer.is_running():
                return
            _show(world, state)
            viewer.show()
            time.sleep(pause)
