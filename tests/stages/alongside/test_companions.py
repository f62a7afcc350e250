"""A training whose checkpoints are evaluated beside it: killed, stopped, resumed, and the same training as without."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import recorded
from helpers.trainings import new_run, train, training_config
from regimen.config.schema import Config
from regimen.runs import checkpoint
from regimen.runs.history.result_equality import unequal
from regimen.runs.references import resolve_policy
from regimen.runs.run import Run
from regimen.stages.alongside.config import AlongsideCfg
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system import json_lines
from regimen.system.errors import StopRequested

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("blank_figures")]

STEPS, INTERVAL = 144, 48
FEW = {"envs_per_command": 2, "bootstrap": 50}


class HookedRun(Run):
    """A run that calls a function at the end of an iteration.

    Attributes:
        at: step -> function.
    """

    at: dict[int, Callable[[HookedRun], object]]

    def check_stop(self, step: int, save: Callable[[], Any]) -> None:
        self.at.get(step, lambda run: None)(self)
        super().check_stop(step, save)


def config_with(**evaluation: Any) -> Config:
    config = training_config("reach", STEPS, num_envs=8, interval=INTERVAL)
    config.stage.evaluation = AlongsideCfg(**({"every": INTERVAL, "nice": 0, **FEW} | evaluation))
    config.stage.keep_checkpoints = 1
    return config


def hooked(run: Run, at: dict[int, Callable[[HookedRun], object]]) -> HookedRun:
    one = HookedRun(run.dir)
    one.at = at
    return one


def rows(run: Run) -> list[dict[str, Any]]:
    return list(json_lines.rows(run.dir / "evaluation.jsonl"))


def wait_for_a_row(run: Run) -> None:
    end = time.monotonic() + 120
    while not rows(run):
        assert time.monotonic() < end, (run.logs / "evaluation.mujoco.log").read_text()
        time.sleep(0.05)


def kill_companion(run: Run) -> None:
    """End the companion as the kernel does where memory is short, once it has judged a checkpoint."""
    wait_for_a_row(run)
    ended = psutil.STATUS_ZOMBIE  # of a test before, which has no command
    children = [c for c in psutil.Process().children(recursive=True) if c.status() != ended]
    [companion] = [c for c in children if any("alongside.companion" in word for word in c.cmdline())]
    os.kill(companion.pid, signal.SIGKILL)
    while companion.status() != psutil.STATUS_ZOMBIE:  # the training collects it
        time.sleep(0.01)


def ask_to_stop(run: HookedRun) -> None:
    run.stop_signal = signal.SIGTERM


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The training without an evaluation, never stopped."""
    config = config_with()
    config.stage.evaluation = AlongsideCfg()
    run = new_run(tmp_path_factory.mktemp("alone"), config)
    train(run, config)
    return run


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same with one, whose companion is killed at 72, stopped at 120, where no checkpoint is due, and resumed."""
    config = config_with()
    run = new_run(tmp_path_factory.mktemp("followed"), config)
    with pytest.raises(StopRequested):
        train(hooked(run, {72: kill_companion, 120: ask_to_stop}), config)
    train(run, config)
    return run


def test_each_checkpoint_is_judged_once_whatever_is_killed(followed: Run) -> None:
    assert [row["step"] for row in rows(followed)] == [48, 96, 144]
    assert_names(recorded(followed)["warnings"][0], "mujoco", "SIGKILL")
    assert not (followed.dir / "judging").exists(), "none waits"
    result = json.loads((followed.dir / "result.json").read_text())["evaluation"]
    assert result["judgements"] == {"mujoco": 3} and result["problem"] is None and result["stopped"] is None


def test_the_training_is_bit_for_bit_that_without_an_evaluation(alone: Run, followed: Run) -> None:
    states = [checkpoint.load(run.checkpoints / "last.pt") for run in (alone, followed)]
    assert list(unequal(*states)) == []
    logged = [[row for row in run.metrics() if row["step"] in (120, 144)] for run in (alone, followed)]
    assert len(logged[0]) == 2 and list(unequal(*logged)) == []


def test_a_row_has_the_figures_of_stage_evaluate(followed: Run, tmp_path: Path) -> None:
    config = config_with()
    config.stage, config.policy = EvaluateCfg(**FEW), str(followed.checkpoints / "last.pt")
    run = new_run(tmp_path, config)
    Evaluate(config.stage)(run, config)
    result, row = json.loads((run.dir / "result.json").read_text()), rows(followed)[-1]
    for metric in ("return", "distance", "survival"):
        assert row[f"Evaluation/all/{metric}"] == result["overall"][metric]
        assert row[f"Evaluation/0.2,-0.2/{metric}"] == result["commands"][2][metric]


def test_best_is_the_one_that_is_judged_best(followed: Run) -> None:
    distances = {row["step"]: row["Evaluation/all/distance"]["high"] for row in rows(followed)}
    best = min(distances, key=lambda step: distances[step])
    assert checkpoint.load(resolve_policy(f"{followed.dir}@best"))["step"] == best
    assert resolve_policy(f"{followed.dir}@best_return").name == "best.pt"
    result = json.loads((followed.dir / "result.json").read_text())
    assert result["evaluation"]["best"]["step"] == best
    assert result["headline"]["judged_distance"] == result["evaluation"]["best"]["value"]


def test_the_curve_has_its_interval_in_tensorboard_and_as_a_figure(followed: Run) -> None:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found: dict[str, list[int]] = {}
    for file in (followed.dir / "tb" / "evaluation_mujoco").iterdir():
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(event.step)
    for end in ("", "/low", "/high"):
        assert sorted(found[f"Evaluation/all/survival{end}"]) == [48, 96, 144]
    assert (followed.dir / "figures" / "judged.png").exists()


def test_an_evaluation_that_fails_leaves_the_training_alone(alone: Run, tmp_path: Path) -> None:
    config = config_with(metric="distanse")
    run = new_run(tmp_path, config)
    train(run, config)
    result = json.loads((run.dir / "result.json").read_text())
    assert_names(result["evaluation"]["problem"], "mujoco", "distanse", "distance")
    assert_names(recorded(run)["warnings"][0], "mujoco", "distanse", "logs/evaluation.mujoco.log")
    states = [checkpoint.load(one.checkpoints / "last.pt") for one in (alone, run)]
    assert list(unequal(*states)) == []
    assert resolve_policy(f"{run.dir}@best").name == "best.pt"


def test_a_judged_figure_ends_the_training(tmp_path: Path) -> None:
    config = config_with(stop_at=10.0)
    run = new_run(tmp_path, config)
    train(hooked(run, {72: wait_for_a_row}), config)
    result = json.loads((run.dir / "result.json").read_text())
    assert_names(result["evaluation"]["stopped"], "distance", "10", "48")
    assert checkpoint.load(run.checkpoints / "last.pt")["step"] == 96, "at the next checkpoint"
    assert [row["step"] for row in rows(run)] == [48, 96]
