"""Judgements of checkpoints: rows that survive a crash, the best by the end of the interval, the end of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from regimen.display.intervals import Figure
from regimen.runs import judgements
from regimen.runs.judgements import Criterion, Judgement, criterion


def judged(step: int, value: float, half: float = 0.1, sim: str = "mujoco") -> Judgement:
    return Judgement(step, sim, "0" * 64, {"all/return": Figure(value, value - half, value + half)})


def test_rows_come_back_by_step_and_damage_costs_one_row(tmp_path: Path) -> None:
    for one in (judged(20, 2.0), judged(10, 1.0), judged(10, 0.5, sim="genesis")):
        judgements.append(tmp_path, one)
    with (tmp_path / judgements.FILE).open("a") as file:
        file.write('{"step": 30, "sim": "mujoco", "Evalu')
    judgements.append(tmp_path, judged(40, 3.0))
    assert judgements.read(tmp_path, "mujoco") == [judged(10, 1.0), judged(20, 2.0), judged(40, 3.0)]
    assert [row.sim for row in judgements.read(tmp_path)] == ["genesis", "mujoco", "mujoco", "mujoco"]
    assert judgements.read(tmp_path / "nowhere") == []


def test_the_worse_end_of_the_interval_decides() -> None:
    rows = [judged(10, 1.0, half=0.1), judged(20, 1.5, half=1.0), judged(30, 1.0, half=0.1)]
    best = Criterion("return", minimize=False).best(rows)
    assert best is not None and best.step == 10, "0.9 is above 0.5, and of equal ones the earliest"
    lowest = Criterion("return", minimize=True).best(rows)
    assert lowest is not None and lowest.step == 10
    assert Criterion("speed", minimize=False).best(rows) is None


@pytest.mark.parametrize(
    ("patience", "stop_at", "values", "ends"),
    [
        (2, None, [1.0, 2.0, 1.9], False),
        (2, None, [1.0, 2.0, 1.9, 1.8], True),
        (None, 1.9, [1.0, 1.95], False),
        (None, 1.9, [1.0, 2.1], True),
        (None, None, [3.0, 2.0, 1.0], False),
        (1, 0.0, [], False),
    ],
)
def test_a_training_ends_by_patience_or_by_a_figure(
    patience: int | None, stop_at: float | None, values: list[float], ends: bool
) -> None:
    rows = [judged(10 * k, value) for k, value in enumerate(values)]
    assert (Criterion("return", False, patience, stop_at).stop_reason(rows) is not None) is ends


@pytest.mark.parametrize(
    ("headline", "evaluation", "expected"),
    [
        ("survival", {}, ("survival", False)),
        ("lin_vel_error", {}, ("lin_vel_error", True)),
        ("lin_vel_error", {"metric": "return"}, ("return", False)),
        ("effort", {"direction": "minimize"}, ("effort", True)),
    ],
)
def test_the_criterion_is_the_headline_of_the_task_and_its_direction_follows_from_the_name(
    headline: str, evaluation: dict[str, Any], expected: tuple[str, bool]
) -> None:
    config = {"stage": {"evaluation": {"every": 10, **evaluation}}, "env": {"evaluation": {"headline": headline}}}
    found = criterion(config)
    assert found is not None and (found.metric, found.minimize) == expected
    assert criterion({"stage": {"checkpoint_interval": 10}, "env": config["env"]}) is None
