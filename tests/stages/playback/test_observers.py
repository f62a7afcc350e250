"""Who looks on while a policy plays: how long, what is seen, what is told, and that it changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from helpers.messages import assert_names
from helpers.point_env import PointEnv
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.stages.playback import observers
from regimen.stages.playback.observers import RealTimePacer
from stages.pictures import frames
from stages.test_evaluate import evaluate, save_policy


@pytest.mark.parametrize("length", [pytest.param(7, marks=pytest.mark.slow), 60])
@pytest.mark.slow
def test_a_film_of_so_many_steps_is_shorter_or_longer_than_an_episode(tmp_path, monkeypatch, length):
    ages: list[int] = []

    def render(env: PointEnv) -> np.ndarray:
        ages.append(int(env.age[0]))
        return np.zeros((48, 64, 3), np.uint8)

    monkeypatch.setattr(PointEnv, "render", render)
    policy = save_policy(tmp_path)
    watched = evaluate(tmp_path, policy, EvaluateCfg(envs_per_command=4, bootstrap=20, video_length=length), video=True)
    assert frames(watched["dir"] / "video" / "eval.mp4") == len(ages) == length
    assert (ages.count(0) > 1) == (length > 25), "it goes on into further episodes"
    plain = evaluate(tmp_path, policy, EvaluateCfg(envs_per_command=4, bootstrap=20))
    assert watched["commands"] == plain["commands"], "only first episodes count, however long is played"


class Hands:
    """A clock that goes on only while somebody sleeps: the machine's own speed does not count."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Hands:
    hands = Hands()
    monkeypatch.setattr(observers, "time", hands)
    return hands


def test_real_time_is_kept_and_told(tmp_path, capsys, hands):
    cfg = EvaluateCfg(envs_per_command=1, bootstrap=20, episode_length_s=0.6, real_time=True)
    result = evaluate(tmp_path, save_policy(tmp_path), cfg)
    assert result["real_time_factor"] == pytest.approx(1.0) and hands.now == pytest.approx(0.6)
    assert_names(capsys.readouterr().out, "1.000", "0.6 s")


def test_a_clock_that_cannot_keep_up_says_so_and_does_not_rush_afterwards(hands):
    clock, warned = RealTimePacer(step_dt=0.02), []
    none: Any = None
    clock.on_step_start(0, {})
    hands.sleep(0.1)  # a slow first step
    for _ in range(3):
        clock.on_step_end(none, none, none, none)
    assert hands.now == pytest.approx(0.14), "the two steps that follow take their time"
    run: Any = type("Run", (), {"warn": lambda self, text: warned.append(text)})()
    assert clock.results(run)["real_time_factor"] == clock.factor < 0.5
    assert_names(warned[0], f"{clock.factor:.2f}", "stage.envs_per_command")
