"""Several workers of one run: a start command, one record, a common stop, one error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.supervised_runs import ended, make_run, start, started_and_stopped, worker_pid
from regimen.runs import outcome, worker_group
from regimen.system import files, json_lines
from regimen.system.files import read_json


def test_one_worker_needs_no_launcher(tmp_path: Path) -> None:
    assert worker_group.command(make_run(tmp_path, "finish"))[1:3] == ["-m", "regimen.runs.worker"]


@pytest.mark.slow
def test_workers_share_and_the_first_keeps_the_record(tmp_path: Path) -> None:
    run = make_run(tmp_path, "share", processes=2)
    info, screen = ended(start(run), run)
    assert info["status"] == "finished", screen
    assert info["headline"] == {"total": 3.0}
    result = read_json(run.dir / "result.json") or {}
    assert result["workers"] == 2
    assert result["open"] == []  # ports that other machines reach
    assert len(list(json_lines.rows(run.dir / "metrics.jsonl"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_all_workers_stop_at_the_same_step(tmp_path: Path, number: signal.Signals) -> None:
    run = make_run(tmp_path, "share_until_stopped", processes=2)
    info, screen = started_and_stopped(run, number)
    assert info["status"] == ("preempted" if number == signal.SIGUSR2 else "killed"), screen
    assert (run.dir / "rank0").read_text() == (run.dir / "rank1").read_text()


@pytest.mark.slow
def test_one_worker_is_asked_and_all_stop(tmp_path: Path) -> None:
    run = make_run(tmp_path, "share_until_stopped", processes=2)
    process = start(run)
    os.kill(worker_pid(run), signal.SIGTERM)
    info, screen = ended(process, run)
    assert info["status"] == "killed", screen
    assert (run.dir / "rank0").read_text() == (run.dir / "rank1").read_text()


@pytest.mark.slow
def test_the_first_failure_is_the_one_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fail_apart", processes=2)
    info, screen = ended(start(run), run)
    assert info["status"] == "failed", screen
    assert_names(info["reason"], "the second worker tripped")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_and_not_the_connection_that_it_leaves(tmp_path: Path) -> None:
    run = make_run(tmp_path, "lose_one", processes=2)
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"], info["signal"]) == ("killed", 137, 9), screen
    assert_names(info["reason"], "rank 1", "SIGKILL")
    assert_names(info["error"]["message"], "rank 0", "RuntimeError")


@pytest.mark.parametrize(("count", "status"), [(True, "killed"), (False, "failed"), (None, "failed")])
def test_want_of_memory_of_one_worker_is_told_by_the_kernels_count(
    tmp_path: Path, count: bool | None, status: str
) -> None:
    run = make_run(tmp_path, "finish")
    at = '  File "/lib/torch/distributed/distributed_c10d.py", line 1, in all_reduce\n    work.wait()'
    files.write_json(
        run.logs / "error.json",
        {"kind": "RuntimeError", "message": "Connection reset by peer", "traceback": at, "rank": 0},
    )
    end = outcome.judge(run, 1, "peak 3.00 GiB seen", out_of_memory=count)
    assert end.status == status
    assert ("out of memory" in end.reason) is bool(count)
    assert end.error is not None and "Connection reset by peer" in end.error.message


def test_an_error_of_the_work_is_not_blamed_on_memory(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    at = '  File "/lib/torch/distributed/c10d_logger.py", line 1, in f\n  File "/my/stage.py", line 1, in step'
    files.write_json(
        run.logs / "error.json", {"kind": "ValueError", "message": "negative mass", "traceback": at, "rank": 0}
    )
    assert outcome.judge(run, 1, out_of_memory=True).reason == "ValueError: negative mass"
