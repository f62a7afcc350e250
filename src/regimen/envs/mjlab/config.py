"""Configuration of `task=mjlab`, checked before the simulator starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from regimen.config.task_schema import EvaluationCfg, at_least_one
from regimen.config.yaml_io import PlainConfig, PlainSection
from regimen.envs.foreign.catalogue import Catalogue, TaskDescription
from regimen.envs.foreign.config import evaluation_problems, without_event
from regimen.envs.mjlab.library import MJLAB


@dataclass
class MjlabEnvCfg:
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

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each value that is wrong, and for what the interpreter lacks."""
        from regimen.envs.foreign import installed
        from regimen.system.host import interpreter

        lines = at_least_one(num_envs=self.num_envs)
        length = self.episode_length_s
        if length is not None and not length > 0:
            lines.append(f"episode_length_s={length}: expected seconds, more than 0, or null.")
        python = interpreter(config)
        missing = list(installed.problems(MJLAB, python))
        return [*lines, *(missing or self._task_problems(python))]

    def agent_settings(self, library: str, config: PlainConfig) -> PlainSection:
        """Return the settings that the task has for an agent of a library, in its keys.

        Args:
            library: such as `rsl_rl`.
            config: the run's configuration, plain.

        Raises:
            RegimenError: the task has none, or they cannot be read.
        """
        from regimen.system.host import interpreter

        return Catalogue(MJLAB, interpreter(config)).agent(self.id, library)

    def switch_off_event(self, name: str) -> None:
        """Switch an event of the task off, for an evaluation without disturbances."""
        self.mjlab = without_event(self.mjlab, name)

    def _task_problems(self, python: str) -> Iterator[str]:
        """Yield what is wrong with the task and its settings, by its catalogue."""
        from regimen.system.errors import RegimenError

        try:
            described = Catalogue(MJLAB, python).description(self.id)
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
