"""Actors that die are started again, a bounded number of times; one that fails with an error ends the run with it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from agents.rlpd.touch import touch_config
from helpers.messages import raises_naming
from helpers.trainings import new_run
from regimen.agents.actor_learner import processes
from regimen.agents.actor_learner.channel import Mailbox
from regimen.agents.actor_learner.processes import ActorProcesses
from regimen.runs.run import Run
from regimen.system.errors import ConfigError
from regimen.system.message_client import ServerError

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(processes, "MODULE", "agents.actor_learner.failing_actor")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *sys.path]))
    return new_run(tmp_path, touch_config())


def watch_until_it_fails(actors: ActorProcesses) -> None:
    actors.start()
    end = time.monotonic() + 60
    try:
        while time.monotonic() < end:
            actors.watch()
            time.sleep(0.01)
    finally:
        actors.stop()


def test_an_actor_that_dies_before_its_first_row_is_tried_three_times(run: Run) -> None:
    mailbox = Mailbox({}, 10)
    with raises_naming(ServerError, "actor0", "SIGKILL", "logs/actor0.log"):
        watch_until_it_fails(ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", mailbox))
    assert [warning.split()[0] for warning in run.record.warnings] == ["actor0", "actor0"]


def test_the_error_of_an_actor_is_the_error_of_the_run(run: Run) -> None:
    (run.dir / "error").touch()
    with raises_naming(ConfigError, "actor0", "the camera is missing"):
        watch_until_it_fails(ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", Mailbox({}, 10)))
    assert run.record.warnings == []
