"""A training with all loggers, killed and resumed: all have every step once, and the training is the same."""

from __future__ import annotations

import csv
import json
import os
import signal

import pytest

from end_to_end.test_resume import (
    SETTINGS,
    assert_same,
    complete,
    final_state,
    rows,
    start,
    the_run,
    wait_for_checkpoint,
    worker_of,
)
from helpers.messages import assert_names
from helpers.supervised_runs import wait_for
from runs.loggers import test_mlflow_run, test_wandb_run
from runs.loggers.runs import ask

pytestmark = pytest.mark.slow

ALL = ["logger=[csv,mlflow,wandb]", "logger.wandb.mode=offline"]


def test_all_loggers_have_every_step_once_and_the_training_does_not_notice_them(tmp_path):
    test_mlflow_run.needs_mlflow()
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    assert complete(start(whole, *SETTINGS["reach"]))[0] == 0

    process = start(parts, *SETTINGS["reach"], *ALL)
    run = wait_for_checkpoint(parts)
    worker = worker_of(run)
    os.kill(worker, signal.SIGSTOP)  # however fast it learns, the loggers, a process of their own, get there first
    wait_for(lambda: (run / "metrics.csv").exists() and (run / "logs" / "mlflow.json").exists())
    os.kill(worker, signal.SIGKILL)
    assert complete(process)[0] == 128 + signal.SIGKILL
    code, output = complete(start(parts, f"resume={run.name}"))
    assert code == 0, output

    info = json.loads((run / "run.json").read_text())
    assert info["warnings"] == []
    assert_same(final_state(the_run(whole)), final_state(run))
    assert rows(the_run(whole)) == rows(run)
    steps = [row["step"] for row in rows(run)]
    with (run / "metrics.csv").open(newline="") as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == steps
    assert "metrics.csv" in [row["path"] for row in info["artifacts"]]
    (tracked,) = ask(test_mlflow_run.ASK, f"sqlite:///{parts}/outputs/mlflow.db", "reach")
    assert [step for step, _ in tracked["metrics"]["Loss/Policy loss"]] == steps
    assert tracked["status"] == "FINISHED"
    history, runs, summary = ask(test_wandb_run.ASK, run)
    assert [row["_step"] for row in history] == steps
    assert {row[0] for row in runs} == {run.name}
    assert summary["status"] == "finished"


def test_a_chosen_logger_that_is_wrong_is_refused_before_the_start(tmp_path):
    code, output = complete(start(tmp_path, "task=reach", "logger=[mlflow]", "logger.mlflow.uri=postgres://x"))
    assert code == 2
    assert_names(output, "logger.mlflow.uri=postgres://x", "sqlite:///<file>")
    assert not list(tmp_path.glob("outputs/*"))
