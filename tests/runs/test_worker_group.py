"""Several workers of one run: a start command, one record, a common stop, one error."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.supervised_runs import ended, make_run, start, worker_pid
from regimen.runs import worker_group
from regimen.system import json_lines
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
    process = start(run)
    worker_pid(run)
    process.send_signal(number)
    info, screen = ended(process, run)
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
