"""Configuration of the evaluation alongside a training, `stage.evaluation`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regimen.config.structured import build
from regimen.config.yaml_io import PlainSection
from regimen.runs.judgements import DIRECTIONS
from regimen.stages.evaluation.config import grid_problems
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

MOST_NICE = 19
"""Lowest priority that Linux gives."""


@dataclass
class AlongsideCfg:
    """Evaluation of the checkpoints of a training while it runs, by a process beside it.

    Attributes:
        every: env steps per env between two evaluated checkpoints, a multiple of `checkpoint_interval`; null: none.
        envs_per_command: envs, and so episodes, for each command of `env.evaluation.grid`.
        episode_length_s: length of an episode in s; null: the task's.
        bootstrap: resamples of each 95 % interval.
        metric: figure by which checkpoints are compared; null: `env.evaluation.headline`.
        direction: `maximize` or `minimize` it; null: by its name, see `regimen.runs.judgements.LOWER_IS_BETTER`.
        patience: evaluations without an improvement after which the training ends; null: it does not.
        stop_at: value that the worse end of the interval has to reach for the training to end; null: it does not.
        sims: further simulators in which the same checkpoints are evaluated.
        threads: threads of each evaluation.
        nice: priority of its process below that of the training, 0 to 19, the lowest.
        cores: numbers of the cores that it may use; empty: those of the training.
        sim_settings: sim -> its settings; filled in by the launcher.
    """

    every: int | None = None
    envs_per_command: int = 64
    episode_length_s: float | None = None
    bootstrap: int = 2000
    metric: str | None = None
    direction: str | None = None
    patience: int | None = None
    stop_at: float | None = None
    sims: list[str] = field(default_factory=list)
    threads: int = 1
    nice: int = 10
    cores: list[int] = field(default_factory=list)
    sim_settings: dict[str, PlainSection] = field(default_factory=dict)

    @property
    def stops(self) -> bool:
        """Whether the training may end before its last step."""
        return self.patience is not None or self.stop_at is not None

    def problems(self, config: PlainConfig, checkpoint_interval: int) -> list[str]:
        """Return one line for each invalid value, `key=value: …`.

        Args:
            config: the run's plain configuration.
            checkpoint_interval: env steps per env between two checkpoints.
        """
        if self.every is None:
            default = AlongsideCfg()
            given = [name for name in vars(default) if getattr(self, name) != getattr(default, name)]
            return [f"{name}={getattr(self, name)}: nothing reads it without every=<steps>." for name in given]
        lines = []
        if self.every < 1 or self.every % checkpoint_interval:
            nearest = max(1, round(self.every / checkpoint_interval)) * checkpoint_interval
            lines.append(
                f"every={self.every}: expected a multiple of stage.checkpoint_interval={checkpoint_interval}, such as "
                f"{nearest}, because checkpoints are evaluated."
            )
        counts = {"envs_per_command": self.envs_per_command, "bootstrap": self.bootstrap, "threads": self.threads}
        counts |= {"patience": self.patience} if self.patience is not None else {}
        lines += [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if self.episode_length_s is not None and self.episode_length_s <= 0:
            lines.append(f"episode_length_s={self.episode_length_s}: expected more than 0 s.")
        if not 0 <= self.nice <= MOST_NICE:
            lines.append(f"nice={self.nice}: expected 0 to {MOST_NICE}.")
        if any(core < 0 for core in self.cores) or len(set(self.cores)) < len(self.cores):
            lines.append(f"cores={self.cores}: expected numbers of cores, each once, such as [1].")
        if self.cores and not hasattr(os, "sched_setaffinity"):
            lines.append(f"cores={self.cores}: only Linux binds a process to cores. Remove it.")
        if self.direction not in (None, *DIRECTIONS):
            lines.append(f"direction={self.direction}: {did_you_mean(str(self.direction), DIRECTIONS)}")
        return lines + self._task_problems(config) + self._sim_problems(config)

    def _task_problems(self, config: PlainConfig) -> list[str]:
        env = config["env"]
        if "evaluation" not in env:
            return [f"every={self.every}: the task has no section env.evaluation. Remove it."]
        return grid_problems(env["evaluation"] or {}, env.get("commands") or {})

    def _sim_problems(self, config: PlainConfig) -> list[str]:
        from regimen.config import static_types

        lines, own = [], (config.get("choices") or {}).get("sim")
        if self.sims and not static_types.class_variable(config["env"], "MANAGER_BASED"):
            return [f"sims={self.sims}: this task has a simulator of its own. Remove it."]
        if len(set(self.sims)) < len(self.sims) or own in self.sims:
            lines.append(f"sims={self.sims}: expected other simulators than {own}, each once.")
        for name, settings in self.sim_settings.items():
            try:
                section = build(static_types.load_cfg_class(str(settings["_target_"])), settings)
            except ConfigError as error:
                lines.append(f"sims={self.sims}: {error}")
                continue
            found = section.problems({**config, "sim": settings}) if hasattr(section, "problems") else []
            lines += [f"sims={self.sims}: {name}: {line}" for line in found]
        return lines
