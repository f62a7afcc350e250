"""The page of a policy: what a person does in a real browser reaches the robots, and changes no evaluation."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers import launches
from helpers.launches import environment
from helpers.library_marks import needs_browser
from helpers.messages import assert_names, raises_naming
from helpers.subprocesses import PATIENCE_S, popen
from helpers.tasks import make_env
from helpers.ui_server import chromium
from regimen.cli.watch import watch_verb
from regimen.runs.references import resolve_policy
from regimen.stages.playback import browser_viewer
from regimen.system.errors import ConfigError, RunReferenceError

EVALUATION = (
    *("stage=evaluate", "task=go2_flat", "policy=pretrained:go2_flat", "stage.envs_per_command=2"),
    *("stage.episode_length_s=3.0", "hardware.threads=1"),
)


@pytest.fixture
def window() -> Iterator[Callable[..., Any]]:
    with chromium() as opened:
        yield opened


def in_browser(test: Any) -> Any:
    for mark in needs_browser("viser"):
        test = mark(test)
    return test


@in_browser
def test_what_is_done_on_the_page_reaches_the_robots(window: Callable[..., Any]) -> None:
    from regimen.stages.playback.browser_page import BrowserPage

    env = make_env("h1_failure", 2, events={"push_robot": None})
    env.reset(seed=0)
    page = BrowserPage(env, "<script>window.broken = 1</script>", port=8300)
    page.controls.unlimited = True
    steps = 0

    def play_until(condition: Callable[[], bool]) -> None:
        nonlocal steps
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end
            page.before_step(lambda: None)
            action = torch.zeros(2, env.io.num_actions)
            env.step(action)
            page.after_step(action)
            steps += 1

    try:
        seen = window(viewport={"width": 700, "height": 700})
        seen.page.goto(page.address)
        play_until(lambda: "Reward per second" in seen.text() and "track_lin_vel_xy_exp" in seen.text())
        assert "<script>window.broken" in seen.text() and not seen.page.evaluate("window.broken"), "plain text"
        assert "Push to" not in seen.text() and "Command" not in seen.text(), "an evaluation is only watched"
        page.add_interventions()
        play_until(lambda: "Push to" in seen.text())
        before = seen.page.screenshot()
        moved_from = steps
        play_until(lambda: steps > moved_from + 30)
        assert seen.page.screenshot() != before, "the robots move"

        def command() -> list[list[float]]:
            return env.commands["base_velocity"].value.tolist()

        seen.page.mouse.click(150, 400)
        seen.page.keyboard.press("ArrowUp")
        play_until(lambda: command()[0] == command()[1] and env.commands["base_velocity"].fixed is not None)
        first = command()[0][0]
        seen.page.keyboard.press("ArrowUp")
        play_until(lambda: command()[0][0] == pytest.approx(first + 0.1, abs=1e-6))

        label = "fault_joint"
        fault = env.events.terms["change_joint_torque"]
        assert fault.labels()[label].tolist() == [-1, -1], "none until one is chosen"
        seen.page.get_by_text("Broken, in all envs").click()
        play_until(lambda: fault.labels()[label].tolist() == [env.joints.index("left_hip_yaw")] * 2)

        still = float(env.state.world.root_lin_vel[0].norm())
        seen.page.get_by_role("button", name="front", exact=True).click()
        play_until(lambda: float(env.state.world.root_lin_vel[0].norm()) > still + 0.3)

        seen.page.keyboard.press("r")
        play_until(page.restarted)
        seen.page.keyboard.press("Space")
        play_until(lambda: page.controls.paused or page.controls.ended)
        seen.page.keyboard.press("n")
        play_until(lambda: page.controls.steps == 0)
        seen.page.get_by_role("button", name="End", exact=True).click()
        play_until(lambda: page.controls.ended)
        assert not seen.problems and not seen.elsewhere
    finally:
        page.close()
        env.close()


@in_browser
def test_an_evaluation_that_is_watched_has_the_figures_of_one_that_is_not(
    tmp_path: Path, window: Callable[..., Any]
) -> None:
    assert "exit 0" in launches.launch(tmp_path, *EVALUATION, "name=alone")
    process = launches.start(tmp_path, *EVALUATION, "name=watched", "stage.viewer=browser", "stage.viewer_port=8310")
    address = None
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"http://localhost:\d+", line):
            address = found[0]
            break
    assert address
    seen = window(viewport={"width": 700, "height": 700})
    seen.page.goto(address)
    seen.until("document.body.innerText.includes('Playback')")
    seen.page.get_by_text("As fast as possible").click()
    seen.until("document.body.innerText.includes('free play')")
    directory, _ = launches.record(tmp_path, "watched")
    assert (directory / "result.json").exists(), "the result is written before the free play"
    seen.until("document.body.innerText.includes('Push to')")
    seen.page.get_by_role("button", name="End", exact=True).click()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0
    results = [json.loads((launches.record(tmp_path, n)[0] / "result.json").read_text()) for n in ("alone", "watched")]
    assert results[0]["commands"] == results[1]["commands"] and results[0]["overall"] == results[1]["overall"]
    assert not seen.problems and not seen.elsewhere


@pytest.mark.slow
def test_a_published_policy_is_watched_from_the_command_line_until_ctrl_c(tmp_path: Path) -> None:
    pytest.importorskip("viser")
    command = [sys.executable, "-m", "regimen.cli", "watch", "pretrained:go2_flat", "--no-browser", "--port", "8320"]
    process = popen([*command, "--envs", "3"], cwd=tmp_path, env=environment())
    assert process.stdout is not None
    address = next(found[0] for line in process.stdout if (found := re.search(r"http://localhost:\d+", line)))
    with urllib.request.urlopen(address) as answer:
        assert b"<html" in answer.read()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 128 + signal.SIGINT and not list(tmp_path.iterdir()), "nothing is recorded"


@pytest.mark.slow
def test_checkpoints_are_loaded_as_they_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("viser")
    from regimen.stages.playback.browser_page import BrowserPage

    monkeypatch.setattr(browser_viewer, "LOOK_S", 0.0)
    policy = resolve_policy("pretrained:go2_flat")
    first, later = tmp_path / "step_90.pt", tmp_path / "step_100.pt"
    shutil.copyfile(policy, first)
    env = make_env("go2_flat", 1)
    page = BrowserPage(env, "a training", port=8330)
    loaded: list[Path] = []
    try:
        checkpoints = browser_viewer.Checkpoints(tmp_path, first, page, lambda path: loaded.append(path) or object())  # type: ignore[func-returns-value,return-value]
        assert checkpoints.newer() is None
        shutil.copyfile(policy, later)
        assert checkpoints.newer() is not None and loaded == [later] and checkpoints.chosen == later
        assert checkpoints.newer() is None, "once"
    finally:
        page.close()
        env.close()


def test_what_cannot_be_watched_is_refused_before_a_simulator_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with raises_naming(ConfigError, "--envs 0", "1"):
        watch_verb(["pretrained:go2_flat", "--envs", "0"])
    with raises_naming(ConfigError, "--port 99999", "8080"):
        watch_verb(["pretrained:go2_flat", "--port", "99999"])
    with pytest.raises(RunReferenceError):
        watch_verb(["no_such_run"])
    shutil.copyfile(resolve_policy("pretrained:go2_flat"), tmp_path / "alone.pt")
    with pytest.raises(RunReferenceError) as error:
        watch_verb([str(tmp_path / "alone.pt")])
    assert_names(str(error.value), "config.yaml", "stage.viewer=browser")
