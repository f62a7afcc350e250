"""What an evaluation counts, and the figures it draws from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from regimen.config.task_schema import FaultGridCfg
from regimen.stages.evaluation.fault_metrics import fault_metrics
from regimen.stages.evaluation.metrics import (
    EpisodeResults,
    EvaluationMetrics,
    compute_all_metrics,
    headline,
    print_table,
    survival_curve,
)
from regimen.stages.playback.rollout import FirstEpisodeStats


def flags(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.bool)


def test_only_the_first_episode_counts() -> None:
    episodes = FirstEpisodeStats(3, torch.device("cpu"))
    ones = torch.ones(3)
    episodes.add(ones, flags(0, 0, 0), flags(0, 0, 0), {"metrics": {"speed": torch.tensor([1.0, 2.0, 3.0])}})
    episodes.add(ones, flags(1, 0, 0), flags(0, 0, 0), {"metrics": {"speed": torch.tensor([3.0, 2.0, 3.0])}})
    assert not episodes.finished
    episodes.add(5 * ones, flags(1, 0, 1), flags(0, 1, 0), {"metrics": {"speed": torch.tensor([9.0, 5.0, 0.0])}})
    assert episodes.finished
    assert episodes.returns.tolist() == [2.0, 7.0, 7.0]
    assert episodes.steps.tolist() == [2, 3, 3]
    assert episodes.fell.tolist() == [True, False, True]
    assert episodes.means()["speed"].tolist() == [2.0, 3.0, 2.0]


def test_an_episode_that_ends_before_its_metrics_count_is_in_none_of_them(tmp_path: Path) -> None:
    episodes = FirstEpisodeStats(3, torch.device("cpu"), metrics_from=2)
    error = {"metrics": {"error": torch.full((3,), 0.4)}}
    for ends in (flags(0, 0, 0), flags(1, 0, 0), flags(0, 1, 0), flags(0, 0, 1)):
        episodes.add(torch.ones(3), ends, flags(0, 0, 0), error)
    EpisodeResults.of(episodes, np.array([0, 1, 1]), 0.1).write(tmp_path / "episodes.csv")
    table = EpisodeResults.read(tmp_path / "episodes.csv")
    whole, (first, second) = compute_all_metrics(table, [[], []], 50, seed=0)
    assert whole.figures["error"].value == second.figures["error"].value == pytest.approx(0.4)
    assert whole.figures["survival"].value == 0.0 and whole.episodes == 3
    assert "error" not in first.figures and first.figures["return"].value == 2.0


@pytest.mark.parametrize("step_dt", [0.02, 0.1, 1 / 60])
def test_figures_of_the_written_episodes_are_those_of_the_evaluation(tmp_path: Path, step_dt: float) -> None:
    episodes = FirstEpisodeStats(8, torch.device("cpu"))
    for step in range(1, 160):
        ends = torch.tensor([step == last for last in (61, 67, 73, 91, 97, 101, 127, 159)])
        episodes.add(torch.rand(8), ends, flags(*[0] * 8), {})
    live = EpisodeResults.of(episodes, np.ones(8, dtype=int), step_dt)
    live.write(tmp_path / "episodes.csv")
    grid = FaultGridCfg(onset_s=60.2 * step_dt)
    again, expected = (
        fault_metrics(table, np.ones(8, dtype=bool), None, grid, 50, seed=0)
        for table in (EpisodeResults.read(tmp_path / "episodes.csv"), live)
    )
    assert again.time_to_fall_s == expected.time_to_fall_s == pytest.approx((94 - 60.2) * step_dt)
    assert again == expected


def test_an_end_by_success_is_no_fall(capsys: pytest.CaptureFixture[str]) -> None:
    episodes = FirstEpisodeStats(4, torch.device("cpu"))
    ends = [flags(1, 1, 0, 0), flags(0, 0, 1, 0)]
    episodes.add(torch.zeros(4), *ends, {"labels": {"success": flags(1, 0, 0, 0)}})
    episodes.add(torch.zeros(4), flags(0, 1, 1, 1), flags(0, 0, 0, 0), {"labels": {"success": flags(0, 1, 1, 1)}})
    table = EpisodeResults.of(episodes, np.zeros(4, dtype=int), 0.1)
    whole, _ = compute_all_metrics(table, [[]], 50, seed=0)
    assert (whole.falls, whole.figures["survival"].value, whole.figures["success"].value) == (1, 0.75, 0.5)
    assert (whole.figures["timed_out"].value, whole.figures["success_time_s"].value) == (0.25, pytest.approx(0.15))
    assert whole.shown()[0] == "success"
    assert headline(whole, "return")["success"] == 0.5
    none, _ = compute_all_metrics(replace(table, succeeded=np.zeros(4, dtype=bool)), [[]], 50, seed=0)
    assert "success_time_s" not in none.figures
    print_table(whole, [whole, none])
    assert "timed" in capsys.readouterr().out


def test_every_episode_has_one_kind_of_end_and_failures_have_wilson_shares(
    capsys: pytest.CaptureFixture[str],
) -> None:
    episodes = FirstEpisodeStats(6, torch.device("cpu"))
    zero, none = torch.zeros(6), flags(0, 0, 0, 0, 0, 0)
    first = {
        "labels": {"success": flags(1, 0, 0, 0, 0, 0)},
        "ends": {"dropped": flags(0, 1, 0, 0, 0, 0), "out_of_reach": flags(0, 1, 1, 0, 0, 0)},
    }
    episodes.add(zero, flags(1, 1, 1, 1, 0, 0), none, first, flags(1, 1, 1, 1, 0, 1))
    later = {"labels": {"success": none}, "ends": {"dropped": flags(1, 1, 1, 1, 0, 0), "out_of_reach": none}}
    episodes.add(zero, flags(1, 1, 1, 1, 0, 0), flags(0, 0, 0, 0, 1, 1), later, flags(0, 0, 0, 0, 0, 1))
    whole, _ = compute_all_metrics(EpisodeResults.of(episodes, np.zeros(6, dtype=int), 0.1), [[]], 50, seed=0)
    kinds = ("success", "dropped", "out_of_reach", "terminated", "stalled", "timed_out")
    assert whole.ends == dict.fromkeys(kinds, 1)
    assert whole.failures == list(kinds[1:]) and whole.falls == 3
    dropped = whole.figures["dropped"]
    assert dropped.value == pytest.approx(1 / 6) and 0.0 < dropped.low < 1 / 6 < dropped.high < 1.0
    assert EvaluationMetrics.from_dict(whole.to_dict()) == whole
    print_table(whole, [whole])
    assert "out_of_reach 1" in capsys.readouterr().out


def test_a_success_before_the_end_of_a_failed_episode_does_not_count() -> None:
    episodes = FirstEpisodeStats(2, torch.device("cpu"))
    for at_end in (0, 1):
        label = {"labels": {"success": flags(1 - at_end, at_end)}}
        episodes.add(torch.zeros(2), flags(at_end, at_end), flags(0, 0), label)
    assert episodes.succeeded is not None and episodes.succeeded.tolist() == [False, True]
    assert episodes.fell.tolist() == [True, False]


def test_a_termination_with_the_name_of_a_kind_is_counted_as_terminated() -> None:
    episodes = FirstEpisodeStats(4, torch.device("cpu"))
    named = {"success": flags(0, 1, 0, 0), "timed_out": flags(0, 0, 1, 0), "stalled": flags(0, 0, 1, 0)}
    info = {"labels": {"success": flags(1, 0, 0, 0)}, "ends": named}
    episodes.add(torch.zeros(4), flags(1, 1, 1, 0), flags(0, 0, 0, 1), info, flags(0, 0, 0, 1))
    ends = {kind: envs.tolist() for kind, envs in episodes.ends.items()}
    assert ends["success"] == [True, False, False, False] and ends["stalled"] == [False, False, False, True]
    assert ends["terminated"] == [False, True, True, False] and not any(ends["timed_out"])


def test_ends_of_a_task_without_success_are_counted_and_no_columns(table: EpisodeResults) -> None:
    ended = replace(table, ends={"base_contact": table.fell, "timed_out": ~table.fell})
    whole, (_, walk) = compute_all_metrics(ended, [[0.0], [1.0]], 50, seed=0)
    assert (whole.ends, walk.ends) == ({"base_contact": 1, "timed_out": 3}, {"base_contact": 1, "timed_out": 1})
    assert not whole.failures and "timed_out" not in whole.figures


def test_later_values_that_are_not_finite_do_not_spoil_a_finished_episode() -> None:
    episodes = FirstEpisodeStats(1, torch.device("cpu"))
    episodes.add(torch.ones(1), flags(0), flags(1), {})
    episodes.add(torch.tensor([float("nan")]), flags(0), flags(0), {})
    assert episodes.returns.tolist() == [1.0]


@pytest.fixture
def table() -> EpisodeResults:
    """Two commands, 0 and 1 m/s, two episodes each; one fall at 4 s."""
    columns = {
        "return": np.array([1.0, 2.0, 3.0, 4.0]),
        "episode_length_s": np.array([10.0, 10.0, 4.0, 10.0]),
        "forward_speed": np.array([0.1, -0.1, 0.5, 0.9]),
    }
    return EpisodeResults(np.array([0, 0, 1, 1]), columns, np.array([False, False, True, False]))


def test_figures_per_command_and_together(table: EpisodeResults) -> None:
    whole, (stand, walk) = compute_all_metrics(table, [[0.0, 0.0], [1.0, 0.0]], 200, seed=0)
    assert (whole.episodes, whole.falls, walk.falls, stand.falls) == (4, 1, 1, 0)
    assert stand.figures["speed_error"].value == pytest.approx(0.0, abs=1e-12)
    assert walk.figures["speed_error"].value == pytest.approx(0.3)
    assert whole.figures["speed_error"].value == pytest.approx(0.3), "the worst command"
    assert whole.figures["return"].value == 2.5
    assert walk.figures["survival"].value == 0.5
    for judgement in (whole, stand, walk):
        for figure in judgement.figures.values():
            assert figure.low <= figure.value <= figure.high
    assert walk.to_dict()["return"].keys() == {"value", "low", "high"}


def test_a_speed_error_near_zero_lies_in_its_own_interval() -> None:
    """Resampled |mean - wanted| is hardly ever as near to zero as the figure itself: the folded interval is."""
    speeds = 1.0 + np.random.default_rng(0).normal(0.0, 0.1, size=64)
    speeds += 1.0 - speeds.mean() + 1e-6
    columns = {"return": speeds, "episode_length_s": speeds, "forward_speed": speeds}
    table = EpisodeResults(np.zeros(64, dtype=int), columns, np.zeros(64, dtype=bool))
    [judged] = compute_all_metrics(table, [[1.0, 0.0]], 2000, seed=0)[1]
    error = judged.figures["speed_error"]
    assert error.low == 0.0 and error.value == pytest.approx(1e-6)
    assert error.high == pytest.approx(1.96 * speeds.std() / 8, rel=0.15)


def test_survival_curve_drops_when_an_env_falls(table: EpisodeResults) -> None:
    curve = survival_curve(table, table.command_of_env == 1, np.array([0.0, 3.9, 4.0, 10.0]))
    assert curve.tolist() == [1.0, 1.0, 0.5, 0.5]


def test_headline_starts_with_the_tasks_own_figure(table: EpisodeResults) -> None:
    whole, _ = compute_all_metrics(table, [[0.0], [1.0]], 50, seed=0)
    assert list(headline(whole, "speed_error")) == ["speed_error", "return", "survival", "falls"]
    assert headline(whole, "return") == {"return": 2.5, "survival": 0.75, "falls": 1.0}
