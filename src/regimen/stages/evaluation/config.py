"""Configuration of `stage=evaluate`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from regimen.stages.playback.options import PlaybackCfg
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig, PlainSection


@dataclass
class EvaluateCfg(PlaybackCfg):
    """Evaluate `policy` on the task: a run, a file, or `scripted`, the expert of the task without noise.

    Attributes:
        envs_per_command: envs, and so episodes, for each command of `env.evaluation.grid`; sets `env.num_envs`. On
            uneven ground the number is rounded up, so that each kind has as many at each level.
        episode_length_s: length of an episode in s; null: the task's.
        disturbances: whether the events of `env.evaluation.disturbances` stay active.
        observation_noise: whether observations are noisy, as in training.
        bootstrap: resamples of each 95 % interval.
        joints: joint names of a policy that rsl_rl itself saved, in its order, or [task]; null for other policies.
        faults: whether the envs have the faults of `env.evaluation.fault_grid` instead of the commands.
        player: player of agent=rl_games that plays in place of the evaluation: its registered name, or `pkg.mod:Class`.
        games_num: episodes that it plays; null: `agent.params.config.player.games_num`, or one in each env.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator", "encoder")
    LOADS_POLICY: ClassVar[bool] = True
    DEMONSTRATORS: ClassVar[tuple[str, ...]] = ("scripted",)
    _target_: str = "regimen.stages.evaluate.Evaluate"
    envs_per_command: int = 64
    episode_length_s: float | None = None
    disturbances: bool = False
    observation_noise: bool = True
    bootstrap: int = 2000
    joints: list[str] | None = None
    faults: bool = False
    player: str | None = None
    games_num: int | None = None

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        env, lines = config["env"], []
        evaluation = env.get("evaluation") or {}
        if self.envs_per_command < 1 or self.bootstrap < 1:
            lines.append("envs_per_command and bootstrap: expected 1 or more, such as 64 and 2000.")
        if self.video_seconds <= 0 or (self.episode_length_s is not None and self.episode_length_s <= 0):
            lines.append("video_seconds and episode_length_s: expected more than 0 s.")
        if self.games_num is not None and (self.player is None or self.games_num < 1):
            lines.append(f"games_num={self.games_num}: expected 1 or more, with stage.player=<name>.")
        from regimen.stages.evaluation.ground_cases import level_problems
        from regimen.stages.playback import options

        if config.get("policy") in self.DEMONSTRATORS:
            lines += self._scripted_problems(env)
        lines += grid_problems(evaluation, env.get("commands") or {}) + level_problems(env)
        lines += options.problems(self, config, self.num_envs(config))
        if self.faults:
            from regimen.stages.evaluation.fault_grid import problems

            lines += problems(evaluation, env)
        named = [("commands", evaluation.get("command"))] + [
            ("events", name) for name in evaluation.get("disturbances") or []
        ]
        for group, name in named:
            if name is not None and group in env and name not in env[group]:
                lines.append(f"env.evaluation names `{name}`, not in env.{group}. {did_you_mean(name, env[group])}")
        return lines

    def _scripted_problems(self, env: PlainSection) -> list[str]:
        """Return a line for each reason why the expert of the task cannot be evaluated."""
        from regimen.config import static_types

        others = [name for name in ("faults", "player", "joints") if getattr(self, name)]
        lines = [f"{name}={getattr(self, name)}: not with policy=scripted. Remove one of them." for name in others]
        with suppress(ConfigError):
            if not static_types.methods(str(env.get("_target_"))) & {"scripted_expert", "optimal_action"}:
                lines.append(
                    "policy=scripted: the task has no scripted expert, neither `scripted_expert` nor `optimal_action`. "
                    "Name a policy: policy=<run reference>."
                )
        return lines

    def num_envs(self, config: PlainConfig) -> int:
        """Return the number of envs that this stage opens for the run's plain `config`, regardless of env.num_envs."""
        evaluation = config["env"].get("evaluation") or {}
        if self.faults and evaluation.get("fault_grid") and "robot" in config["env"]:
            from regimen.stages.evaluation.fault_grid import fault_cases

            return sum(case.envs for case in fault_cases(evaluation["fault_grid"], config["env"]["robot"]))
        from regimen.stages.evaluation.ground_cases import ground_cases

        each = max(1, len(ground_cases(config["env"])))
        return self.envs_for(evaluation.get("grid") or [], each)

    def envs_for(self, grid: list[list[float]], cases: int = 1) -> int:
        """Return the number of envs for these commands; a task without commands counts as one command.

        Args:
            grid: the commands.
            cases: kinds and levels of uneven ground, of which each has as many envs.
        """
        return -(-self.envs_per_command // cases) * cases * max(1, len(grid))


def grid_problems(evaluation: PlainConfig, commands: PlainConfig) -> list[str]:
    """Return the problems of the grid in a task's `evaluation` section with the task's `commands`, one line each."""
    grid, name, lines = evaluation.get("grid") or [], evaluation.get("command"), []
    widths = sorted({len(row) for row in grid})
    if len(widths) > 1:
        lines.append(f"env.evaluation.grid has commands of {widths} values: expected the same number in each row.")
    if 0 in widths:
        lines.append("env.evaluation.grid has an empty command: expected one number for each value of the command.")
    if grid and name is None:
        lines.append("env.evaluation.grid has commands, but env.evaluation.command names no command term.")
    if name is not None and name in commands and commands[name] is None:
        lines.append(f"env.evaluation.command is `{name}`, but env.commands.{name} is switched off (null).")
    if name is not None and _cannot_be_held(commands.get(name)):
        lines.append(
            f"env.evaluation.command is `{name}`, but {commands[name]['func']} has no method `fix` to hold it. "
            "Add it, or name another command, or set env.evaluation.command=null and env.evaluation.grid=[]."
        )
    return lines


def _cannot_be_held(command: PlainConfig | None) -> bool:
    """Return whether the class of a command term, as far as it can be read, has what a command needs and no `fix`."""
    from regimen.config import static_types

    func = (command or {}).get("func")
    with suppress(ConfigError):
        if func:
            own = static_types.methods(func if ":" in func else f"regimen.envs.terms.commands:{func}")
            return {"reset", "step", "metrics"} <= own and "fix" not in own
    return False
