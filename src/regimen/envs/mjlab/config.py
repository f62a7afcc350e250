"""Configuration of `task=mjlab`, checked before the simulator starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from regimen.config.task_schema import EvaluationCfg
from regimen.config.yaml_io import PlainSection
from regimen.envs.foreign.catalogue import TaskDescription
from regimen.envs.foreign.config import LibraryTaskCfg, evaluation_problems
from regimen.envs.foreign.library import Library
from regimen.envs.mjlab.library import MJLAB


@dataclass
class MjlabEnvCfg(LibraryTaskCfg):
    """A task registered with mjlab.

    Attributes:
        id: its name, such as Mjlab-Velocity-Flat-Unitree-Go1; `module:Id` imports your module first.
        mjlab: values of the task's own configuration, by path: `env.mjlab.decimation=8`; null switches a term off.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in seconds; null: the task's own.
        device: of the simulator and of all tensors.
        observation_noise: whether the noise of the observation terms is applied.
        render_size: width and height of an image in pixels.
        interpreter: name of the Python in `hardware.interpreters`.
    """

    LIBRARY: ClassVar[Library] = MJLAB
    _target_: str = "regimen.envs.mjlab.MjlabEnv"
    id: str = "Mjlab-Velocity-Flat-Unitree-Go1"
    mjlab: PlainSection = field(default_factory=dict)
    num_envs: int = 64
    episode_length_s: float | None = None
    device: str = "cpu"
    observation_noise: bool = True
    render_size: tuple[int, int] = field(default=(640, 480), metadata={"least": 16, "most": 8192})
    interpreter: str = "mjlab"
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def task_problems(self, python: str) -> Iterator[str]:
        """Yield what is wrong with the task and its settings, by its catalogue."""
        from regimen.system.errors import RegimenError

        try:
            described = self.description(python)
        except RegimenError as error:
            yield f"id={self.id}: {error}"
            return
        wrong = list(described.problems(self.mjlab))
        yield from wrong
        if not wrong:
            yield from self._motion_problems(described)
        yield from evaluation_problems(described, self.mjlab, self.evaluation, self.id)

    def _motion_problems(self, described: TaskDescription) -> Iterator[str]:
        """Yield a line for each command that imitates a motion whose file is not named, or does not exist."""
        commands = self.mjlab.get("commands") or {}
        for name, node in described.tree["f"]["commands"]["f"].items():
            given = commands.get(name, {})
            if "motion_file" not in node.get("f", {}) or given is None:
                continue
            file = given.get("motion_file", node["f"]["motion_file"].get("v"))
            key = f"mjlab.commands.{name}.motion_file"
            if not file:
                yield f"{key}: the task imitates a motion that mjlab does not bring along: type env.{key}=<file>.npz."
            elif not Path(file).is_file():
                yield f"{key}={file}: there is no such file."
