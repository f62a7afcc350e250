"""Evaluate a failure detector online, while a policy acts in the task."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.agents.failure_detector import report
from regimen.agents.failure_detector.baselines import Baseline, Baselines
from regimen.agents.failure_detector.frames import Frames, Layout, saturated_since
from regimen.agents.failure_detector.metrics import Predictions, judge, make_predictions
from regimen.agents.policy_file import load_bundle
from regimen.config.targets import resolve
from regimen.envs import open_env
from regimen.envs.fault_estimate.columns import NO_FAULTS, PROBABILITY, keys_of_faults
from regimen.envs.fault_estimate.wrapper import fault_joints, require_classes, robot_joints
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.agents.failure_detector.decision_rule import DecisionCfg
    from regimen.config.schema import Config
    from regimen.envs.fault_estimate.estimator import Estimator
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run
    from regimen.stages.evaluation.config import EvaluateCfg


def evaluate(run: Run, config: Config, cfg: EvaluateCfg) -> None:
    """Evaluate `config.estimator` on the first episode of every env, while `config.policy` acts.

    Commands are sampled as in training; `cfg` sets number of envs, episode length and disturbances.

    Args:
        run: receives figures and result.
        config: of the run.
        cfg: config of the stage.

    Raises:
        ConfigError: no estimator is named, or the task has no faults.
        IOMismatchError: the detector's classes are not the joints that fail in the task.
    """
    started = time.perf_counter()
    if config.estimator is None:
        raise ConfigError("agent=failure_gru needs estimator=<run reference or file>, such as estimator=latest.")
    bundle, detector = load_bundle(config.policy), checkpoint.load(Path(config.estimator))
    env = open_env(_prepared(config, cfg, bundle))
    try:
        estimator = resolve(detector["agent"]["_target_"]).load_estimator(detector, env.io, env.device)
        layout = _layout(config, env, detector["detector"]["group"])
        require_classes(estimator.classes, layout.classes[1:], keys_of_faults(config.env))
        frames, probabilities, verdicts = _DetectorRollout(run, config, env, bundle, estimator, layout).run()
    finally:
        env.close()
    predictions = {"detector": _with_verdicts(frames, probabilities, verdicts)}
    for name, guess in _baselines(Path(config.estimator), layout).items():
        predictions[name] = _decide(frames, guess(frames.inputs), estimator.decision)
    judged = {n: judge(t, layout.classes, layout.step_dt, cfg.bootstrap, config.seed) for n, t in predictions.items()}
    report.draw(run, judged, [])
    more = {"policy": config.policy, "estimator": config.estimator, "wall_s": time.perf_counter() - started}
    result = report.outcome(judged, {**more, "env_steps": int(frames.mask.sum())})
    run.finish(result.headline, result.result)


def _prepared(config: Config, cfg: EvaluateCfg, bundle: PolicyBundle) -> Config:
    """Return the config of the envs; with a fault estimate only if the policy observes it."""
    from regimen.stages.evaluate import Evaluate

    config = Evaluate(cfg).prepare(copy.deepcopy(config))
    if PROBABILITY not in bundle["io"]["observations"]["policy"]:
        config.estimator = None
    return config


def _layout(config: Config, env: VecEnv, group: str) -> Layout:
    candidates = fault_joints(config, env)
    if not candidates:
        raise ConfigError(f"task={config.choices.get('task')}: {NO_FAULTS}")
    return Layout.of(env.io, group, robot_joints(config, env), candidates)


def _baselines(estimator: Path, layout: Layout) -> dict[str, Baseline]:
    """Return the baselines stored beside the detector; empty if there are none."""
    path = estimator.parent / "baselines.pt"
    return Baselines.load(path, layout).guesses() if path.exists() else {}


class _DetectorRollout:
    """Rollout of the first episode of every env: observations, labels and outputs of the detector."""

    def __init__(
        self, run: Run, config: Config, env: VecEnv, bundle: PolicyBundle, estimator: Estimator, layout: Layout
    ) -> None:
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        self._run, self.seed, self.env, self.estimator, self.layout = run, config.seed, env, estimator, layout
        self.policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)

    def run(self) -> tuple[Frames, torch.Tensor, torch.Tensor]:
        """Return the frames, and the detector's probabilities (N, L, C) and verdicts (N, L), all on the CPU.

        Raises:
            StopRequested: a signal asked to stop.
        """
        torch.set_num_threads(1)  # a few hundred rows are slower on several threads; the physics uses all threads
        torch.manual_seed(self.seed)
        with torch.inference_mode():
            columns, fell = self._loop()
        mask = columns["mask"]
        target = columns["target"].masked_fill(~mask, 0)
        active = saturated_since(self.layout, columns["inputs"], target, columns["limit"]) & mask
        unit = torch.arange(len(mask))
        frames = Frames(columns["inputs"], target, active, mask, unit, fell)
        return frames, columns["probabilities"], columns["verdict"].masked_fill(~mask, -1)

    def _loop(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return name -> (N, L, …) of observations, labels and outputs, and which envs fell, (N,) bool, on the CPU."""
        env, rows = self.env, _Rows()
        obs, state = env.reset(seed=self.seed), None
        started, running = (torch.ones(env.num_envs, dtype=torch.bool, device=env.device) for _ in range(2))
        fell, table = ~running, self.layout.class_table(env.device)
        fault = torch.full((env.num_envs,), -1, dtype=torch.long, device=env.device)
        limit = torch.full((env.num_envs,), torch.nan, device=env.device)
        for step in range(env.max_episode_length):
            self._run.check_stop(step, lambda: None)
            estimate = self.estimator.update(obs, started)
            rows.add(inputs=obs[self.layout.group], target=table[fault], limit=limit, mask=running)
            rows.add(probabilities=estimate.probabilities, verdict=estimate.verdict)
            action, state = self.policy.act(obs, state)
            obs, _, terminated, truncated, info = env.step(action)
            fault, limit = info["labels"]["fault_joint"].long(), info["labels"]["fault_limit"]
            fell, started = fell | (running & terminated), terminated | truncated
            running = running & ~started
            if started.any():
                state = self.policy.reset(state, started.nonzero().squeeze(1))
            if not running.any():
                break
            self._run.progress(iteration=step + 1, iterations=env.max_episode_length, note="evaluating the detector")
        return rows.stacked(), fell.cpu()


class _Rows:
    """Rows of tensors by column name."""

    def __init__(self) -> None:
        self._rows: dict[str, list[torch.Tensor]] = {}

    def add(self, **row: torch.Tensor) -> None:
        for name, value in row.items():
            self._rows.setdefault(name, []).append(value)

    def stacked(self) -> dict[str, torch.Tensor]:
        """Return the columns, name -> (N, L, …), on the CPU, where the baselines are."""
        return {name: torch.stack(parts, dim=1).cpu() for name, parts in self._rows.items()}


def _decide(frames: Frames, probabilities: torch.Tensor, decision: DecisionCfg) -> Predictions:
    return make_predictions(
        frames.target, probabilities, frames.active, frames.mask, frames.unit, frames.fell, decision
    )


def _with_verdicts(frames: Frames, probabilities: torch.Tensor, verdicts: torch.Tensor) -> Predictions:
    """Return predictions with the verdicts of the rollout."""
    target = frames.target.to(torch.int8)
    fields = [target, probabilities, verdicts, frames.active, frames.mask, frames.unit, frames.fell]
    return Predictions(*[value.numpy() for value in fields])
