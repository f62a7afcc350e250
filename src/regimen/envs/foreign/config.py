"""Checks and changes of the configurations of tasks of other libraries."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import ClassVar

from regimen.config.task_schema import EvaluationCfg, at_least_one
from regimen.config.yaml_io import PlainConfig, PlainSection
from regimen.envs.foreign.catalogue import Catalogue, TaskDescription
from regimen.envs.foreign.library import Library
from regimen.system.errors import RegimenError, did_you_mean


class LibraryTaskCfg:
    """Base of the dataclass of a library's task, which also has a field of the name `LIBRARY.settings`.

    Attributes:
        LIBRARY: whose task it is.
        id: its name.
        num_envs: environments stepped together.
        episode_length_s: time after which an episode is truncated, in seconds; null: the task's own.
        device: of the simulator and of all tensors.
    """

    LIBRARY: ClassVar[Library]
    id: str
    num_envs: int
    episode_length_s: float | None
    device: str

    def problems(self, config: PlainConfig) -> list[str]:
        """Return one line for each value that is wrong, and for what the interpreter lacks."""
        from regimen.envs.foreign import installed
        from regimen.system.host import interpreter

        lines = at_least_one(num_envs=self.num_envs)
        length = self.episode_length_s
        if length is not None and not length > 0:
            lines.append(f"episode_length_s={length}: expected seconds, more than 0, or null.")
        python = interpreter(config)
        missing = list(installed.problems(self.LIBRARY, python))
        return [*lines, *(missing or self.task_problems(python))]

    def task_problems(self, python: str) -> Iterator[str]:
        """Yield what is wrong with the task and its settings, by its catalogue.

        Args:
            python: interpreter of the library.
        """
        raise NotImplementedError

    def description(self, python: str, presets: Sequence[str] = ()) -> TaskDescription:
        """Return the configuration of the task, read once by this object.

        Args:
            python: interpreter of the library.
            presets: chosen presets.

        Raises:
            ConfigError, PreflightError: see `Catalogue.description`.
        """
        key = (python, self.id, *presets)
        if key not in self._descriptions:
            self._descriptions[key] = Catalogue(self.LIBRARY, python).description(self.id, presets)
        return self._descriptions[key]

    @functools.cached_property
    def _descriptions(self) -> dict[tuple[str, ...], TaskDescription]:
        return {}

    def task_bytes(self, num_envs: int, config: PlainConfig) -> int:
        """Return the estimated memory of N environments on the CPU, 0 of a task that cannot be described.

        Args:
            num_envs: N.
            config: the run's configuration, plain.
        """
        from regimen.envs.foreign import memory
        from regimen.system.host import interpreter

        try:
            described = self.description(interpreter(config), self.chosen_presets())
        except RegimenError:  # `problems` has the reason
            return 0
        on_gpu = self.device.startswith("cuda")
        return memory.of_task(described, getattr(self, self.LIBRARY.settings), num_envs, on_gpu)

    def chosen_presets(self) -> Sequence[str]:
        """Return the chosen presets, of a library that has them."""
        return ()

    def agent_settings(self, library: str, config: PlainConfig) -> PlainSection:
        """Return the settings that the task has for an agent of a library, in its keys.

        Args:
            library: such as `rsl_rl`.
            config: the run's configuration, plain.

        Raises:
            RegimenError: the task has none, or they cannot be read.
        """
        from regimen.system.host import interpreter

        return Catalogue(self.LIBRARY, interpreter(config)).agent(self.id, library)

    def switch_off_event(self, name: str) -> None:
        """Switch an event of the task off, for an evaluation without disturbances."""
        settings = getattr(self, self.LIBRARY.settings)
        off = {**settings, "events": {**settings.get("events", {}), name: None}}
        setattr(self, self.LIBRARY.settings, off)


def evaluation_problems(
    described: TaskDescription, settings: PlainSection, evaluation: EvaluationCfg, task: str
) -> Iterator[str]:
    """Yield a line for each name of the evaluation that the task does not have, or that is switched off.

    Args:
        described: the task.
        settings: values of its configuration by the user, such as `env.isaac`.
        evaluation: `env.evaluation`.
        task: its id.
    """
    named = [("commands", name) for name in [evaluation.command] if name is not None]
    named += [("events", name) for name in evaluation.disturbances]
    for section, name in named:
        names = described.names(section)
        changed = settings.get(section, {})
        if name not in names:
            yield f"evaluation names `{name}`, which is none of the {section} of {task}. {did_you_mean(name, names)}"
        elif isinstance(changed, dict) and name in changed and changed[name] is None and section == "commands":
            key = f"env.{described.library.settings}.commands.{name}"
            yield f"evaluation.command is `{name}`, but {key} is switched off (null)."
