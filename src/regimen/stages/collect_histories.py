"""The stage that records learning histories, the data of algorithm distillation: in each env a learner gets better."""

from __future__ import annotations

import shutil
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.envs.mass_randomization import MassRangeCfg
from regimen.system.errors import did_you_mean

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run

MODES = ("checkpoints", "noise", "expert")
BOXES = ("demonstrator", "limits", "clip")


@dataclass
class NoiseCfg:
    """Noise that decays along a history: a = (1 - ε) π(o) + ε u, u uniform in a box, ε constant within an episode.

    ε = (1 - r^p)^(1/p) with r from 0 to 1 over the history but its last, noise-free share: continuous noise
    distillation (Vintix, arXiv 2501.19400). A discrete action is replaced by any one with probability ε, as in AD^ε
    (arXiv 2312.12275).

    Attributes:
        power: p; above 1 the noise goes late, below 1 early.
        noise_free: share of the history at its end that has none.
        box: where u is drawn, for each joint: `demonstrator` from the lowest to the highest action of the policy in a
            trial without noise; `limits` all targets within the joint's range; `clip` the bounds of the action.
    """

    power: float = 0.6
    noise_free: float = 0.05
    box: str = "demonstrator"

    def problems(self) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        lines = []
        if self.power <= 0:
            lines.append(f"noise.power={self.power:g}: expected more than 0.")
        if not 0 < self.noise_free < 1:
            lines.append(f"noise.noise_free={self.noise_free:g}: expected a share between 0 and 1.")
        if self.box not in BOXES:
            lines.append(f"noise.box={self.box}: {did_you_mean(self.box, BOXES)}")
        return lines


@dataclass
class CollectHistoriesCfg:
    """Record one learning history in each env.

    Attributes:
        mode: `noise`: the policy behind noise that decays; `checkpoints`: those of the trainings `runs` in order;
            `expert`: the policy as it is, for comparison only, because nothing improves.
        episodes: of each history, if they are counted; else null.
        steps: of each history, if they are counted; else null.
        group: name shared by tasks with the same observations and actions; null: the task's.
        reward_scale: factor that a learner applies to rewards; the file holds them as they are.
        episode_sparsity: a learner reads every so many-th episode.
        thin: every so many-th checkpoint of a training is used, and its last one.
        noise: see `NoiseCfg`.
        domain_randomization: see `MassRangeCfg`.
        checkpoint_interval: steps between two moments from which a killed run goes on.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("policy", "runs", "estimator")
    _target_: str = "regimen.stages.collect_histories.CollectHistories"
    mode: str = "noise"
    episodes: int | None = None
    steps: int | None = None
    group: str | None = None
    reward_scale: float = 1.0
    episode_sparsity: int = 1
    thin: int = 1
    noise: NoiseCfg = field(default_factory=NoiseCfg)
    domain_randomization: MassRangeCfg = field(default_factory=MassRangeCfg)
    checkpoint_interval: int = 512

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        lines = [f"mode={self.mode}: {did_you_mean(self.mode, MODES)}"] if self.mode not in MODES else []
        if (self.episodes is None) == (self.steps is None):
            lines.append(f"episodes={self.episodes}: expected either this or stage.steps={self.steps}, the other null.")
        counts = {name: getattr(self, name) for name in ("episodes", "steps", "episode_sparsity", "thin")}
        counts["checkpoint_interval"] = self.checkpoint_interval
        lines += [f"{name}={value}: expected 1 or more." for name, value in counts.items() if (value or 1) < 1]
        if self.episodes == 0 or self.steps == 0:
            lines.append("episodes=0 or steps=0: expected 1 or more.")
        if self.reward_scale <= 0:
            lines.append(f"reward_scale={self.reward_scale:g}: expected more than 0.")
        return lines + self._inputs(config) + self.noise.problems() + self.domain_randomization.problems(config["env"])

    def _inputs(self, config: dict[str, Any]) -> list[str]:
        """Return a line if it is not clear who acts."""
        if self.mode == "checkpoints":
            if not config.get("runs"):
                return ["mode=checkpoints: needs trainings: runs=[<run reference>,…]."]
            return ["mode=checkpoints: reads runs=[…], not policy=. Take it away."] if config.get("policy") else []
        if config.get("runs"):
            return [f"mode={self.mode}: reads policy=, not runs=[…]. Take them away, or set stage.mode=checkpoints."]
        if config.get("policy") is None and str(config["env"].get("_target_", "")).endswith(".ManagerEnv"):
            return [f"mode={self.mode}: needs a policy: policy=<run reference>, <file> or pretrained:<name>."]
        return []

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        """Return about what the open chunks take, and the rows that are taken apart at the end."""
        from regimen.data.episodes.schema import chunk_steps
        from regimen.data.histories.file import BLOCK
        from regimen.data.histories.writer import ENVS_AT_ONCE

        rows = 2 * chunk_steps(num_envs) * num_envs + BLOCK * min(num_envs, ENVS_AT_ONCE)
        return 4 * rows * (observation + action + 6)


class CollectHistories:
    """Collects one dataset of histories; continues from `checkpoints/last.pt` where there is one."""

    def __init__(self, cfg: CollectHistoriesCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Collect to the end, or until a signal asks to stop; then make the data card.

        Raises:
            ConfigError: nobody is there to act.
            StopRequested: a signal had come; a checkpoint is written.
        """
        import torch

        from regimen.display.text_tables import print_tables
        from regimen.envs import open_env
        from regimen.envs.mass_randomization import randomize_mass
        from regimen.envs.term_tables import term_tables
        from regimen.runs import checkpoint
        from regimen.stages.recording.actors import find_actor
        from regimen.stages.recording.history_recorder import HistoryCollection

        started = time.perf_counter()
        torch.set_num_threads(1)  # as in stage=collect
        randomize_mass(config, self.cfg.domain_randomization)
        last = run.checkpoints / "last.pt"
        saved = checkpoint.load(last)["collect"] if last.exists() else None
        env = open_env(config)
        print_tables(term_tables(config.env, env.io))
        try:
            with torch.inference_mode():
                actor = find_actor(self.cfg, config, env)
                path = HistoryCollection(self.cfg, run, config, env, actor).collect(saved)
        finally:
            env.close()
        self._finish(run, path, time.perf_counter() - started)
        shutil.rmtree(run.checkpoints, ignore_errors=True)  # others look for a policy there; nothing is left to do

    def _finish(self, run: Run, path: Any, wall_s: float) -> None:
        from regimen.data.histories import quality_checks
        from regimen.data.histories.card import make, write
        from regimen.data.histories.reader import open_histories

        run.progress(note="making the data card")
        card = make(open_histories(path))
        for file in write(card, path.parent, run.dir / "figures"):
            run.artifact(file, "figure" if file.suffix == ".png" else "table")
        run.artifact(path, "dataset")
        problems = quality_checks.check(card)
        if problems:
            more = f", and {len(problems) - 1} more in data/histories/card.md" if len(problems) > 1 else ""
            run.warn(f"not fit for learning in context: {problems[0].rstrip('.')}{more}.")
        headline = {"histories": float(len(card["histories"])), "samples": float(card["rows"])}
        headline |= {"spearman": card["spearman"], "expert_score": card["expert_score"]}
        more_known = {"dataset": "data/histories/histories.json", "problems": problems, "wall_s": wall_s}
        run.finish(headline, {**more_known, "random_score": card["random_score"], "stage": asdict(self.cfg)})
