"""The stage that judges a policy: fixed commands, the first full episode of each env, intervals on every figure."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from regimen.agents.export import header
from regimen.config.targets import resolve
from regimen.display import figures
from regimen.display.text_tables import print_tables
from regimen.envs import open_env
from regimen.envs.term_tables import term_tables
from regimen.runs import checkpoint
from regimen.stages.evaluation.metrics import EpisodeTable, Judgement, headline, judge_all, survival_curve
from regimen.stages.evaluation.table import command_label, print_table
from regimen.stages.playback.first_episodes import FirstEpisodes
from regimen.stages.playback.observers import watchers_of
from regimen.stages.playback.rollout import load_policy, play
from regimen.system.errors import CheckpointError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.task_schema import EvaluationCfg
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run


@dataclass
class EvaluateCfg:
    """Judge `policy` on this task.

    Attributes:
        envs_per_command: environments, and so episodes, for each command of `env.evaluation.grid`; decides
            `env.num_envs`.
        episode_length_s: length of an episode in seconds; null keeps the task's.
        disturbances: whether the events named in `env.evaluation.disturbances` stay on.
        observation_noise: whether observations are noisy, as in training.
        bootstrap: resamples behind each 95 % interval.
        video_seconds: length of the video made with `video=true`; it shows the largest command of the grid, and ends
            with the first episode at the latest.
        video_length: steps of the video instead, through as many episodes as it takes.
        real_time: whether a step takes as long as it means; the factor reached is told.
        viewer: whether a window shows env 0, where there is a display.
        log_data: whether `logs/steps.h5` gets every step of some envs, with joints and commands.
        log_steps: steps in it; more than an episode goes on into the next.
        log_env_ids: numbers of these envs.
        joints: of a policy that rsl_rl itself saved, which does not say it: its joints in its order, or [task].
        faults: whether the faults of `env.evaluation.fault_grid` are tried, one in each env, instead of the commands.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator")
    _target_: str = "regimen.stages.evaluate.Evaluate"
    envs_per_command: int = 64
    episode_length_s: float | None = None
    disturbances: bool = False
    observation_noise: bool = True
    bootstrap: int = 2000
    video_seconds: float = 10.0
    video_length: int | None = None
    real_time: bool = False
    viewer: bool = False
    log_data: bool = False
    log_steps: int = 5000
    log_env_ids: list[int] = field(default_factory=lambda: [0, 1, 2])
    joints: list[str] | None = None
    faults: bool = False

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        env, lines = config["env"], []
        judged = env.get("evaluation") or {}
        if self.envs_per_command < 1 or self.bootstrap < 1:
            lines.append("envs_per_command and bootstrap: expected 1 or more, such as 64 and 2000.")
        if self.video_seconds <= 0 or (self.episode_length_s is not None and self.episode_length_s <= 0):
            lines.append("video_seconds and episode_length_s: expected more than 0 s.")
        from regimen.stages.playback import options

        lines += grid_problems(judged, env.get("commands") or {})
        lines += options.problems(self, config)
        if self.faults:
            from regimen.stages.evaluation.fault_grid import problems

            lines += problems(judged, env)
        named = [("commands", judged.get("command"))] + [("events", name) for name in judged.get("disturbances") or []]
        for group, name in named:
            if name is not None and name not in env.get(group, {}):
                lines.append(f"env.evaluation names `{name}`, not in env.{group}. {did_you_mean(name, env[group])}")
        return lines

    def num_envs(self, config: dict[str, Any]) -> int:
        """Return how many environments this stage opens on the run's plain `config`, whatever its env.num_envs."""
        judged = config["env"].get("evaluation") or {}
        if self.faults and judged.get("fault_grid"):
            from regimen.stages.evaluation.fault_grid import cells_of

            return sum(cell.envs for cell in cells_of(judged["fault_grid"], config["env"]["robot"]))
        return self.envs_for(judged.get("grid") or [])

    def envs_for(self, grid: list[list[float]]) -> int:
        """Return how many environments judge these commands; a task without any is judged as if it had one."""
        return self.envs_per_command * max(1, len(grid))


class Evaluate:
    """Runs one evaluation; see `EvaluateCfg`."""

    def __init__(self, cfg: EvaluateCfg) -> None:
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Evaluate `config.policy`; write result.json, a picture, and a video if asked.

        An agent that is no policy, such as a failure detector, judges itself: its class has an `evaluate`.
        """
        agent = getattr(config.agent, "_target_", None)
        if agent is not None and hasattr(resolve(agent), "evaluate"):
            return resolve(agent).evaluate(run, config, self.cfg)
        started = time.perf_counter()
        torch.set_num_threads(1)  # some hundred rows cost more to share than to do; the physics has all threads
        config = self.prepare(config)
        bundle = load_bundle(config.policy) if self.cfg.joints is None else self._adopted(config)
        if self.cfg.faults:
            from regimen.stages.evaluation.fault_evaluation import evaluate_faults

            return evaluate_faults(run, config, self.cfg, bundle)
        env = open_env(config)
        print_tables(term_tables(config.env, env.io))
        try:
            table, told = self.play(run, config, env, bundle)
            step_dt = env.step_dt
        finally:
            env.close()
        grid = config.env.evaluation.grid or [[]]
        whole, each = judge_all(table, grid, self.cfg.bootstrap, config.seed)
        self._draw(run, table, each, config)
        result = self._result(config, bundle, whole, each) | told
        result["wall_s"] = time.perf_counter() - started
        result["env_steps"] = round(float(table.columns["episode_length_s"].sum()) / step_dt)
        print_table(whole, each)
        run.finish(headline(whole, config.env.evaluation.headline), result)

    def _adopted(self, config: Config) -> dict[str, Any]:
        """Return a policy that rsl_rl itself saved as a bundle of ours."""
        from regimen.agents.rsl_rl.adopt import adopt, io_of, joint_order

        io = io_of(config)
        return adopt(Path(str(config.policy)), config, io, joint_order(self.cfg.joints or [], io))[0]

    def prepare(self, config: Config) -> Config:
        """Return a copy of the run's config with the task as it is judged: size, length, noise, disturbances."""
        config = copy.deepcopy(config)
        env = config.env
        env.num_envs = self.cfg.num_envs({"env": asdict(env)})
        env.observation_noise = self.cfg.observation_noise
        if self.cfg.episode_length_s is not None:
            env.episode_length_s = self.cfg.episode_length_s
        if not self.cfg.disturbances:
            for name in env.evaluation.disturbances:
                env.events[name] = None
        if hasattr(env, "curriculum"):
            env.curriculum = {}  # all that is judged is judged by the task as it is written
        return config

    def play(
        self, run: Run, config: Config, env: VecEnv, bundle: dict[str, Any]
    ) -> tuple[EpisodeTable, dict[str, Any]]:
        """Play the first episodes; return them, and what those tell who looked on."""
        policy = load_policy(bundle, env, config.seed)
        command_of_env = assign_commands(config.env.evaluation, env)
        episodes = FirstEpisodes(env.num_envs, env.device)
        told = play(run, env, policy, episodes, config.seed, watchers_of(self.cfg, run, config, env))
        return EpisodeTable.of(episodes, command_of_env, env.step_dt), told

    def _draw(self, run: Run, table: EpisodeTable, each: list[Judgement], config: Config) -> None:
        labels = [command_label(j.command) for j in each]
        times = np.linspace(0, config.env.episode_length_s, 201)
        curves = [survival_curve(table, table.command_of_env == k, times) for k in range(len(each))]
        bars = {name: [j.figures[name] for j in each] for name in each[0].shown()}
        out = run.dir / "figures" / "evaluation.png"
        name = config.env.evaluation.command or "command"
        figures.evaluation(out, labels, bars, times, curves, asked_for(config.env.evaluation.grid), name)
        run.artifact(out, "figure")

    def _result(
        self, config: Config, bundle: dict[str, Any], whole: Judgement, each: list[Judgement]
    ) -> dict[str, Any]:
        policy = {"path": config.policy, "run": bundle.get("run"), "step": bundle.get("step")}
        task = {"episode_length_s": config.env.episode_length_s, "envs_per_command": self.cfg.envs_per_command}
        switches = {"disturbances": self.cfg.disturbances, "observation_noise": self.cfg.observation_noise}
        head = {"policy": policy, "task": config.choices.get("task"), "seed": config.seed} | task | switches
        intervals = f"95 %: bootstrap of {self.cfg.bootstrap} resamples for means, Wilson for survival"
        return head | {"intervals": intervals, "overall": whole.to_dict(), "commands": [j.to_dict() for j in each]}


def grid_problems(judged: dict[str, Any], commands: dict[str, Any]) -> list[str]:
    """Return what is wrong with the grid of a task's `evaluation` section, given the task's `commands`."""
    grid, name, lines = judged.get("grid") or [], judged.get("command"), []
    widths = sorted({len(row) for row in grid})
    if len(widths) > 1:
        lines.append(f"env.evaluation.grid has commands of {widths} values: expected the same number in each row.")
    if 0 in widths:
        lines.append("env.evaluation.grid has an empty command: expected one number for each value of the command.")
    if grid and name is None:
        lines.append("env.evaluation.grid has commands, but env.evaluation.command does not say which term gets them.")
    if name is not None and name in commands and commands[name] is None:
        lines.append(f"env.evaluation.command is `{name}`, but env.commands.{name} is switched off (null).")
    return lines


def load_bundle(policy: str | None) -> dict[str, Any]:
    """Return the checkpoint bundle of `policy`, a path that the launcher resolved, also of an exported one.

    Raises:
        ConfigError: if no policy is named.
        CheckpointError: if the file is not a policy of this project.
    """
    if policy is None:
        raise ConfigError("This stage needs a policy: policy=<run reference or file>, for example policy=latest.")
    path = Path(policy)
    bundle = header.bundle(path) if header.is_exported(path) else checkpoint.load(path)
    missing = sorted({"agent", "io", "policy"} - set(bundle))
    if missing:
        raise CheckpointError(f"{policy} lacks {', '.join(missing)}: expected a checkpoint written by stage=train.")
    return bundle


def assign_commands(cfg: EvaluationCfg, env: VecEnv) -> np.ndarray:
    """Hold the grid's commands fixed, an equal share of envs each; env 0, the one on video, gets the largest.

    Returns:
        (N,) index into the grid of each env.
    """
    grid = cfg.grid or [[]]
    largest = int(np.argmax([np.linalg.norm(command) for command in grid]))
    index = (largest + np.arange(env.num_envs)) % len(grid)
    if cfg.command is not None and cfg.grid:
        values = torch.tensor(cfg.grid, dtype=torch.float32, device=env.device)[torch.as_tensor(index)]
        env.fix_command(cfg.command, values)
    return index


def asked_for(grid: list[list[float]]) -> dict[str, list[float]]:
    """Return what the commands ask for, by figure: the first value is a forward speed, the third a turning rate."""
    asked = {"forward_speed": [command[0] for command in grid]}
    if grid and len(grid[0]) == 3:
        asked["turning_rate"] = [command[2] for command in grid]
    return asked
