"""Runs of a report, sorted by content."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from regimen.config.static_types import class_variable
from regimen.config.yaml_io import PlainConfig
from regimen.data.episodes.card_schema import EpisodeCard
from regimen.envs.fault_estimate.columns import resolve_mode
from regimen.runs.record import RunRecord, read_record
from regimen.runs.run import Run
from regimen.stages.evaluation.metrics import EvaluationResult, FaultEvaluationResult
from regimen.system import files
from regimen.system.errors import RunReferenceError
from regimen.system.json_data import Json

FAULTS = "cells"
"""Key of the result of a fault evaluation, stage=evaluate stage.faults=true."""

COMMANDS = "commands"
"""Key of the result of an evaluation without faults."""

DETECTOR = "detector"
"""Key of the result of a detector, of its training and of its evaluation."""


@dataclass
class Source:
    """Finished run.

    Attributes:
        folder: run directory.
        record: its record.
        config: frozen config, plain.
        result: content of result.json.
    """

    folder: Path
    record: RunRecord
    config: PlainConfig
    result: Json = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read the run that contains `path`, such as its result.json.

        Raises:
            RunReferenceError: `path` is in no run directory.
        """
        for folder in (path, *path.parents[:3]) if path.is_dir() else path.parents[:3]:
            record = read_record(folder)
            if record is not None and (folder / "config.yaml").is_file():
                return cls(folder, record, Run(folder).config, files.read_json(folder / "result.json") or {})
        raise RunReferenceError(f"{path} is in no run directory: no run.json with a config.yaml in its parent folders.")

    @cached_property
    def evaluation(self) -> EvaluationResult:
        """Result of an evaluation without faults."""
        return EvaluationResult.from_dict(self.result)

    @cached_property
    def fault_evaluation(self) -> FaultEvaluationResult:
        """Result of a fault evaluation."""
        return FaultEvaluationResult.from_dict(self.result)

    @cached_property
    def card(self) -> EpisodeCard:
        """Card of a recorded dataset."""
        return EpisodeCard.from_dict(files.read_json(self.folder / "data" / "card.json") or {})

    @property
    def id(self) -> str:
        """Name of the run directory."""
        return self.folder.name

    @property
    def name(self) -> str:
        """Name of the run; the id if unnamed."""
        return self.record.name or self.id

    @property
    def stage(self) -> str:
        """Chosen option of `stage`."""
        return str((self.config.get("choices") or {}).get("stage") or "")

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config.get("seed") or 0)

    @property
    def training_seed(self) -> int:
        """Seed of the training of the evaluated detector or policy; of other stages, the seed of the run."""
        training = (
            self.input("estimator" if DETECTOR in self.result else "policy") if self.stage == "evaluate" else None
        )
        return (training or self).seed

    @property
    def wall_s(self) -> float:
        """Wall time in s."""
        return self.record.wall_s

    @property
    def cpu_s(self) -> float:
        """CPU time of all cores in s."""
        return self.record.cpu_s

    @property
    def transitions(self) -> int | None:
        """Transitions of the training up to the checkpoint that an evaluation is of; None without such a training."""
        training, step = self.input("policy"), self.evaluation.policy.step
        if training is None or training.stage != "train" or step is None:
            return None
        return step * int(training.config["env"].get("num_envs", 1))

    def input(self, name: str) -> Source | None:
        """Return the run that produced an input such as `policy` or `data.0`; None if there is none."""
        key, _, number = name.partition(".")
        value = self.config.get(key)
        path = value[int(number)] if number and value else value
        try:
            return Source.read(Path(path)) if path else None
        except RunReferenceError:
            return None

    def inputs(self, key: str) -> list[Source]:
        """Return the runs that produced the inputs of a list such as `data`."""
        runs = [self.input(f"{key}.{i}") for i in range(len(self.config.get(key) or []))]
        return [source for source in runs if source is not None]

    def figures(self) -> list[Path]:
        """Return the figure files of the run, sorted by name."""
        return sorted((self.folder / "figures").glob("*.png"))


@dataclass
class Sources:
    """Runs of a report, by content.

    Attributes:
        fault_evaluations: evaluations of a policy with faults.
        detectors: trainings and evaluations of a failure detector.
        datasets: recorded datasets.
        evaluations: evaluations of a policy without faults.
        others: runs without reportable results, such as demonstrations; shown in the lineage only.
    """

    fault_evaluations: list[Source] = field(default_factory=list)
    detectors: list[Source] = field(default_factory=list)
    datasets: list[Source] = field(default_factory=list)
    evaluations: list[Source] = field(default_factory=list)
    others: list[Source] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Sources:
        """Read the runs of these result.json, each once; one run may serve several steps of a pipeline."""
        sources = cls()
        for source in map(Source.read, dict.fromkeys(path.resolve() for path in paths)):
            sources._list_for(source).append(source)
        return sources

    def _list_for(self, source: Source) -> list[Source]:
        if FAULTS in source.result:
            return self.fault_evaluations
        if DETECTOR in source.result:
            return self.detectors
        if COMMANDS in source.result:
            return self.evaluations
        has_card = (source.folder / "data" / "card.json").is_file()
        return self.datasets if has_card and source.card.demonstrations is None else self.others

    @property
    def all(self) -> Sequence[Source]:
        """All runs."""
        return [*self.fault_evaluations, *self.detectors, *self.datasets, *self.evaluations, *self.others]


@dataclass(frozen=True)
class Variant:
    """Kind of policy.

    Attributes:
        key: short name, in report.json and file names.
        title: name in tables and figures.
        fault_info: information about faults in its observations.
        color: in figures.
    """

    key: str
    title: str
    fault_info: str
    color: str


VARIANTS = (
    Variant("healthy", "healthy", "none; trained without faults", "#777777"),
    Variant("none", "robust", "none; trained with faults", "#8a6d3b"),
    Variant("oracle", "oracle", "true fault, immediately", "#3f8f5b"),
    Variant("oracle_delayed", "delayed oracle", "true fault, after a delay", "#4a9aa5"),
    Variant("classifier", "tolerant", "output of the detector", "#3b6fb6"),
    Variant("classifier_again", "tolerant, second round", "output of a detector trained on its gait", "#7a5ea8"),
    Variant("experts", "switched experts", "the detector selects one of several policies", "#d1762f"),
)

HEALTHY, ORACLE, TOLERANT = VARIANTS[0], VARIANTS[2], VARIANTS[4]

BY_KEY = {variant.key: variant for variant in VARIANTS}


def variant_of(source: Source) -> Variant:
    """Return the kind of policy that a run evaluated."""
    training = source.input("policy") or source
    if class_variable(training.config.get("agent") or {}, "POLICY_FORMAT") == "switched_experts":
        return BY_KEY["experts"]
    mode = resolve_mode(source.config["env"].get("estimate"), source.config.get("estimator"))
    if mode == "classifier" and _second_round(source):
        return BY_KEY["classifier_again"]
    return BY_KEY[mode or "healthy"]


def _second_round(source: Source) -> bool:
    """Return whether the detector was trained on data of a policy that observes a detector."""
    detector = source.input("estimator")
    return detector is not None and any(data.config.get("estimator") for data in detector.inputs("data"))
