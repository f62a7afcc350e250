"""A GRU that detects which joint of a robot has failed, trained on recorded episodes with labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.agents.base import OpenedData
from regimen.agents.failure_detector.baselines import Baselines, guess_of, judge_all
from regimen.agents.failure_detector.decision_rule import DecisionCfg
from regimen.agents.failure_detector.frames import FrameSets, Layout
from regimen.agents.failure_detector.model import GruNet, ModelCfg
from regimen.agents.failure_detector.online import StreamingDetector
from regimen.agents.failure_detector.trainer import Training, TrainingCfg
from regimen.config import structured
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.agents.base import FitResult
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.data.episodes.splits import Splits
    from regimen.runs.checkpoint import Checkpoints
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run


@dataclass(frozen=True)
class DetectorData:
    """What a detector learns from.

    Attributes:
        paths: files of episodes, all of the same kind.
        splits: which envs are for training, validation and test.
        io: names and sizes of observations and actions.
        joints: all joints of the robot, in the order of labels and torques.
        candidates: those that may fail.
        memory_bytes: what may be in memory at once.
    """

    paths: list[Path]
    splits: Splits
    io: IOSpec
    joints: list[str]
    candidates: list[str]
    memory_bytes: int


def open_datasets(config: Config, memory_gb: float, group: str) -> OpenedData:
    """Return the data of a run that distils a detector, and the quality checks that they failed.

    Everything is counted again over all datasets together, because the card of a dataset covers only that one.

    Args:
        config: names the datasets.
        memory_gb: limit for the data in memory, in GiB.
        group: observation group that is read; in the others the datasets may differ.
    """
    from regimen.data.episodes import card as cards
    from regimen.data.episodes.reader import open_all
    from regimen.data.episodes.splits import split

    paths = [Path(path) for path in config.data]
    card = cards.make(paths, config.seed, group)
    by_split = card.to_dict()["by_split"]
    about = {"rows": card.rows, "episodes": card.episodes_by_class, "by_split": by_split}
    files = open_all(paths, group)
    try:
        splits = split([file.num_envs for file in files], config.seed)
        memory, first = int(memory_gb * 2**30), files[0]
        data = DetectorData([f.path for f in files], splits, first.io, first.joints, card.classes, memory)
        return OpenedData(data, about, card.problems(), "for training a detector")
    finally:
        for file in files:
            file.close()


@dataclass
class FailureGruCfg:
    """A failure detector.

    Attributes:
        group: observation group that it reads.
        model: the network.
        training: hyperparameters of the training.
        decision: the decision rule.
        resamples: bootstrap samples of envs behind each 95 % interval.
    """

    WATCHES: ClassVar[bool] = True
    EVALUATOR: ClassVar[str] = "regimen.stages.detector_evaluation:evaluate"
    DATA: ClassVar[str] = ".h5"
    POLICY_FORMAT: ClassVar[str] = "failure_gru"
    _target_: str = "regimen.agents.failure_detector.FailureGru"
    group: str = "discriminator"
    model: ModelCfg = field(default_factory=ModelCfg)
    training: TrainingCfg = field(default_factory=TrainingCfg)
    decision: DecisionCfg = field(default_factory=DecisionCfg)
    resamples: int = 1000

    def problems(self, config: PlainConfig) -> list[str]:
        """Return what is wrong with the figures, one line each."""
        lines = [*self.model.problems(), *self.training.problems(), *self.decision.problems()]
        if self.resamples < 1:
            lines.append(f"resamples={self.resamples}: expected 1 or more.")
        return lines


class FailureGru:
    """Trains a failure detector."""

    def __init__(self, cfg: FailureGruCfg, device: torch.device, seed: int) -> None:
        """Store the settings; `fit` builds the network."""
        self.cfg, self.device, self.seed = cfg, device, seed

    @classmethod
    def open_data(cls, config: Config, memory_gb: float) -> OpenedData:
        """Return the datasets of a run, split and checked; see `regimen.agents.failure_detector.agent`.

        Args:
            config: of the run; names the datasets.
            memory_gb: limit for the data in memory, in GiB.
        """
        return open_datasets(config, memory_gb, config.agent.group)

    def fit(self, data: DetectorData, run: Run, checkpoints: Checkpoints) -> FitResult:
        """Train, evaluate on the test split beside the baselines, and draw; resume a stopped run.

        Args:
            data: the datasets, split.
            run: receives metrics and figures.
            checkpoints: receives the detector.
        """
        from regimen.agents.failure_detector import report

        # The steps of a recurrent network are small: measured at 64 units, a second thread makes them slower.
        torch.set_num_threads(1)
        layout = Layout.of(data.io, self.cfg.group, data.joints, data.candidates)
        sets = FrameSets.open(layout, data.io, data.paths, data.splits, data.memory_bytes)
        torch.manual_seed(self.seed)
        net = GruNet(layout.size, len(layout.classes), self.cfg.model).to(self.device)
        store = _DetectorCheckpoints(checkpoints, self._head(layout, data.io))
        training = Training(net, sets, self.cfg.training, run, store, self.seed, run.log)
        training.fit()
        baselines = Baselines.fit(sets, self.cfg.training, run, checkpoints.folder / "baselines.pt", self.seed)
        run.progress(note="judging on the test split")
        guesses = {"detector": guess_of(net), **baselines.guesses()}
        frames = sets.test.epoch(self.cfg.training.batch_size)
        judged = judge_all(guesses, frames, layout, self.cfg.decision, self.cfg.resamples, self.seed)
        sets.close()
        report.draw(run, judged, training.history)
        return report.outcome(judged, {"epochs": len(training.history), "data_share": training.data_share})

    def _head(self, layout: Layout, io: IOSpec) -> PolicyBundle:
        detector = {"classes": list(layout.classes), "group": layout.group}
        return {"agent": asdict(self.cfg), "io": io.to_dict(), "detector": detector}

    @classmethod
    def load_estimator(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> StreamingDetector:
        """Return the detector of a checkpoint for an environment.

        Args:
            bundle: content of the checkpoint.
            io: names of the environment's observations; those of the detector's group must be the same.
            device: of the observations.

        Raises:
            IOMismatchError: naming what differs.
            CheckpointError: if it is no detector.
        """
        if "detector" not in bundle:
            raise CheckpointError("estimator=…: expected a detector made by stage=distill, found another checkpoint.")
        cfg: FailureGruCfg = structured.build(FailureGruCfg, bundle["agent"])
        IOSpec.from_dict(bundle["io"]).require_fits(io, "detector", (cfg.group,))
        classes = tuple(bundle["detector"]["classes"])
        net = GruNet(io.size(cfg.group), len(classes), cfg.model).to(device)
        net.load_state_dict(bundle["detector"]["network"])
        return StreamingDetector(net, classes, cfg.group, cfg.decision, io.step_dt)


class _DetectorCheckpoints:
    """The `BestCheckpointStore` of a detector, whose network and training state are separate parts."""

    def __init__(self, checkpoints: Checkpoints, head: PolicyBundle) -> None:
        self.checkpoints, self.head = checkpoints, head

    def load(self) -> StateDict | None:
        last = self.checkpoints.last
        return checkpoint.load(last)["training"] if last.exists() else None

    def save(
        self,
        step: int,
        network: StateDict,
        training: StateDict,
        metric: float | None,
        epoch: int | None = None,
    ) -> None:
        detector = {**self.head["detector"], "network": network}
        self.checkpoints.save(step, {**self.head, "detector": detector, "training": training}, metric)

    def best(self) -> StateDict:
        network: StateDict = checkpoint.load(Path(self.checkpoints.best))["detector"]["network"]
        return network
