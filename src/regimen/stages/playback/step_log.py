"""Every step of some envs in a file: what was observed, done, asked for and measured, joint by joint."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from regimen.data.episodes.schema import Column
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.manager_env import ManagerEnv
from regimen.stages.playback import step_log_figure
from regimen.stages.playback.observer import RolloutObserver

if TYPE_CHECKING:
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run

MEASURED = {"joint_pos": "rad", "joint_vel": "rad/s", "joint_torque": "N·m"}


class StepLog(RolloutObserver):
    """Writes an HDF5 file, (T, K, …) in each of its datasets: T steps of the K chosen envs, in their order.

    A row holds the state that was observed, the action on it, and its reward and end. A torque is what the actuators
    applied in the last physics step before; an env that begins anew starts with those of its reset.

    Attributes:
        path: the file.
        last_step: T.
    """

    def __init__(self, path: Path, env: VecEnv, env_ids: Sequence[int], steps: int, head: dict[str, Any]) -> None:
        """Prepare a file; it is opened with the first step, whose values tell the shapes.

        Args:
            path: of the file.
            env: what is looked at; joints are measured and commands told in tasks of our own managers.
            env_ids: K numbers of envs.
            steps: T.
            head: what the file says beside names, units and step time.
        """
        self.path, self.last_step = path, steps
        self._env, self._ids = env, torch.tensor(env_ids, device=env.device)
        inner = getattr(env, "env", env)  # a task whose policy is told of faults is wrapped
        self._task = inner if isinstance(inner, ManagerEnv) else None
        self._head = head | _names(env, self._task) | {"env_ids": list(env_ids)}
        action = env.io.action
        self._scale, self._offset = (torch.tensor(v, device=env.device) for v in (action.scale, action.offset))
        self._clip = float("inf") if action.clip is None else action.clip
        self._episode = torch.zeros(len(env_ids), dtype=torch.int32, device=env.device)
        self._row: dict[str, torch.Tensor] = {}
        self._writer: EpisodeWriter | None = None

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Read the state."""
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
        """Complete the row and write it."""
        if not self._row:
            return
        target = self._offset + self._scale * action.clamp(-self._clip, self._clip)
        done = {"action": action, "target": target, "reward": reward}
        done |= {"terminated": terminated, "truncated": truncated}
        row = self._row | {name: value[self._ids] for name, value in done.items()}
        self._episode += row["terminated"] | row["truncated"]
        arrays = {name: value.cpu().numpy() for name, value in row.items()}
        if self._writer is None:
            columns = {name: Column(str(value.dtype), value.shape[1:]) for name, value in arrays.items()}
            self._writer = EpisodeWriter(self.path, columns, len(self._ids), self._head)
        self._writer.add(arrays)

    def results(self, run: Run) -> dict[str, Any]:
        """Name the file, and draw what the joints did in the first of its envs."""
        run.artifact(self.path, "table")
        figure = run.dir / "figures" / "joints.png"
        if step_log_figure.draw(self.path, figure):
            run.artifact(figure, "figure")
        return {
            "log": {"path": str(self.path.relative_to(run.dir)), "steps": self.last_step, "env_ids": self._ids.tolist()}
        }

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Complete the file, also that of a run that was stopped."""
        if self._writer is not None:
            self._writer.close()


def _names(env: VecEnv, task: ManagerEnv | None) -> dict[str, Any]:
    """Return what the columns are, and in which unit."""
    io = env.io
    known: dict[str, Any] = {"step_dt": io.step_dt, "action_joints": io.action.joints, "observations": io.observations}
    if task is None:
        return known | {"units": {"target": "the task's own"}}
    return known | {"joints": task.joints, "units": {"target": "rad", **MEASURED}}
