"""The stage that records what a policy does: every observation group, actions, ends and labels, as one HDF5 file."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.system.errors import did_you_mean

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


@dataclass
class CollectCfg:
    """Let `policy` act in the task and record it.

    Attributes:
        steps: control steps of each env; rows of the dataset.
        action_noise: standard deviation of normal noise added to every action, in units of the action.
        gate_envs: envs for each command of `env.evaluation.grid` in which the policy is first tried without faults.
        accept: why data of a policy are wanted that `env.evaluation.gate` refuses; recorded.
        checkpoint_interval: steps between two moments from which a killed run goes on.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "estimator")
    _target_: str = "regimen.stages.collect.Collect"
    steps: int = 3000
    action_noise: float = 0.0
    gate_envs: int = 16
    accept: str | None = None
    checkpoint_interval: int = 512

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        counts = {name: getattr(self, name) for name in ("steps", "gate_envs", "checkpoint_interval")}
        lines = [f"{name}={value}: expected 1 or more." for name, value in counts.items() if value < 1]
        if self.action_noise < 0:
            lines.append(f"action_noise={self.action_noise}: expected 0 or more.")
        if self.accept is not None and not self.accept.strip():
            lines.append("accept=: expected the reason, such as accept='data of falls wanted'.")
        events = config["env"].get("events") or {}
        named = (config["env"].get("evaluation") or {}).get("faults") or []
        return lines + [
            f"env.evaluation.faults names `{name}`, not in env.events. {did_you_mean(name, events)}"
            for name in named
            if name not in events
        ]

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return about what the two open chunks take."""
        from regimen.data.episodes.schema import chunk_steps

        return 2 * 4 * chunk_steps(num_envs) * num_envs * (observation + action + 8)


class Collect:
    """Collects one dataset; continues from `checkpoints/last.pt` where there is one."""

    def __init__(self, cfg: CollectCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Collect to the end, or until a signal asks to stop; then make the data card.

        Raises:
            ConfigError: the policy does not pass the task's gate.
            StopRequested: a signal had come; a checkpoint is written.
        """
        import torch

        from regimen.display.text_tables import print_tables
        from regimen.envs import open_env
        from regimen.envs.term_tables import term_tables
        from regimen.runs import checkpoint
        from regimen.stages.evaluate import load_bundle
        from regimen.stages.recording.episode_recorder import Collection
        from regimen.stages.recording.policy_check import pass_gate

        started = time.perf_counter()
        torch.set_num_threads(1)  # some hundred rows cost more to share than to do; the physics has all threads
        bundle, last = load_bundle(config.policy), run.checkpoints / "last.pt"
        saved = checkpoint.load(last)["collect"] if last.exists() else None
        gate = saved["gate"] if saved else pass_gate(run, config, bundle, self.cfg.gate_envs, self.cfg.accept)
        torch.manual_seed(config.seed)
        env = open_env(config)
        print_tables(term_tables(config.env, env.io))
        try:
            with torch.inference_mode():
                Collection(self.cfg, run, config, env, bundle, gate).collect(saved)
        finally:
            env.close()
        self._finish(run, gate, config, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # others look for a policy there; nothing is left to do

    def _finish(self, run: Run, gate: dict[str, Any], config: Config, wall_s: float) -> None:
        from regimen.data.episodes import card, quality_checks

        run.progress(note="making the data card")
        path = run.dir / "data" / "episodes.h5"
        made = card.make([path], seed=config.seed)
        card.keep_healthy(path, made)
        for file in card.write(made, run.dir / "data", run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = quality_checks.check(made)
        if problems and made["classes"]:
            more = f", and {len(problems) - 1} more in data/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for training a detector: {problems[0].rstrip('.')}{more}.")
        headline = {"samples": float(made["rows"]), "episodes": float(made["episodes"]["count"])}
        if made["classes"]:
            headline["healthy_share"] = made["healthy_share"]
        run.finish(headline, {"dataset": "data/episodes.h5", "gate": gate, "problems": problems, "wall_s": wall_s})
