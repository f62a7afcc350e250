"""Stage `evaluate`: evaluate a policy on fixed commands, over the first episode of each env, with intervals."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.policy_file import load_bundle, load_policy, require_fits
from regimen.config.targets import resolve
from regimen.config.task_schema import switch_off_events
from regimen.data.episode_collector import scripted_demonstrator
from regimen.display import figures
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.ground import (
    assign_ground,
    compute_ground_metrics,
    draw_ground_metrics,
    print_ground,
)
from regimen.stages.evaluation.ground_cases import ground_cases
from regimen.stages.evaluation.metrics import (
    EPISODES,
    EpisodeResults,
    EvaluationMetrics,
    EvaluationResult,
    PolicyOrigin,
    command_label,
    compute_all_metrics,
    headline,
    print_table,
    survival_curve,
)
from regimen.stages.playback.browser_viewer import open_page, play_freely
from regimen.stages.playback.observers import make_observers
from regimen.stages.playback.rollout import FirstEpisodeStats, opened_env, roll_out

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.task_schema import EvaluationCfg
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run
    from regimen.stages.playback.browser_page import BrowserPage
    from regimen.system.json_data import Json


class Evaluate:
    """Evaluate one policy; see `EvaluateCfg`."""

    def __init__(self, cfg: EvaluateCfg) -> None:
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Evaluate `config.policy`; write result.json, the episodes, a figure, and the video of `video=true`.

        The dataclass of an agent that is no policy, such as a failure detector, names its own evaluation as
        `EVALUATOR: ClassVar[str] = "pkg.mod:function"`; it is called with `run`, `config` and `EvaluateCfg`.
        """
        evaluator = getattr(config.agent, "EVALUATOR", None)
        if evaluator is not None:
            return resolve(evaluator)(run, config, self.cfg)
        started = time.perf_counter()
        torch.set_num_threads(1)  # a few hundred rows are slower on several threads; the physics uses all threads
        config = self.prepare(config)
        bundle = self._bundle(config)
        if bundle is not None and self.cfg.player is not None:
            return self._play(run, config, bundle, self.cfg.player)
        if bundle is not None and self.cfg.faults:
            from regimen.stages.evaluation.fault_evaluation import evaluate_faults

            return evaluate_faults(run, config, self.cfg, bundle)
        with opened_env(config) as env, open_page(self.cfg, run, config, env) as page:
            episodes, observed = self.roll_out(run, config, env, bundle, page)
            self._finish(run, config, bundle, episodes, observed, env.step_dt, started)
            if page is not None and bundle is not None:
                play_freely(run, env, load_policy(bundle, env, config.seed), page)

    def _finish(
        self,
        run: Run,
        config: Config,
        bundle: PolicyBundle | None,
        episodes: EpisodeResults,
        observed: Json,
        step_dt: float,
        started: float,
    ) -> None:
        """Print, record and draw what the episodes show."""
        episodes.write(run.dir / EPISODES)
        run.artifact(run.dir / EPISODES, "table")
        grid = config.env.evaluation.grid or [[]]
        overall, by_command = compute_all_metrics(episodes, grid, self.cfg.bootstrap, config.seed)
        result = self._result(config, bundle, overall, by_command)
        cases = ground_cases(asdict(config.env))
        result.ground = compute_ground_metrics(episodes, cases, len(grid), self.cfg.bootstrap, config.seed)
        result.env_steps = round(float(episodes.columns["episode_length_s"].sum()) / step_dt)
        result.wall_s = time.perf_counter() - started
        print_table(overall, by_command)
        if result.ground:
            print_ground(result.ground)
            run.draw("ground.png", lambda path: draw_ground_metrics(path, result.ground))
        run.finish(headline(overall, config.env.evaluation.headline), result.to_dict() | observed)
        run.draw("evaluation.png", lambda path: self._draw(path, episodes, by_command, config))

    def _play(self, run: Run, config: Config, bundle: PolicyBundle, player: str) -> None:
        """Let a registered player play; the result has the mean reward and length of its episodes."""
        with opened_env(config) as env:
            require_fits(bundle, env)
            agent = resolve(bundle["agent"]["_target_"])
            means = agent.play(bundle, env, player, config.seed, self.cfg.games_num)
        print("av reward: {av_reward:g} av steps: {av_steps:g} games: {games:g}".format(**means))
        run.finish(means, {"player": player})

    def _bundle(self, config: Config) -> PolicyBundle | None:
        """Return the checkpoint of the policy; None for the scripted expert."""
        if config.policy in self.cfg.DEMONSTRATORS:
            return None
        return load_bundle(config.policy) if self.cfg.joints is None else self._adopt(config)

    def _adopt(self, config: Config) -> PolicyBundle:
        """Return the checkpoint bundle of a policy that rsl_rl itself saved."""
        from regimen.agents.adoption import joint_order
        from regimen.agents.rsl_rl.adopt import adopt
        from regimen.envs.task_io import io_of

        io = io_of(config)
        return adopt(Path(str(config.policy)), config, io, joint_order(self.cfg.joints or [], io))[0]

    def prepare(self, config: Config) -> Config:
        """Return a copy of `config` with the stage's number of envs, episode length, noise and disturbances."""
        config = copy.deepcopy(config)
        env = config.env
        env.num_envs = self.cfg.num_envs({"env": asdict(env)})
        env.observation_noise = self.cfg.observation_noise
        if self.cfg.episode_length_s is not None:
            env.episode_length_s = self.cfg.episode_length_s
        if not self.cfg.disturbances:
            switch_off_events(env, env.evaluation.disturbances)
        if hasattr(env, "curriculum"):
            env.curriculum = {}  # the evaluation uses the task's own settings
        return config

    def roll_out(
        self,
        run: Run,
        config: Config,
        env: VecEnv,
        bundle: PolicyBundle | None,
        page: BrowserPage | None = None,
    ) -> tuple[EpisodeResults, Json]:
        """Roll out the first episodes; return their results and the entries of the observers for result.json.

        Args:
            run: receives progress and files.
            config: prepared by `prepare`.
            env: of this config.
            bundle: checkpoint of the policy; None for the scripted expert of the task.
            page: that shows the episodes.

        Raises:
            ConfigError: the task has no scripted expert.
            IOMismatchError: the policy does not fit the env.
        """
        policy = ScriptedPolicy(env, config.seed) if bundle is None else load_policy(bundle, env, config.seed)
        command_of_env = assign_commands(config.env.evaluation, env)
        assign_ground(ground_cases(asdict(config.env)), env, len(config.env.evaluation.grid or [[]]))
        stats = FirstEpisodeStats(env.num_envs, env.device)
        observers = make_observers(self.cfg, run, config, env, page)
        observed = roll_out(run, env, policy, stats, config.seed, observers)
        episodes = EpisodeResults.of(stats, command_of_env, env.step_dt)
        for observer in observers:
            episodes.columns |= observer.columns()
        return episodes, observed

    def _draw(self, out: Path, episodes: EpisodeResults, by_command: list[EvaluationMetrics], config: Config) -> None:
        labels = [command_label(j.command) for j in by_command]
        times = np.linspace(0, config.env.episode_length_s, 201)
        curves = [survival_curve(episodes, episodes.command_of_env == k, times) for k in range(len(by_command))]
        bars = {name: [j.figures[name] for j in by_command] for name in EvaluationMetrics.common(by_command)}
        name = config.env.evaluation.command or "command"
        figures.evaluation(out, labels, bars, times, curves, commanded_values(config.env.evaluation.grid), name)

    def _result(
        self,
        config: Config,
        bundle: PolicyBundle | None,
        overall: EvaluationMetrics,
        by_command: list[EvaluationMetrics],
    ) -> EvaluationResult:
        run, step = (None, None) if bundle is None else (bundle.get("run"), bundle.get("step"))
        return EvaluationResult(
            policy=PolicyOrigin(config.policy, run, step),
            task=config.choices.get("task"),
            seed=config.seed,
            episode_length_s=config.env.episode_length_s,
            envs_per_command=by_command[0].episodes,  # on uneven ground more than `stage.envs_per_command` may be
            disturbances=self.cfg.disturbances,
            observation_noise=self.cfg.observation_noise,
            intervals=f"95 %: bootstrap of {self.cfg.bootstrap} resamples for means, Wilson for shares of episodes",
            overall=overall,
            commands=by_command,
        )


class ScriptedPolicy:
    """The scripted expert of a task without noise, as a policy."""

    def __init__(self, env: VecEnv, seed: int) -> None:
        """Begin in all envs.

        Raises:
            ConfigError: the task has no scripted expert.
        """
        self._expert = scripted_demonstrator(env, 0.0, seed)

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the actions (N, A); the expert reads the envs, not `obs`."""
        return self._expert.act(obs), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Start over in the envs `env_ids` (n,)."""
        self._expert.reset(env_ids)


def assign_commands(cfg: EvaluationCfg, env: VecEnv) -> np.ndarray:
    """Hold the commands of the grid fixed, each in an equal share of envs; env 0, in the video, gets the largest.

    Returns:
        (N,) index into the grid, for each env.
    """
    grid = cfg.grid or [[]]
    largest = int(np.argmax([np.linalg.norm(command) for command in grid]))
    index = (largest + np.arange(env.num_envs)) % len(grid)
    if cfg.command is not None and cfg.grid:
        values = torch.tensor(cfg.grid, dtype=torch.float32, device=env.device)[torch.as_tensor(index)]
        env.fix_command(cfg.command, values)
    return index


def commanded_values(grid: list[list[float]]) -> dict[str, list[float]]:
    """Return the commanded values by metric: the first value is the forward speed, the third the turning rate.

    Args:
        grid: commands; none of a task without a command.
    """
    if not grid:
        return {}
    commanded = {"forward_speed": [command[0] for command in grid]}
    if len(grid[0]) == 3:
        commanded["turning_rate"] = [command[2] for command in grid]
    return commanded
