"""One run, one owner: by a lock, and by signs of life where machines do not share locks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from messages import raises_naming
from regimen import facts, ownership
from regimen.errors import PreflightError
from supervised import make_run

ELSEWHERE = {"host": "another-machine", "pid": 1, "start": 1}


def test_a_held_run_is_not_free_and_free_again_afterwards(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    assert ownership.is_free(run)
    with ownership.held(run):
        assert not ownership.is_free(run)
        with raises_naming(PreflightError, run.id), ownership.held(run):
            pass
    assert ownership.is_free(run)


def test_a_run_that_a_clean_has_moved_away_is_refused_in_words(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with ownership.held(run):
        (run.dir / "run.json").unlink()
        with raises_naming(PreflightError, run.id), ownership.held(run):
            pass


def test_a_supervisor_of_another_machine_lives_while_it_gives_signs_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with ownership.held(run):
        pass
    run.update(status="running", supervisor=ELSEWHERE)
    assert not ownership.is_free(run)
    with raises_naming(PreflightError, run.id, "another-machine", "kill 1"), ownership.held(run):
        pass
    silent = time.time() - ownership.FRESH_S - 1
    os.utime(run.dir / ".supervisor", (silent, silent))
    assert ownership.is_free(run)
    with ownership.held(run):
        assert ownership.silence_s(run.dir) < 5


def test_a_refused_claim_is_no_sign_of_life(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with ownership.held(run):
        pass
    earlier = time.time() - 30
    os.utime(run.dir / ".supervisor", (earlier, earlier))
    run.update(status="running", supervisor=ELSEWHERE)
    with pytest.raises(PreflightError), ownership.held(run):
        pass
    assert ownership.silence_s(run.dir) > 29


def test_the_dead_supervisor_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    run.update(status="running", supervisor={**facts.process(os.getpid()), "start": 0})
    assert ownership.is_free(run)


def test_a_run_that_nobody_touched_is_silent_for_ever(tmp_path: Path) -> None:
    assert ownership.silence_s(tmp_path) == float("inf")
