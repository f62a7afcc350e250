"""Dataclasses with a plain form: what is written is read again, and records of other versions are read too."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from helpers import episode_files, history_files
from regimen.data.episodes import card as episode_card
from regimen.data.episodes.card_schema import EpisodeCard
from regimen.data.histories import card as history_card
from regimen.data.histories.card import HistoryCard
from regimen.data.histories.reader import HistoryIndex, open_histories
from regimen.display.intervals import Figure
from regimen.stages.evaluation.fault_grid import FaultCase
from regimen.stages.evaluation.metrics import EvaluationMetrics, EvaluationResult, FaultMetrics
from regimen.system.files import read_json, write_json
from regimen.system.json_data import JsonData


@dataclass
class Part(JsonData):
    size: int = 0


@dataclass
class Whole(JsonData):
    name: str
    first: Part | None = None
    parts: list[Part] = field(default_factory=list)
    by_name: dict[str, dict[str, Part]] = field(default_factory=dict)


def test_nested_parts_are_built_and_written() -> None:
    value = Whole("a", Part(1), [Part(2)], {"x": {"y": Part(3)}})
    plain = value.to_dict()
    assert plain == {"name": "a", "first": {"size": 1}, "parts": [{"size": 2}], "by_name": {"x": {"y": {"size": 3}}}}
    assert Whole.from_dict(plain) == value


def test_unknown_keys_are_ignored_and_absent_ones_have_their_defaults() -> None:
    assert Whole.from_dict({"name": "a", "later": 1, "first": {"later": 2}}) == Whole("a", Part())


def test_cards_are_read_as_they_were_written(tmp_path: Path) -> None:
    table = episode_files.balanced(8, 2)
    for path in (episode_files.write(tmp_path / "a.h5", table), episode_files.write(tmp_path / "b.h5", table, gate={})):
        card = episode_card.make([path])
        write_json(tmp_path / "card.json", card.to_dict())
        again = EpisodeCard.from_dict(read_json(tmp_path / "card.json") or {})
        assert again.to_dict() == card.to_dict() and again.problems() == card.problems()
    assert EpisodeCard.from_dict({"rows": 3}).rows == 3, "a card of an earlier version"


def test_histories_and_their_card_are_read_as_they_were_written(tmp_path: Path) -> None:
    returns = np.arange(6.0)
    histories = open_histories(history_files.write(tmp_path, history_files.made([returns, returns], 3)))
    assert HistoryIndex.from_dict(histories.about.to_dict()) == histories.about
    card = history_card.make(histories)
    again = HistoryCard.from_dict(card.to_dict())
    assert again.to_dict() == card.to_dict() and again.problems() == card.problems()


def test_results_of_evaluations_are_read_as_they_were_written() -> None:
    figures = {"return": Figure(1.0, 0.5, 1.5), "survival": Figure(0.9, 0.8, 1.0)}
    metrics = EvaluationMetrics(None, 10, 1, figures)
    result = EvaluationResult(
        task="point", episode_length_s=2.0, envs_per_command=5, disturbances=False, overall=metrics,
        commands=[EvaluationMetrics([0.5], 10, 1, figures)],
    )  # fmt: skip
    assert EvaluationResult.from_dict(result.to_dict() | {"log": {}}) == result
    fault = FaultMetrics(FaultCase("knee", 50.0, 10), metrics, 1.5)
    assert FaultMetrics.from_dict(fault.to_dict()) == fault
    unknown = {"episodes": 1, "falls": 0, "delay": {"value": None, "low": None, "high": None}}
    assert EvaluationMetrics.from_dict(unknown).figures == {}
