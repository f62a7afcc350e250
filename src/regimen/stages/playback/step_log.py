"""Per-step log of some envs as HDF5 (observations, actions, commands, joints), and its figure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.data.episodes.schema import Column
from regimen.data.episodes.writer import EpisodeWriter
from regimen.data.hdf5 import open_hdf5, reading
from regimen.display import figures
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.vec_env import task_below
from regimen.stages.playback.rollout import RolloutObserver

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

MEASURED = {"joint_pos": "rad", "joint_vel": "rad/s", "joint_torque": "N·m"}


class StepLog(RolloutObserver):
    """Write an HDF5 file with datasets of shape (T, K, …): T steps of K envs.

    A row holds the observed state, the action, and the reward and end of the step. Torques are those of the physics
    step before the observation; after a reset they are those of the reset state.

    Attributes:
        path: the HDF5 file.
        last_step: T.
    """

    def __init__(self, path: Path, env: VecEnv, env_ids: Sequence[int], steps: int, head: Json) -> None:
        """Prepare the log; the first step gives the shapes and opens the file.

        Args:
            path: of the HDF5 file.
            env: the logged env; joints and commands are logged for a `ManagerEnv` only.
            env_ids: ids of the K envs.
            steps: T.
            head: attributes of the file beside names, units and step time.
        """
        self.path, self.last_step = path, steps
        self._env, self._ids = env, torch.tensor(env_ids, device=env.device)
        inner = task_below(env)
        self._task = inner if isinstance(inner, ManagerEnv) else None
        self._head = head | _names(env, self._task) | {"env_ids": list(env_ids)}
        action = env.io.action
        self._scale, self._offset = (torch.tensor(v, device=env.device) for v in (action.scale, action.offset))
        self._clip = float("inf") if action.clip is None else action.clip
        self._episode = torch.zeros(len(env_ids), dtype=torch.int32, device=env.device)
        self._row: dict[str, torch.Tensor] = {}
        self._writer: EpisodeWriter | None = None

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Read observations, joints and commands."""
        if step >= self.last_step:
            self._row = {}
            return
        row = {f"observations/{group}": value for group, value in obs.items()}
        if self._task is not None:
            row |= {name: getattr(self._task.state, name) for name in MEASURED}
            row |= {f"commands/{name}": term.value for name, term in self._task.commands.terms.items()}
        self._row = {name: value[self._ids] for name, value in row.items()} | {"episode": self._episode.clone()}

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Complete the row with action, reward and end, and write it."""
        if not self._row:
            return
        target = self._offset + self._scale * action.clamp(-self._clip, self._clip)
        outcome = {"action": action, "target": target, "reward": reward}
        outcome |= {"terminated": terminated, "truncated": truncated}
        row = self._row | {name: value[self._ids] for name, value in outcome.items()}
        self._episode += row["terminated"] | row["truncated"]
        arrays = {name: value.cpu().numpy() for name, value in row.items()}
        if self._writer is None:
            columns = {name: Column(str(value.dtype), value.shape[1:]) for name, value in arrays.items()}
            self._writer = EpisodeWriter(self.path, columns, len(self._ids), self._head)
        self._writer.add(arrays)

    def results(self, run: Run) -> Json:
        """Record the file and the figure of its first env; return the entry `log`."""
        run.artifact(self.path, "table")
        run.draw("joints.png", lambda path: draw_joints(self.path, path))
        return {
            "log": {"path": str(self.path.relative_to(run.dir)), "steps": self.last_step, "env_ids": self._ids.tolist()}
        }

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file, also after a stop."""
        if self._writer is not None:
            self._writer.close()


def _names(env: VecEnv, task: ManagerEnv | None) -> Json:
    """Return names and units of the columns."""
    io = env.io
    names: Json = {"step_dt": io.step_dt, "action_joints": io.action.joints, "observations": io.observations}
    if task is None:
        return names | {"units": {"target": "unit of the task"}}
    return names | {"joints": task.joints, "units": {"target": "rad", **MEASURED}}


SHOWN_S = 10.0
"""Duration that the figure shows, in s; more is not readable."""


def draw_joints(log: Path, out: Path) -> None:
    """Draw targets and positions of the first env of a log; nothing if the log has no joints.

    Args:
        log: file of `StepLog`.
        out: PNG to write.
    """
    with reading(log), open_hdf5(log) as file:
        if "joint_pos" not in file:
            return
        action_joints, joints = json.loads(file.attrs["action_joints"]), json.loads(file.attrs["joints"])
        dt, env_id = float(file.attrs["step_dt"]), json.loads(file.attrs["env_ids"])[0]
        rows = min(len(file["target"]), round(SHOWN_S / dt))
        target, measured, episode = (file[name][:rows, 0] for name in ("target", "joint_pos", "episode"))
    times = np.arange(rows) * dt
    ends = np.flatnonzero(np.diff(episode)) + 1
    figure, axes = figures.sheet(len(action_joints), columns=4, size=(3.4, 2.1))
    for column, (ax, name) in enumerate(zip(axes, action_joints, strict=False)):
        position = measured[:, joints.index(name)]
        ax.plot(times, _with_gaps(target[:, column], ends), color=figures.COLORS[1], linewidth=0.9, label="target")
        ax.plot(times, _with_gaps(position, ends), color=figures.COLORS[0], linewidth=1.3, label="position")
        ax.set_title(f"{name} (rad)", fontsize=9)
        ax.set_xlabel("s", fontsize=8)
    lines, names = axes[0].get_legend_handles_labels()
    figure.legend(lines, names, loc="outside upper right", ncols=2, fontsize=9, frameon=False)
    gaps = f"; a gap is a new episode ({len(ends)})" if len(ends) else ""
    figure.supxlabel(f"env {env_id}, the first {times[-1] + dt:g} s{gaps}", fontsize=9)
    figures.save(figure, out)


def _with_gaps(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return values (T,) with NaN at the first step of each episode, so that no line joins two episodes."""
    gapped = values.astype(float)
    gapped[at] = np.nan
    return gapped
