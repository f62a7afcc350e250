"""RLPD with actors: the updates, buffers and figures of a training in one process, whatever is stopped in between."""

from __future__ import annotations

import copy
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.rlpd.touch import TouchEnv, made_steps, touch_config
from helpers.messages import raises_naming
from helpers.trainings import new_run, train
from regimen.agents.actor_learner.acting import act
from regimen.agents.actor_learner.actor_session import ActorSession
from regimen.agents.actor_learner.channel import Mailbox
from regimen.agents.actor_learner.http_channel import LearnerClient, LearnerServer
from regimen.agents.actor_learner.learner_session import LearnerSession
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.agents.rlpd.agent import Rlpd
from regimen.agents.rlpd.episode_statistics import EpisodeStatistics
from regimen.agents.rlpd.rows import row_spec, rows_of, transitions_of
from regimen.config.schema import ChannelCfg, Config
from regimen.runs import checkpoint
from regimen.runs.run import Run
from regimen.system import wire
from regimen.system.errors import ConfigError, StopRequested

TOKEN = "a token of this test"
INTERVENED = 4 + 3 + 2
"""Column of the buffer: after the observations, the action, reward and mask."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No figure is drawn."""
    monkeypatch.setattr("regimen.display.figures.learning_curve", lambda *arguments: None)


def with_actors(config: Config, token: Path, push_steps: int = 4, ahead: int = 8) -> Config:
    """The same training, with actors elsewhere."""
    token.write_text(TOKEN)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config.hardware.channel = ChannelCfg(push_steps, ahead, port=port, token=str(token))
    return config


class Actors:
    """Actors in threads of the test."""

    def __init__(self, config: Config) -> None:
        self.sessions: list[ActorSession] = []
        self.errors: list[BaseException] = []
        self._config, self._ended, self._threads = config, threading.Event(), list[threading.Thread]()

    def start(self, name: str) -> None:
        thread = threading.Thread(target=self._work, args=(name,))
        self._threads.append(thread)
        thread.start()

    def _work(self, name: str) -> None:
        channel = self._config.hardware.channel
        assert channel is not None
        client = LearnerClient(f"http://127.0.0.1:{channel.port}", TOKEN, 20.0, 20.0)
        try:
            act(self._config, RequestChannel(client, name), name, self._ended.is_set, self.sessions.append)
        except BaseException as error:
            self.errors.append(error)

    def start_after(self, others: Actors, name: str) -> None:
        """Start an actor once others have ended; a training without another actor waits for it."""
        threading.Thread(target=lambda: (others.join(), self.start(name))).start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def end(self) -> None:
        self._ended.set()
        self.join()


@contextmanager
def acting(config: Config, *names: str) -> Iterator[Actors]:
    actors = Actors(copy.deepcopy(config))
    for name in names:
        actors.start(name)
    try:
        yield actors
    finally:
        actors.end()


def saved(run: Run) -> dict[str, Any]:
    return checkpoint.load(run.checkpoints / "last.pt")["training"]


def last_row(run: Run) -> dict[str, float]:
    return run.metrics()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_updates_buffers_and_figures_are_those_of_one_process(tmp_path: Path, names: list[str]) -> None:
    inline = new_run(tmp_path, touch_config(2))
    train(inline, touch_config(2))
    config = with_actors(touch_config(2), tmp_path / "token")
    run = new_run(tmp_path, config)
    with acting(config, *names) as actors:
        train(run, config)
    assert not actors.errors
    state, expected = saved(run)["agent"], saved(inline)["agent"]
    assert state["online"]["next_id"] == expected["online"]["next_id"] == 120
    # In one process both envs are stepped before the first update; rows of actors are counted one by one.
    assert expected["learner"]["updates"] <= state["learner"]["updates"] <= expected["learner"]["updates"] + 2
    assert sum(last + 1 for last in saved(run)["actors"]["last_ids"].values()) == 120
    assert state["prior"]["next_id"] > 30, "demonstrations, and interventions"
    own = {name for name in last_row(inline) if not name.startswith("timer/")}
    assert own <= last_row(run).keys() | {f"environment/episode/{n}" for n in ("success", "return", "length")}
    assert {"timer/train", "timer/step_env", "timer/wait_for_rows", "critic_loss"} <= last_row(run).keys()
    ahead, pushed = 8, 4
    assert sum(session.steps for session in actors.sessions) <= 60 + ahead + 2 * pushed * len(names)


def stop_after_a_row(run: Run, ended: threading.Event) -> None:
    """Stop a training once it has logged one more row."""
    before = len(run.metrics())
    while not ended.wait(0.01):
        if len(run.metrics()) > before:
            run.stop_signal = 15
            return


def test_a_period_in_which_a_learner_is_stopped_counts_all_of_its_steps_and_episodes() -> None:
    episode = {"return": 1.0, "length": 8.0, "intervention_count": 1.0, "intervention_steps": 3.0}
    whole, before, after = (EpisodeStatistics(1, 0.97) for _ in range(3))
    for statistics in (whole, before):
        statistics.add_interventions(torch.ones(40, dtype=torch.bool))
        statistics.receive({**episode, "discounted_return": 0.7})
    after.load_state_dict(before.state_dict())
    for statistics in (whole, after):
        statistics.add_interventions(torch.zeros(10, dtype=torch.bool))
        statistics.receive({**episode, "return": 0.0, "discounted_return": 0.0})
    assert after.means(50) == whole.means(50)
    assert whole.means(50)["environment/intervention_share"] == 0.0, "a new period"
    older = {name: value for name, value in before.state_dict().items() if name not in ("ended", "intervened")}
    after.load_state_dict(older)
    assert after.means(50) == {"environment/intervention_share": 0.0}


@pytest.mark.slow
def test_a_stopped_learner_resumes_with_every_row_once(tmp_path: Path) -> None:
    config = with_actors(touch_config(1, interval=20, max_steps=200), tmp_path / "token")
    run = new_run(tmp_path, config)
    with acting(config, "a") as actors:  # it waits for the learner in between
        for _ in range(3):
            run = Run(run.dir)
            ended = threading.Event()
            threading.Thread(target=stop_after_a_row, args=(run, ended), daemon=True).start()
            try:
                train(run, config)
                break
            except StopRequested:
                state = saved(run)
                assert state["agent"]["online"]["next_id"] == state["actors"]["last_ids"].get("a", -1) + 1
            finally:
                ended.set()
        else:
            train(Run(run.dir), config)
    assert not actors.errors
    state = saved(run)
    assert state["actors"]["last_ids"] == {"a": 199}
    rows = state["agent"]["online"]["rows"]
    assert len(rows) == 200 == len(torch.unique(rows, dim=0))
    position, following = rows[:, :2], rows[:, -4:-2]
    continued = (position[1:] == following[:-1]).all(dim=1).sum()
    shares = [row["environment/intervention_share"] for row in run.metrics()]
    intervened = rows[:, INTERVENED].view(-1, config.agent.log_period).mean(1)
    assert shares == pytest.approx(intervened.tolist()), "periods in which it was stopped are whole"
    episodes = run.metrics()[-1]["Train/episode_length"]
    assert continued >= 199 - 2 * 200 / episodes, "but for the ends of episodes, each row begins where the last ended"


def test_an_actor_of_a_training_that_was_stopped_at_its_end_ends_with_it(tmp_path: Path) -> None:
    config = with_actors(touch_config(1, max_steps=20), tmp_path / "token")
    run = new_run(tmp_path, config)
    run.stop_signal = 15  # it stops after its last iteration, and has nothing to do when it is continued
    with acting(config, "a") as actors:
        for _ in range(2):
            with suppress(StopRequested):
                train(run, config)
            run = Run(run.dir)
            run.stop_signal = 15
        train(Run(run.dir), config)
    assert not actors.errors and saved(run)["actors"]["last_ids"] == {"a": 19}


def test_an_actor_with_other_settings_is_refused_by_name(tmp_path: Path) -> None:
    config = with_actors(touch_config(1, max_steps=20), tmp_path / "token")
    other = copy.deepcopy(config)
    other.agent.gamma = 0.5
    with acting(other, "stranger") as strangers, acting(config) as actors:
        actors.start_after(strangers, "a")
        train(new_run(tmp_path, config), config)
    (error,) = strangers.errors
    with raises_naming(ConfigError, "agent.gamma=0.97"):
        raise error


@pytest.mark.slow
def test_a_learner_that_is_killed_before_a_checkpoint_gets_every_row_again(tmp_path: Path) -> None:
    """Without a signal: the last checkpoint is as old as it can be, and all rows on their way are lost."""
    config = with_actors(touch_config(1, interval=25, max_steps=150), tmp_path / "token")  # rows of the log: every 10
    run, take = new_run(tmp_path, config), LearnerSession.take

    def killed(self: LearnerSession, limit: int, save: Any) -> Any:
        parcels = take(self, limit, save)
        done = parcels[-1].first_id + len(parcels[-1].rows["reward"])
        if done >= 80 and not deaths:  # the next checkpoint would be that of step 80
            time.sleep(0.5)  # the mailbox is full, and the actor has rows that it could not send
            deaths.append(done)
            raise KeyboardInterrupt
        return parcels

    deaths: list[int] = []
    with acting(config, "a") as actors, pytest.MonkeyPatch.context() as patch:
        patch.setattr(LearnerSession, "take", killed)
        with pytest.raises(KeyboardInterrupt):
            train(run, config)
        assert saved(run)["actors"]["last_ids"] == {"a": 49}
        run = Run(run.dir)
        late = threading.Timer(20.0, setattr, (run, "stop_signal", 15))  # without rows it would wait for ever
        late.start()
        train(run, config)
        late.cancel()
    assert not actors.errors
    assert saved(run)["actors"]["last_ids"] == {"a": 149}


def test_an_actor_that_comes_after_the_end_or_is_ended_leaves_no_row_behind(tmp_path: Path) -> None:
    config = touch_config(1)
    env = TouchEnv(1)
    mailbox = Mailbox(row_spec({"policy": 2, "privileged": 2}, 3), 100)
    server = LearnerServer(mailbox, TOKEN, greet=lambda message: {"push_steps": 40, "kept": 100})
    server.start()
    try:
        agent = Rlpd(config.agent, env.io, 1, torch.device("cpu"), 0)
        values = agent.learner.actor.values.detach().numpy()
        mailbox.publish(0, wire.to_bytes({"actor": values, "steps_done": 0}))
        sessions: list[ActorSession] = []

        def acted(name: str) -> int:
            channel = RequestChannel(LearnerClient(server.url, TOKEN, 5.0, 1.0), name)
            return act(config, channel, name, lambda: bool(sessions) and sessions[-1].steps >= 30, sessions.append)

        assert acted("a") == 30
        assert mailbox.received("a") == 29, "the rows since its last message"
        assert any("episode/length" in name for _, values in mailbox.take_stats() for name in values)
        mailbox.finish()
        assert acted("b") == 0
    finally:
        server.stop()


def test_rows_keep_transitions() -> None:
    steps = made_steps(5)
    steps.intervened = torch.tensor([True, False, True, False, False])
    rows = rows_of(steps)
    assert {name: (str(c.dtype), c.shape[1:]) for name, c in rows.items()} == row_spec(
        {"policy": 2, "privileged": 2}, 3
    )
    back = transitions_of(rows)
    for name in ("action", "reward", "mask", "intervened"):
        assert torch.equal(getattr(back, name), getattr(steps, name))
    for group in ("policy", "privileged"):
        assert torch.equal(back.obs[group], steps.obs[group]) and torch.equal(
            back.next_obs[group], steps.next_obs[group]
        )
