"""Actors that die are started again, a bounded number of times; one that fails with an error ends the run with it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.rlpd.touch import touch_config
from helpers.messages import raises_naming
from helpers.trainings import new_run
from regimen.agents.actor_learner import processes
from regimen.agents.actor_learner.actor_group import account_of
from regimen.agents.actor_learner.agreement import Agreement
from regimen.agents.actor_learner.channel import Mailbox
from regimen.agents.actor_learner.http_channel import LearnerClient
from regimen.agents.actor_learner.learner_session import LearnerSession, learner_session
from regimen.agents.actor_learner.processes import ActorProcesses
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.config.schema import ChannelCfg, Config, HardwareCfg, RayCfg
from regimen.runs.run import Run
from regimen.system.errors import ConfigError, PreflightError, RegimenError, StopRequested
from regimen.system.message_client import MessageClient, ServerError

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


@pytest.mark.slow
def test_actors_that_end_with_the_run_are_not_started_again(run: Run) -> None:
    actors = ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", Mailbox({}, 10))
    actors.start()
    try:
        run.stop_signal = signal.SIGTERM
        for _ in range(100):
            actors.watch()
            time.sleep(0.05)
        assert run.record.warnings == []
        run.stop_signal = None
        actors.watch()
        assert len(run.record.warnings) == 1, "the actor had died"
    finally:
        actors.stop()


def test_a_stop_while_the_channel_is_opened_is_no_failure(run: Run) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        ray = RayCfg(address=f"127.0.0.1:{probe.getsockname()[1]}")
        hardware = HardwareCfg(actors=1, channel=ChannelCfg(transport="ray", ray=ray))
        agreement = Agreement(None, {}, {}, {}, {}, 1)
        training: Any = SimpleNamespace(steps_done=7)

        def opened() -> None:
            with learner_session(run, Config(hardware=hardware), training, {}, agreement, None, 10):
                pytest.fail("no Ray is there")

        with raises_naming(PreflightError, "hardware.channel.ray.address"):
            opened()
        run.stop_signal = signal.SIGTERM
        with pytest.raises(StopRequested) as stopped:
            opened()
        assert stopped.value.step == 7


def test_the_error_of_an_actor_is_the_error_of_the_run(run: Run) -> None:
    (run.dir / "error").write_text("ConfigError")
    with raises_naming(ConfigError, "actor0", "the camera is missing"):
        watch_until_it_fails(ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", Mailbox({}, 10)))
    assert run.record.warnings == []


def test_an_actor_that_had_no_answer_of_the_learner_is_started_again(run: Run) -> None:
    with pytest.raises(ServerError) as unreachable:
        RequestChannel(LearnerClient("http://127.0.0.1:1", "token of a test", 0.2, 0.1), "actor0.0.0").hello({})
    (run.dir / "error").write_text(str(account_of(unreachable.value, "actor0.0.0", None)["error"]))
    with raises_naming(ServerError, "actor0", "the camera is missing", "logs/actor0.log"):
        watch_until_it_fails(ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", Mailbox({}, 10)))
    assert len(run.record.warnings) == 2


def test_a_simulator_that_does_not_answer_its_actor_ends_the_run(run: Run) -> None:
    with pytest.raises(ServerError) as unreachable:
        MessageClient("http://127.0.0.1:1", "token of a test", 0.2, 0.1).post("env/step", {})
    (run.dir / "error").write_text(str(account_of(unreachable.value, "actor0.0.0", None)["error"]))
    with raises_naming(ServerError, "actor0", "the camera is missing"):
        watch_until_it_fails(ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", Mailbox({}, 10)))
    assert run.record.warnings == []


@pytest.mark.parametrize(
    ("kind", "steps_restored", "saved"), [("ConfigError", 0, 1), ("DivergedError", 0, 0), ("ConfigError", 7, 0)]
)
def test_what_was_learned_is_saved_before_the_error_of_an_actor_unless_a_value_diverged(
    run: Run, kind: str, steps_restored: int, saved: int
) -> None:
    (run.dir / "error").write_text(kind)
    training: Any = SimpleNamespace(steps_done=7, steps_restored=steps_restored)
    mailbox, saves = Mailbox({}, 10), list[int]()
    actors = ActorProcesses(run, 1, "http://127.0.0.1:1", "token of a test", mailbox)
    learner = LearnerSession(run, training, mailbox, actors)
    actors.start()
    try:
        with raises_naming(RegimenError, "actor0", "the camera is missing") as error:
            learner.take(1, lambda: saves.append(training.steps_done))
    finally:
        actors.stop()
    assert type(error.value).__name__ == kind and saves == [7] * saved
