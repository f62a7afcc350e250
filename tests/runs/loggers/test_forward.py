"""Metrics reach the chosen loggers; what fails, hangs or dies is switched off with one warning and costs no run."""

from __future__ import annotations

import json
import time

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import recorded
from helpers.subprocesses import PATIENCE_S
from helpers.supervised_runs import wait_for
from regimen.runs.loggers import forwarder
from regimen.runs.loggers.forward import Tail
from regimen.system import signals
from runs.loggers.keeper import HANGS_S
from runs.loggers.runs import attempt, finish, forwarding, kill, log

KEEPER = {"_target_": "runs.loggers.keeper.Keeper"}


def kept(run):
    return [json.loads(line) for line in (run.dir / "kept.jsonl").read_text().splitlines()]


def test_all_rows_arrive_in_order_and_then_the_end(new_run):
    run = new_run(keeper=KEEPER)
    run.rewind(-1)
    log(run, 10, 20, 30)
    finish(run)
    calls = kept(run)
    assert [c[0] for c in calls[:2]] == ["open", "rewind"]
    assert [step for c in calls if c[0] == "write" for step in c[1]] == [10, 20, 30]
    assert calls[-1] == ["close", "finished", {"return": 30.0}]
    assert recorded(run)["warnings"] == []


def test_without_loggers_nothing_is_started(new_run):
    run = new_run()
    log(run, 10)
    run.close_loggers("finished")
    assert run.loggers == []


@pytest.mark.parametrize("verb", ["open", "rewind", "write", "close"])
def test_a_logger_that_fails_is_one_warning_and_the_others_go_on(new_run, verb, capfd):
    run = new_run(broken={**KEEPER, "fails": verb}, csv={"_target_": "regimen.runs.loggers.csv_table.CsvTable"})
    run.rewind(-1)
    log(run, 10, 20)
    finish(run)
    (warning,) = recorded(run)["warnings"]
    assert_names(warning, "broken", f"no {verb} today", "metrics.jsonl")
    assert warning in capfd.readouterr().out
    assert len((run.dir / "metrics.csv").read_text().splitlines()) == 3


def test_a_logger_that_cannot_be_imported_is_a_warning(new_run):
    run = new_run(absent={"_target_": "no_such_package.module.Logger"})
    log(run, 10)
    finish(run)
    assert_names(recorded(run)["warnings"][0], "absent", "no_such_package", "metrics.jsonl")


@pytest.mark.parametrize(("limit", "stopped_by"), [("CLOSE_S", None), ("STOP_S", 15)])
def test_a_logger_that_hangs_is_left_behind(new_run, monkeypatch, limit, stopped_by):
    monkeypatch.setattr(forwarder, limit, 1.0)
    run = new_run(stuck={**KEEPER, "hangs": "write"})
    run.stop_signal = stopped_by
    began = time.monotonic()
    log(run, 10)
    finish(run)
    assert time.monotonic() - began < HANGS_S / 10
    assert_names(recorded(run)["warnings"][0], "stuck", "1 s", "metrics.jsonl")


def test_a_killed_forwarding_is_a_warning(new_run):
    run = new_run(keeper=KEEPER)
    kill(run)
    log(run, 10)
    finish(run)
    assert_names(recorded(run)["warnings"][0], "keeper", "-9", "logs/worker.log")


def test_signals_to_the_whole_group_do_not_end_it_before_the_worker(new_run):
    run = new_run(keeper=KEEPER)
    log(run, 10)
    wait_for(lambda: (run.dir / "kept.jsonl").exists())
    for number in signals.FORWARDED:
        forwarding(run).send_signal(number)
    finish(run)
    assert kept(run)[-1][0] == "close"


def test_when_the_worker_is_gone_the_rest_is_sent_without_a_verdict(new_run):
    run = new_run(keeper=KEEPER)
    log(run, 10)
    forwarding(run).stdin.close()
    assert forwarding(run).wait(PATIENCE_S) == 0
    assert [c[0] for c in kept(run)] == ["open", "rewind", "write"]


def test_two_attempts_never_forward_at_once(new_run):
    first = new_run(keeper=KEEPER)
    log(first, 10)
    wait_for(lambda: (first.dir / "kept.jsonl").exists())
    second = attempt(first)
    second.rewind(-1)
    time.sleep(0.7)
    assert [c[0] for c in kept(first)].count("open") == 1
    kill(first)
    log(second, 10)
    finish(second)
    assert [c[0] for c in kept(second)].count("open") == 2


def test_tail_leaves_a_line_that_is_being_written(tmp_path):
    path = tmp_path / "metrics.jsonl"
    tail = Tail(path)
    assert tail.read() == []
    path.write_text('{"step": 1}\n{"step"')
    assert tail.read() == [{"step": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    assert tail.read() == [{"step": 2}]
