"""One run, one owner: by a lock, and by signs of life where machines do not share locks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from helpers.messages import raises_naming
from helpers.recorded_runs import change
from helpers.supervised_runs import make_run
from regimen.runs import lock
from regimen.runs.timeouts import HEARTBEAT_FRESH_S
from regimen.system import host
from regimen.system.errors import PreflightError

ELSEWHERE = {"host": "another-machine", "pid": 1, "start": 1}


def test_a_held_run_is_not_free_and_free_again_afterwards(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    assert lock.is_free(run)
    with lock.hold_lock(run):
        assert not lock.is_free(run)
        with raises_naming(PreflightError, run.id), lock.hold_lock(run):
            pass
    assert lock.is_free(run)


def test_a_run_that_a_clean_has_moved_away_is_refused_in_words(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with lock.hold_lock(run):
        (run.dir / "run.json").unlink()
        with raises_naming(PreflightError, run.id), lock.hold_lock(run):
            pass


def test_a_supervisor_of_another_machine_lives_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with lock.hold_lock(run):
        pass
    change(run.dir, status="running", supervisor=ELSEWHERE)
    assert not lock.is_free(run)
    with raises_naming(PreflightError, run.id, "another-machine", "kill 1"), lock.hold_lock(run):
        pass
    silent = time.time() - HEARTBEAT_FRESH_S - 1
    os.utime(run.dir / ".supervisor", (silent, silent))
    assert lock.is_free(run)
    with lock.hold_lock(run):
        assert lock.seconds_since_heartbeat(run.dir) < 5


def test_a_refused_claim_is_no_sign_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with lock.hold_lock(run):
        pass
    earlier = time.time() - 30
    os.utime(run.dir / ".supervisor", (earlier, earlier))
    change(run.dir, status="running", supervisor=ELSEWHERE)
    with pytest.raises(PreflightError), lock.hold_lock(run):
        pass
    assert lock.seconds_since_heartbeat(run.dir) > 29


def test_the_dead_supervisor_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    change(run.dir, status="running", supervisor={**host.process(os.getpid()).to_dict(), "start": 0})
    assert lock.is_free(run)


def test_a_run_that_nobody_touched_is_silent_for_ever(tmp_path: Path) -> None:
    assert lock.seconds_since_heartbeat(tmp_path) == float("inf")
