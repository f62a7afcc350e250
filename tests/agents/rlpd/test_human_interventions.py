"""Interventions of a human: who acts when, what is counted and kept, and what a closed window does."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.rlpd.test_actor_learner import acting, with_actors
from agents.rlpd.touch import TouchEnv, rlpd_cfg, touch_config
from helpers.messages import assert_names
from helpers.tasks import CONF
from helpers.trainings import new_run, train
from regimen.agents.rlpd.intervention import HumanIntervener
from regimen.config.compose import compose
from regimen.config.schema import Config
from regimen.display.window import KeyEvent
from regimen.envs.controls.config import ControlsCfg
from regimen.envs.controls.human import HumanControls
from regimen.runs import checkpoint
from regimen.system.errors import StopRequested

ACTIONS = ["x", "y", "gripper"]
FLAG = 4 + 3 + 2
"""Column of a row that says whether it is of an intervention: after observations, action, reward and mask."""


class Window:
    """Takes the place of a window: `keys(k)` are held while picture k is shown; it is closed after `most` pictures."""

    most = 10**9
    keys: Callable[[int], set[str]] = staticmethod(lambda k: set())

    def __init__(self, title: str) -> None:
        self.pictures: list[np.ndarray] = []
        self.held: set[str] = set()
        self.open = True

    def show(self, picture: np.ndarray) -> None:
        assert self.open
        self.pictures.append(picture)

    def poll(self) -> list[KeyEvent]:
        held = type(self).keys(len(self.pictures) - 1)
        events = [KeyEvent(key, key in held) for key in sorted(held ^ self.held)]
        self.held = held
        return events

    @property
    def closed(self) -> bool:
        return len(self.pictures) >= type(self).most

    def close(self) -> None:
        self.open = False


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> type[Window]:
    """The class of the window, with its own script."""
    scripted = type("ScriptedWindow", (Window,), {})
    monkeypatch.setattr("regimen.envs.controls.human.PictureWindow", scripted)
    monkeypatch.setattr("regimen.display.figures.learning_curve", lambda *arguments: None)
    return scripted


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step takes no time."""
    monkeypatch.setattr(HumanControls, "wait", lambda self, step_s: self.poll())


def by_human(num_envs: int = 1, **changes: Any) -> Config:
    return touch_config(num_envs, **{"interventions": {"by": "human"}, **changes})


def test_whoever_holds_a_key_acts_and_hands_back(window: type[Window], at_once: None) -> None:
    held = [set(), {"w"}, {"w", "d"}, set(), {"w", "s"}, {"w"}, set()]
    window.keys = staticmethod(lambda k: held[k])
    env, controls = TouchEnv(1), HumanControls(ControlsCfg(), ACTIONS, 1.0, "")
    env.reset(seed=0)
    intervener = HumanIntervener(env, controls, lambda: None)
    policy = torch.full((1, 3), 0.5)
    chosen = [intervener.choose(policy) for _ in range(5)]
    intervener.reset(torch.tensor([0]))
    chosen += [intervener.choose(policy) for _ in range(2)]
    assert [bool(c.intervened) for c in chosen] == [False, True, True, False, True, True, False]
    assert [bool(c.began) for c in chosen] == [False, True, False, False, True, True, False], "a new episode, a new one"
    assert [c.action[0].tolist() for c in chosen[:5]] == [[0.5] * 3, [1, 0, 0], [1, -1, 0], [0.5] * 3, [0, 0, 0]]
    pictures = controls._window.pictures
    plain = env.render().shape
    assert all(picture.shape[0] > plain[0] and picture.shape[1:] == plain[1:] for picture in pictures)
    assert not np.array_equal(pictures[1], pictures[2]), "the window shows who acts"


def test_a_step_takes_its_time_while_the_human_is_asked(window: type[Window]) -> None:
    window.most = 3
    env, closed = TouchEnv(1), []
    intervener = HumanIntervener(env, HumanControls(ControlsCfg(), ACTIONS, 1.0, ""), lambda: closed.append(True))
    began = time.monotonic()
    for _ in range(3):
        intervener.choose(torch.zeros(1, 3))
    assert time.monotonic() - began >= 2.9 * env.step_dt
    began = time.monotonic()
    for _ in range(50):
        assert not intervener.choose(torch.zeros(1, 3)).intervened
    assert closed == [True] and time.monotonic() - began < 50 * env.step_dt


def test_steps_of_a_human_are_counted_and_in_both_buffers(window: type[Window], at_once: None, tmp_path: Path) -> None:
    window.keys = staticmethod(lambda k: {"w", "q"} if k % 12 in (3, 4, 5, 8) else set())
    run, config = new_run(tmp_path, by_human(demonstrations={"episodes": 0})), by_human(demonstrations={"episodes": 0})
    train(run, config)
    state = checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]
    online, prior = state["online"]["rows"], state["prior"]["rows"]
    flagged = online[online[:, FLAG] == 1.0]
    assert len(flagged) == 20 and torch.equal(flagged, prior)
    assert torch.equal(flagged[:, 4:7], torch.tensor([1.0, 0.0, -1.0]).expand(20, 3))
    rows = run.metrics()
    assert sum(row["environment/intervention_share"] for row in rows) * config.agent.log_period == pytest.approx(20)
    assert max(row.get("environment/episode/intervention_count", 0.0) for row in rows) >= 1.0


def test_a_resumed_run_says_that_it_is_not_exact(window: type[Window], at_once: None, tmp_path: Path) -> None:
    config = by_human(demonstrations={"episodes": 0})
    run = new_run(tmp_path, config)
    run.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(run, config)
    assert not run.record.warnings
    run.stop_signal = None
    train(run, config)
    assert_names(run.record.warnings[0], "human", "bit for bit")
    assert checkpoint.load(run.checkpoints / "last.pt")["step"] == 60


def test_a_closed_window_ends_the_interventions_and_not_the_training(
    window: type[Window], at_once: None, tmp_path: Path
) -> None:
    window.keys, window.most = staticmethod(lambda k: {"w"}), 25
    config = by_human(demonstrations={"episodes": 0})
    run = new_run(tmp_path, config)
    train(run, config)
    shares = [row["environment/intervention_share"] for row in run.metrics()]
    assert shares[:2] == [1.0, 1.0] and shares[3:] == [0.0, 0.0, 0.0]
    [line] = run.record.warnings
    assert_names(line, "window", "closed")


def test_the_window_of_an_actor_is_that_of_a_training(window: type[Window], at_once: None, tmp_path: Path) -> None:
    window.keys, window.most = staticmethod(lambda k: {"d"} if k % 2 else set()), 41
    config = with_actors(by_human(demonstrations={"episodes": 0}), tmp_path / "token")
    run = new_run(tmp_path, config)
    with acting(config, "a") as actors:
        train(run, config)
    assert not actors.errors
    state = checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]
    online, prior = state["online"]["rows"], state["prior"]["rows"]
    flagged = online[online[:, FLAG] == 1.0]
    assert len(flagged) == 20 and torch.equal(flagged, prior)
    [line] = run.record.warnings
    assert_names(line, "window", "closed")


def problems(*overrides: str) -> list[str]:
    config = compose(["experiment=gear_rlpd", "agent.interventions.by=human", *overrides], [CONF])
    return [line for line in config.config.agent.problems(config.plain) if "interventions" in line]


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["env.num_envs=2"], ["interventions.by=human", "env.num_envs=1"]),
        (["hardware=actor_learner", "hardware.actors=2"], ["interventions.by=human", "hardware.actors=1"]),
        (["hardware=slurm"], ["interventions.by=human", "hardware=cpu"]),
        (["agent.interventions.by=humn"], ["interventions.by=humn", "human"]),
        (["agent.interventions.controls.device=joystick"], ["interventions.controls.device", "gamepad"]),
        (["+agent.interventions.controls.keyboard.hash=x+"], ["interventions.controls.keyboard.hash"]),
    ],
)
def test_what_offers_a_human_no_window_is_found_before_the_start(overrides: list[str], names: list[str]) -> None:
    assert_names(problems(*overrides)[0], *names)


def test_a_window_is_needed_where_envs_are_stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    [line] = problems()
    assert_names(line, "interventions.controls.device=keyboard", "DISPLAY")
    elsewhere = ["hardware=actor_learner", "hardware.actors=0", "hardware.channel.port=5588"]
    assert not problems(*elsewhere)
    assert not problems("stage=evaluate")


def test_controls_are_those_of_demonstrations(compose_config: Callable[[list[str]], Config]) -> None:
    config = compose_config(["experiment=gear_rlpd"])
    assert config.agent.interventions.controls == ControlsCfg()
    assert rlpd_cfg().interventions.by == "scripted"
