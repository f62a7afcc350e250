"""The runs that a report is made from, and what each of them is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from regimen.system import files
from regimen.system.errors import ReferenceError_

FAULTS = "cells"
"""Key of the result of an evaluation over faults, stage=evaluate stage.faults=true."""

COMMANDS = "commands"
"""Key of the result of an evaluation without faults."""

DETECTOR = "detector"
"""Key of the result of a detector: of its training, on held-out envs, and of its evaluation, on fresh episodes."""


@dataclass
class Source:
    """A finished run.

    Attributes:
        folder: its directory.
        info: its run.json.
        config: its frozen configuration, plain.
        result: its result.json.
    """

    folder: Path
    info: dict[str, Any]
    config: dict[str, Any]
    result: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Source:
        """Read the run that a result.json, or another file of a run, lies in.

        Raises:
            ReferenceError_: if it lies in none.
        """
        for folder in (path, *path.parents[:3]) if path.is_dir() else path.parents[:3]:
            info = files.read_json(folder / "run.json")
            if info is not None and (folder / "config.yaml").is_file():
                config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
                return cls(folder, info, config, files.read_json(folder / "result.json") or {})
        raise ReferenceError_(f"{path} belongs to no run: there is no run.json with a config.yaml above it.")

    @property
    def id(self) -> str:
        """Name of its directory."""
        return self.folder.name

    @property
    def name(self) -> str:
        """What it is called by people."""
        return str(self.info.get("name") or self.id)

    @property
    def stage(self) -> str:
        """Option of `stage`."""
        return str((self.config.get("choices") or {}).get("stage") or "")

    @property
    def seed(self) -> int:
        """Its seed."""
        return int(self.config.get("seed") or 0)

    @property
    def training_seed(self) -> int:
        """Seed that what was judged was trained with: the detector, the policy, or what this run itself made."""
        judged = self.input("estimator" if DETECTOR in self.result else "policy") if self.stage == "evaluate" else None
        return (judged or self).seed

    @property
    def wall_s(self) -> float:
        """Time worked on it, in s."""
        return float(self.info.get("wall_s") or 0.0)

    @property
    def cpu_s(self) -> float:
        """Time of all its cores, in s."""
        return float(self.info.get("cpu_s") or 0.0)

    def input(self, name: str) -> Source | None:
        """Return the run that made an input such as `policy` or `data.0`, None where none did."""
        key, _, number = name.partition(".")
        value = self.config.get(key)
        path = value[int(number)] if number and value else value
        try:
            return Source.read(Path(path)) if path else None
        except ReferenceError_:
            return None

    def inputs(self, key: str) -> list[Source]:
        """Return the runs that made the inputs of a list such as `data`."""
        found = [self.input(f"{key}.{i}") for i in range(len(self.config.get(key) or []))]
        return [source for source in found if source is not None]

    def figures(self) -> list[Path]:
        """Return its figures, by name."""
        return sorted((self.folder / "figures").glob("*.png"))


@dataclass
class Sources:
    """All runs of a report, by what they are.

    Attributes:
        fault_evaluations: evaluations of a policy over faults.
        detectors: trainings and evaluations of a failure detector.
        datasets: collections.
        evaluations: evaluations of a policy without faults.
        others: what tells nothing by itself; it stands in the lineage.
    """

    fault_evaluations: list[Source] = field(default_factory=list)
    detectors: list[Source] = field(default_factory=list)
    datasets: list[Source] = field(default_factory=list)
    evaluations: list[Source] = field(default_factory=list)
    others: list[Source] = field(default_factory=list)

    @classmethod
    def read(cls, paths: Iterable[Path]) -> Sources:
        """Read the runs of these result.json, each once: one run may stand for several steps of a pipeline."""
        found = cls()
        for source in map(Source.read, dict.fromkeys(path.resolve() for path in paths)):
            found._place_of(source).append(source)
        return found

    def _place_of(self, source: Source) -> list[Source]:
        if FAULTS in source.result:
            return self.fault_evaluations
        if DETECTOR in source.result:
            return self.detectors
        if COMMANDS in source.result:
            return self.evaluations
        return self.datasets if (source.folder / "data" / "card.json").is_file() else self.others

    @property
    def all(self) -> Sequence[Source]:
        """All of them."""
        return [*self.fault_evaluations, *self.detectors, *self.datasets, *self.evaluations, *self.others]
