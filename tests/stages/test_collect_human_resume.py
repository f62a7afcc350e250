"""A human's recording that was stopped, or that failed, and its resumption; the keys come from a script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import pytest

from helpers.demonstrated_env import DemonstratedEnvCfg
from regimen.config.schema import Config
from regimen.data.demonstrations import Demonstration, iterate_demonstrations
from regimen.display.window import KeyEvent
from regimen.envs.controls.human import HumanControls
from regimen.runs.run import Run
from regimen.stages.collect import Collect
from regimen.stages.recording.config import CollectCfg
from regimen.system.errors import StopRequested
from stages.test_collect import new_run

pytestmark = pytest.mark.usefixtures("blank_figures")

CFG = CollectCfg(episodes=2, only_successful=False)


@dataclass
class TypedWindow:
    """A window with the key events of a script, one list per step; None closes the window."""

    script: Iterator[list[KeyEvent] | None]
    closed: bool = False

    def show(self, picture: np.ndarray) -> None:
        assert picture.ndim == 3

    def poll(self) -> list[KeyEvent]:
        events = next(self.script)
        self.closed = events is None
        return events or []

    def close(self) -> None:
        self.closed = True


Record = Callable[[Run, Iterator[list[KeyEvent] | None]], None]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Begin or resume a recording with a script."""
    monkeypatch.setattr(HumanControls, "wait", lambda human, step_s: human.poll())

    def run_stage(run: Run, script: Iterator[list[KeyEvent] | None]) -> None:
        monkeypatch.setattr("regimen.envs.controls.human.PictureWindow", lambda title: TypedWindow(script))
        Collect(CFG)(run, Config(env=DemonstratedEnvCfg(), stage=CFG, policy="human", choices={"task": "made"}))

    return run_stage


def held(key: str) -> Iterator[list[KeyEvent] | None]:
    yield [KeyEvent(key, True)]
    yield from repeat([])


def recorded_episodes(run: Run) -> list[Demonstration]:
    return list(iterate_demonstrations([run.dir / "data" / "episodes.h5"]))


def test_an_episode_after_a_discard_and_a_resumption_begins_with_its_own_observation(
    tmp_path: Path, record: Record
) -> None:
    run = new_run(tmp_path, CFG)

    def close_after_a_discard() -> Iterator[list[KeyEvent] | None]:
        yield [KeyEvent("a", True)]
        yield from repeat([], 30)  # one episode of 25 steps, and some of the next
        yield from ([KeyEvent("backspace", True)], None)

    with pytest.raises(StopRequested):
        record(run, close_after_a_discard())
    record(run, held("d"))
    for episode, sign in zip(recorded_episodes(run), (1.0, -1.0), strict=True):
        obs = episode.obs["policy"]
        np.testing.assert_allclose(np.diff(obs[:, 1]), 0.1 * sign, atol=1e-6)
        np.testing.assert_array_equal(obs[:, 2:], obs[:1, 2:].repeat(len(obs), 0))


def test_a_kept_episode_survives_an_error_of_the_next_one(tmp_path: Path, record: Record) -> None:
    run = new_run(tmp_path, CFG)

    def fail_in_the_second_episode() -> Iterator[list[KeyEvent] | None]:
        yield [KeyEvent("a", True)]
        yield from repeat([], 30)
        raise RuntimeError("the renderer failed")

    with pytest.raises(RuntimeError):
        record(run, fail_in_the_second_episode())
    record(run, held("d"))
    assert [np.unique(episode.action[:, 1]).tolist() for episode in recorded_episodes(run)] == [[1.0], [-1.0]]


def test_a_card_that_fails_costs_no_episode(tmp_path: Path, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    run = new_run(tmp_path, CFG)

    def fail(*args: object, **settings: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr("regimen.data.episodes.card.make", fail)
        record(run, held("a"))
    before = recorded_episodes(run)
    record(run, iter(()))
    for old, new in zip(before, recorded_episodes(run), strict=True):
        np.testing.assert_array_equal(old.obs["policy"], new.obs["policy"])
    assert (run.dir / "data" / "card.json").exists()
