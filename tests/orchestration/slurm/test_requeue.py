"""When a chain of attempts goes on and when it ends, with a Slurm that only says what it is told to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import change, recorded
from helpers.supervised_runs import make_run
from regimen.orchestration.slurm import requeue
from regimen.runs.run import Run
from regimen.system import files


@pytest.fixture(autouse=True)
def same_signals() -> Iterator[None]:
    numbers = (signal.SIGTERM, signal.SIGUSR2, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An scontrol that notes what it is asked; `answer` holds what it says of the job."""
    (tmp_path / "scontrol").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f'[ "$1" = requeue ] && echo "Job may not be requeued" >&2 && exit $(cat {tmp_path}/refuse || echo 0)\n'
        f"cat {tmp_path}/answer\n"
    )
    (tmp_path / "scontrol").chmod(0o755)
    (tmp_path / "asked").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    answer(tmp_path)
    return tmp_path


def answer(folder: Path, state: str = "RUNNING", preempted: str = "None", reason: str = "None") -> None:
    (folder / "answer").write_text(f"JobId=7 JobState={state} Reason={reason} PreemptTime={preempted}\n")


def stopped(folder: Path, step: int, number: int = signal.SIGUSR2, bound: int = 0, run: Run | None = None) -> Run:
    run = run or make_run(folder, "finish", submitit={"max_num_timeout": bound})
    status = "preempted" if number == signal.SIGUSR2 else "killed"
    queue = {"kind": "slurm", "job": "7"} | (recorded(run)["queue"] or {})
    change(run.dir, status=status, reason=f"stopped, checkpoint saved at step {step}", queue=queue)
    files.write_json(run.logs / "error.json", {"kind": "StopRequested", "message": "", "signal": number, "step": step})
    return run


def asked_to_requeue(folder: Path, job: str = "7") -> int:
    return (folder / "asked").read_text().splitlines().count(f"requeue {job}")


@pytest.mark.parametrize("code", [0, 1, 2, 3, 130, 137])
def test_ends_of_the_run_s_own_are_passed_on(slurm: Path, code: int) -> None:
    run = stopped(slurm, 5)
    assert requeue.requeue_if_preempted(run, code) == code
    assert asked_to_requeue(slurm) == 0


def test_limits_are_survived_while_steps_are_made(slurm: Path) -> None:
    run = stopped(slurm, 5)
    assert requeue.requeue_if_preempted(run, 75) == 75
    assert_names(recorded(run)["reason"], "time limit", "checkpoint", "5")
    assert recorded(run)["queue"]["again"] is True
    requeue.begin(run)
    assert "again" not in recorded(run)["queue"]
    assert requeue.requeue_if_preempted(stopped(slurm, 6, run=run), 75) == 75
    assert asked_to_requeue(slurm) == 2
    assert requeue.requeue_if_preempted(stopped(slurm, 6, run=run), 75) == 75
    assert asked_to_requeue(slurm) == 2
    assert recorded(run)["queue"]["again"] is False
    assert_names(recorded(run)["reason"], "6", "hardware.submitit.timeout_min", "stage.checkpoint_interval")
    assert [row["step"] for row in recorded(run)["queue"]["restarts"]] == [5, 6]


def test_preemption_is_never_too_often(slurm: Path) -> None:
    answer(slurm, preempted="2026-11-21T03:14:05")
    run = stopped(slurm, 5, bound=1)
    for _ in range(3):
        assert requeue.requeue_if_preempted(stopped(slurm, 5, run=run), 75) == 75
    assert asked_to_requeue(slurm) == 3
    assert {row["cause"] for row in recorded(run)["queue"]["restarts"]} == {"preempted"}


def test_the_bound_on_restarts_counts_limits(slurm: Path) -> None:
    run = stopped(slurm, 5, bound=2)
    for step in (5, 6, 7):
        requeue.requeue_if_preempted(stopped(slurm, step, run=run), 75)
    assert asked_to_requeue(slurm) == 2
    assert_names(recorded(run)["reason"], "hardware.submitit.max_num_timeout=2")


@pytest.mark.parametrize(
    ("told", "again"),
    [
        ({"state": "CANCELLED"}, False),
        ({"state": "RUNNING"}, False),
        ({"state": "RUNNING", "preempted": "2026-11-21T03:14:05"}, True),
        ({"state": "COMPLETING", "reason": "TimeLimit"}, True),
    ],
)
def test_sigterm_is_what_slurm_says_it_is(slurm: Path, told: dict[str, Any], again: bool) -> None:
    answer(slurm, **told)
    run = stopped(slurm, 5, signal.SIGTERM)
    assert requeue.requeue_if_preempted(run, 143) == (75 if again else 143)
    assert run.status == ("preempted" if again else "killed")
    assert asked_to_requeue(slurm) == again


def test_a_requeue_that_is_refused_is_told(slurm: Path) -> None:
    (slurm / "refuse").write_text("1")
    run = stopped(slurm, 5)
    assert requeue.requeue_if_preempted(run, 75) == 75
    assert_names(recorded(run)["reason"], "Job may not be requeued")
    assert recorded(run)["queue"]["again"] is False


def test_of_an_array_the_own_task_is_asked_about_and_requeued(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")  # the last task has the number of the array
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    assert requeue.requeue_if_preempted(stopped(slurm, 5), 75) == 75
    assert asked_to_requeue(slurm, "7_0") == 1
    assert all(line.split()[-1] == "7_0" for line in (slurm / "asked").read_text().splitlines())


def test_on_this_machine_the_queue_starts_it_again(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    run = stopped(slurm, 5)
    assert requeue.requeue_if_preempted(run, 75) == 75
    assert recorded(run)["queue"]["again"] is True
    assert requeue.requeue_if_preempted(stopped(slurm, 6, signal.SIGTERM, run=run), 143) == 143
    assert (slurm / "asked").read_text() == ""


def test_without_a_word_of_the_worker_its_checkpoints_tell_the_step(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    assert requeue.last_step(run) == 0
    run.checkpoints.mkdir()
    (run.checkpoints / "step_000000048.pt").touch()
    assert requeue.last_step(run) == 48
