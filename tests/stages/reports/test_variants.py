"""Which kind of policy an evaluation is of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.fault_studies import dataset, detector, evaluation, made
from regimen.stages.reports.sources import Source, Sources, variant_of


@pytest.mark.parametrize(
    ("mode", "known", "key"),
    [
        (None, {}, "healthy"),
        ("none", {}, "none"),
        ("oracle_delayed", {}, "oracle_delayed"),
        (None, {"estimator": "somewhere.pt"}, "classifier"),
        ("classifier", {"estimator": "somewhere.pt"}, "classifier"),
    ],
)
def test_by_its_estimate(tmp_path: Path, mode: str | None, known: dict[str, Any], key: str) -> None:
    assert variant_of(Source.read(evaluation(tmp_path, "a", mode, 5, **known))).key == key


@pytest.mark.parametrize(("estimator", "key"), [(None, "classifier"), ("first.pt", "classifier_again")])
def test_the_second_round_is_told_by_the_data_of_its_detector(tmp_path: Path, estimator: str | None, key: str) -> None:
    data = dataset(tmp_path, "data", estimator=estimator)
    learnt = detector(tmp_path, "detector", "distill", 0.9, data=[str(data.parent / "data/episodes.h5")])
    path = evaluation(tmp_path, "a", "classifier", 5, estimator=str(learnt.parent / "checkpoints/best.pt"))
    assert variant_of(Source.read(path)).key == key


def test_switched_experts_are_told_by_the_policy_that_was_evaluated(tmp_path: Path) -> None:
    agent = {"agent": {"_target_": "regimen.agents.switched_experts.SwitchedExperts"}}
    parts = made(tmp_path, "parts", {"choices": {"stage": "assemble"}, "env": {}, **agent}, {})
    policy = str(parts.parent / "checkpoints/last.pt")
    path = evaluation(tmp_path, "a", "classifier", 5, policy=policy, estimator="some.pt")
    assert variant_of(Source.read(path)).key == "experts"


def test_the_seed_that_counts_is_that_of_what_was_judged(tmp_path: Path) -> None:
    learnt = detector(tmp_path, "learnt", "distill", 0.9, seed=2)
    weights = str(learnt.parent / "checkpoints/best.pt")
    tried = detector(tmp_path, "tried", "evaluate", 0.9, seed=1000, estimator=weights)
    assert (Source.read(tried).training_seed, Source.read(learnt).training_seed) == (2, 2)


def test_runs_are_sorted_by_what_they_tell(tmp_path: Path) -> None:
    paths = [
        evaluation(tmp_path, "policy", None, 5),
        detector(tmp_path, "learnt", "distill", 0.9),
        detector(tmp_path, "tried", "evaluate", 0.8),
        dataset(tmp_path, "data"),
    ]
    found = Sources.read(paths)
    assert [s.id for s in found.fault_evaluations] == ["policy"] and [s.id for s in found.datasets] == ["data"]
    assert [s.id for s in found.detectors] == ["learnt", "tried"] and not found.others
