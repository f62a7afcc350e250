"""Stage `collect`: record observations, actions, episode ends and labels of a policy as one HDF5 file.

The policy is checked without faults before.
"""

from __future__ import annotations

import copy
import shutil
import time
from typing import TYPE_CHECKING

from regimen.data.episodes.schema import GateResult
from regimen.envs import open_env
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.evaluation.metrics import EvaluationMetrics, compute_all_metrics
from regimen.stages.recording.config import CollectCfg, CollectResult
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.task_schema import GateCfg
    from regimen.runs.checkpoint_header import PolicyBundle
    from regimen.runs.run import Run

RESAMPLES = 200
"""Resamples of the intervals; the check itself does not use them."""


def require_good_policy(
    run: Run, config: Config, bundle: PolicyBundle, envs_per_command: int, accept: str | None
) -> GateResult:
    """Evaluate the policy for one episode without faults and disturbances, and compare it with `env.evaluation.gate`.

    Args:
        run: receives progress.
        config: of the recording.
        bundle: checkpoint of the policy.
        envs_per_command: envs for each command of the task's grid.
        accept: reason to use a policy that fails the check; None to refuse it.

    Raises:
        ConfigError: the policy fails the check, and `accept` is None.
    """
    gate: GateCfg = config.env.evaluation.gate
    result = GateResult(dict(gate.at_least), dict(gate.at_most), accept)
    if not gate.at_least and not gate.at_most:
        return result
    figures = {name: figure.value for name, figure in _evaluate(run, config, bundle, envs_per_command).figures.items()}
    short = result.short = _short(gate, figures)
    if short and accept is None:
        raise ConfigError(
            f"The policy {config.policy} misses bounds of env.evaluation.gate in task={config.choices.get('task')}, "
            f"measured without faults in {envs_per_command} envs per command: {'; '.join(short)}. Train it further or "
            'choose another policy; to record it anyway, give a reason: stage.accept="<reason>".'
        )
    if short:
        run.warn(f"The policy does not pass the gate ({'; '.join(short)}); accepted: {accept}")
    result.measured = {name: figures[name] for name in (*gate.at_least, *gate.at_most) if name in figures}
    return result


def _short(gate: GateCfg, figures: dict[str, float]) -> list[str]:
    """Return one line for each missed bound; a metric that is not measured misses its bound."""
    lines = []
    for bounds, sign, word in ((gate.at_least, 1.0, "at least"), (gate.at_most, -1.0, "at most")):
        for name, bound in bounds.items():
            value = figures.get(name)
            if value is None:
                lines.append(f"{name} is not measured (only {', '.join(sorted(figures))}), expected {word} {bound:g}")
            elif not sign * value >= sign * bound:
                lines.append(f"{name} {value:.3g}, expected {word} {bound:g}")
    return lines


def _evaluate(run: Run, config: Config, bundle: PolicyBundle, envs_per_command: int) -> EvaluationMetrics:
    """Return the metrics of the policy without faults, over all commands of the grid."""
    evaluate = Evaluate(EvaluateCfg(envs_per_command=envs_per_command, bootstrap=RESAMPLES))
    config = evaluate.prepare(copy.deepcopy(config))
    config.video = False
    for name in config.env.evaluation.faults:
        config.env.events[name] = None
    env = open_env(config)
    try:
        episodes, _ = evaluate.roll_out(run, config, env, bundle)
    finally:
        env.close()
    return compute_all_metrics(episodes, config.env.evaluation.grid or [[]], RESAMPLES, config.seed)[0]


class Collect:
    """Record one dataset; resumes from `checkpoints/last.pt`."""

    def __init__(self, cfg: CollectCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Record all steps and write the data card.

        Raises:
            ConfigError: the policy fails the check `env.evaluation.gate`.
            StopRequested: a signal asked to stop; a checkpoint is written.
        """
        import torch

        from regimen.agents.policy_file import load_bundle
        from regimen.runs import checkpoint
        from regimen.stages.playback.rollout import opened_env
        from regimen.stages.recording.demonstrations import DemonstrationRecorder
        from regimen.stages.recording.recorders import EpisodeRecorder

        started = time.perf_counter()
        torch.set_num_threads(1)  # a few hundred rows are slower on several threads; the physics uses all threads
        saved = checkpoint.saved_part(run, "collect")
        bundle = None if config.policy in self.cfg.DEMONSTRATORS else load_bundle(config.policy)
        if saved is not None:
            gate = GateResult.from_dict(saved["gate"])
        elif bundle is not None:
            gate = require_good_policy(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        else:
            gate = GateResult()
        torch.manual_seed(config.seed)
        attempts = None
        with opened_env(config) as env, torch.inference_mode():
            if self.cfg.episodes is None:
                assert bundle is not None, "a demonstrator without a file records episodes, see CollectCfg.problems"
                EpisodeRecorder(self.cfg, run, config, env, bundle, gate).collect(saved)
            else:
                recorder = DemonstrationRecorder(self.cfg, run, config, env, gate, bundle)
                recorder.collect(saved)
                attempts = recorder.collector.attempts
        self._finish(run, gate, config, attempts, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # the folder holds no policy; nothing is left to resume

    def _finish(self, run: Run, gate: GateResult, config: Config, attempts: int | None, wall_s: float) -> None:
        """Write the data card and the result; `attempts` counts the episodes that were tried for demonstrations."""
        from regimen.data.episodes import card as cards
        from regimen.data.episodes.reader import add_attrs

        run.progress(note="writing the data card")
        path = run.dir / "data" / "episodes.h5"
        if attempts is not None:
            add_attrs(path, {"attempts": attempts})
        card = cards.make([path], seed=config.seed)
        cards.keep_healthy(path, card)
        for file in cards.write(card, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = card.problems()
        if problems and card.classes:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(card.rows), "episodes": float(card.episodes.count)}
        if card.classes:
            headline["healthy_share"] = card.healthy_share
        if (demonstrated := card.demonstrations) is not None:
            headline |= {"success": demonstrated.success_rate, "length": card.episodes.length.mean}
            for line in demonstrated.warnings:
                run.warn(line)
        run.finish(headline, CollectResult(gate=gate, problems=problems, wall_s=wall_s, attempts=attempts).to_dict())
