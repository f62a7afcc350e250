"""A detector at work: it watches a policy walk in fresh environments of the task, and is judged by what it says."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.failure_detector import report
from regimen.agents.failure_detector.baseline_comparison import Baselines, Guess
from regimen.agents.failure_detector.frames import Frames, Layout, saturated_since
from regimen.agents.failure_detector.metrics import judge
from regimen.agents.failure_detector.predictions import Traces, traces
from regimen.agents.policy_file import load_bundle
from regimen.config.targets import resolve
from regimen.envs import open_env
from regimen.envs.fault_estimate.joints import fault_joints, robot_joints
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.failure_detector.decision_rule import DecisionCfg
    from regimen.config.schema import Config
    from regimen.envs.fault_estimate.estimator import Estimator
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.evaluation.config import EvaluateCfg


def evaluate(run: Run, config: Config, cfg: EvaluateCfg) -> None:
    """Judge `config.estimator` on the first episode of every environment, while `config.policy` acts.

    Commands are drawn as in training; the stage decides how many environments, how long, with what disturbances.

    Raises:
        ConfigError: no estimator is named, or the task has no faults.
    """
    started = time.perf_counter()
    if config.estimator is None:
        raise ConfigError("agent=failure_gru is judged as estimator=<run reference or file>, such as estimator=latest.")
    bundle, watched = load_bundle(config.policy), checkpoint.load(Path(config.estimator))
    env = open_env(_prepared(config, cfg, bundle))
    try:
        estimator = resolve(watched["agent"]["_target_"]).load_estimator(watched, env.io, env.device)
        layout = _layout(config, env, watched["detector"]["group"])
        frames, probabilities, verdicts = _Recording(run, config, env, bundle, estimator, layout).play()
    finally:
        env.close()
    found = {"detector": _with_verdicts(frames, probabilities, verdicts)}
    for name, guess in _baselines(Path(config.estimator), layout).items():
        found[name] = _given(frames, guess(frames.inputs), estimator.decision)
    judged = {n: judge(t, layout.classes, layout.step_dt, cfg.bootstrap, config.seed) for n, t in found.items()}
    report.draw(run, judged, [])
    more = {"policy": config.policy, "estimator": config.estimator, "wall_s": time.perf_counter() - started}
    outcome = report.outcome(judged, {**more, "env_steps": int(frames.mask.sum())})
    run.finish(outcome.headline, outcome.result)


def _prepared(config: Config, cfg: EvaluateCfg, bundle: dict[str, Any]) -> Config:
    """Return the config of the environments: as the stage says, and told to the policy only if it reads estimates."""
    from regimen.envs.fault_estimate.columns import PROBABILITY
    from regimen.stages.evaluate import Evaluate

    config = Evaluate(cfg).prepare(copy.deepcopy(config))
    if PROBABILITY not in bundle["io"]["observations"]["policy"]:
        config.estimator = None
    return config


def _layout(config: Config, env: VecEnv, group: str) -> Layout:
    candidates = fault_joints(config, env)
    if not candidates:
        raise ConfigError(
            f"task={config.choices.get('task')} has no faults to detect: env.evaluation.faults names none that is on."
        )
    return Layout.of(env.io, group, robot_joints(config, env), candidates)


def _baselines(estimator: Path, layout: Layout) -> dict[str, Guess]:
    """Return what the detector was compared with when it was made, if that is still beside it."""
    path = estimator.parent / "baselines.pt"
    return Baselines.load(path, layout).guesses() if path.exists() else {}


class _Recording:
    """The first episode of every environment: what was observed, what was true, what was said."""

    def __init__(
        self, run: Run, config: Config, env: VecEnv, bundle: dict[str, Any], estimator: Estimator, layout: Layout
    ) -> None:
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        self.run, self.seed, self.env, self.estimator, self.layout = run, config.seed, env, estimator, layout
        self.policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)

    def play(self) -> tuple[Frames, torch.Tensor, torch.Tensor]:
        """Return the frames, and the detector's probabilities (N, L, C) and verdicts (N, L)."""
        torch.set_num_threads(1)  # some hundred rows cost more to share than to do; the physics has all threads
        torch.manual_seed(self.seed)
        with torch.inference_mode():
            held, fell = self._loop()
        mask = held["mask"]
        target = held["target"].masked_fill(~mask, 0)
        active = saturated_since(self.layout, held["inputs"], target, held["limit"]) & mask
        unit = torch.arange(len(mask), device=mask.device)
        frames = Frames(held["inputs"], target, active, mask, unit, fell)
        return frames, held["probabilities"], held["verdict"].masked_fill(~mask, -1)

    def _loop(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return name -> (N, L, …) of every observation and what was true and said of it, and who fell (N,)."""
        env, rows = self.env, _Rows()
        obs, state = env.reset(seed=self.seed), None
        begun, running = (torch.ones(env.num_envs, dtype=torch.bool, device=env.device) for _ in range(2))
        fell, table = ~running, self.layout.class_table(env.device)
        fault = torch.full((env.num_envs,), -1, dtype=torch.long, device=env.device)
        limit = torch.full((env.num_envs,), torch.nan, device=env.device)
        for step in range(env.max_episode_length):
            self.run.check_stop(step, lambda: None)
            said = self.estimator.update(obs, begun)
            rows.add(inputs=obs[self.layout.group], target=table[fault], limit=limit, mask=running)
            rows.add(probabilities=said.probabilities, verdict=said.verdict)
            action, state = self.policy.act(obs, state)
            obs, _, terminated, truncated, info = env.step(action)
            fault, limit = info["labels"]["fault_joint"].long(), info["labels"]["fault_limit"]
            fell, begun = fell | (running & terminated), terminated | truncated
            running = running & ~begun
            if begun.any():
                state = self.policy.reset(state, begun.nonzero().squeeze(1))
            if not running.any():
                break
            self.run.progress(iteration=step + 1, iterations=env.max_episode_length, note="watching")
        return rows.stacked(), fell


class _Rows:
    """Rows by name, one after the other."""

    def __init__(self) -> None:
        self._rows: dict[str, list[torch.Tensor]] = {}

    def add(self, **row: torch.Tensor) -> None:
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)

    def stacked(self) -> dict[str, torch.Tensor]:
        """Return name -> (N, L, …)."""
        return {name: torch.stack(parts, dim=1) for name, parts in self._rows.items()}


def _given(frames: Frames, probabilities: torch.Tensor, decision: DecisionCfg) -> Traces:
    return traces(frames.target, probabilities, frames.active, frames.mask, frames.unit, frames.fell, decision)


def _with_verdicts(frames: Frames, probabilities: torch.Tensor, verdicts: torch.Tensor) -> Traces:
    """Return traces with the verdicts that were given at the time."""
    target = frames.target.to(torch.int8)
    found = [target, probabilities, verdicts, frames.active, frames.mask, frames.unit, frames.fell]
    return Traces(*[value.cpu().numpy() for value in found])
