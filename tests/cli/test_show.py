"""One screen tells what a run was, how it ended, and what speaks against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.run_directories import add, add_file
from regimen.cli import main
from regimen.display.intervals import Figure
from regimen.runs import inputs, judgements
from regimen.runs.history.run_view import CHANGED, GONE
from regimen.runs.judgements import Judgement
from regimen.system import host


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main.main(["show", *words]) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    return json.loads(shown(capsys, *words, "--json"))


def test_a_sound_run_has_nothing_against_it(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "a", name="walk", headline={"return": 12.3456}, seed=4, overrides=["task=reach", "env.num_envs=9"],
        tags=["keep"], notes=[{"at": "2026-11-20T12:00:00+00:00", "text": "the good one"}])  # fmt: skip
    screen = shown(capsys, "walk")
    title, end = screen.splitlines()[:2]
    assert title == "walk a"
    assert_names(end, "finished", "exit code 0", "5 min 00 s")
    assert as_json(capsys, "walk")["doubts"] == []
    for line in ("headline  return  12.35", "set       env.num_envs=9", "tags      keep",
                 "notes     2026-11-20 12:00  the good one", "seed=4", "torch 2.1"):  # fmt: skip
        assert line in screen
    assert "inputs" not in screen and "error" not in screen


def test_an_end_before_the_start_is_a_doubt(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = {"started": "2026-11-20T10:00:00+00:00", "ended": "2026-11-20T09:59:00+00:00"}
    add(outputs, "a", **times)
    [doubt] = as_json(capsys, "a")["doubts"]
    assert_names(doubt, *times.values())


def test_large_inputs_are_not_read_for_advice(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = add_file(outputs, "data.h5", "many rows")
    add(outputs, "a", {"data.0": data}, status="killed", supervisor=host.process(os.getpid()).to_dict())
    data.write_text("other rows")
    os.utime(data, (1000, 1000))  # before the run
    monkeypatch.setattr(inputs, "LARGE_BYTES", 3)
    assert "resume=a" in as_json(capsys, "a")["next"]
    os.utime(data, (2e10, 2e10))
    assert "resume=a" not in as_json(capsys, "a")["next"]


def test_relatives_and_changed_inputs(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = add(outputs, "teacher", status="killed")
    policy = add_file(teacher, "checkpoints/best.pt", "weights")
    add(outputs, "pupil", {"policy": policy}, parents=["teacher", "never"])
    policy.write_text("other weights")
    screen = shown(capsys, "pupil")
    assert f"policy  outputs/teacher/checkpoints/best.pt  {CHANGED}" in screen
    doubts = as_json(capsys, "pupil")["doubts"]
    assert all(doubt in screen for doubt in doubts)
    for doubt, names in zip(doubts, (("policy", CHANGED), ("teacher", "killed"), ("never", GONE)), strict=True):
        assert_names(doubt, *names)
    assert "children  pupil  train  finished" in shown(capsys, "teacher")
    policy.unlink()
    assert_names(as_json(capsys, "pupil")["doubts"][0], "policy", GONE)


def test_the_last_words_of_a_failure_and_what_to_do(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = {"type": "ValueError", "message": "bad luck", "last_lines": ["one", "", "ValueError: bad luck"]}
    add(outputs, "a", status="failed", exit_code=1, reason="ValueError: bad luck", error=error)
    screen = shown(capsys, "a")
    assert_names(screen.splitlines()[1], "failed", "exit code 1", "5 min 00 s", "ValueError: bad luck")
    assert "error     one\n          ValueError: bad luck\n" in screen
    assert "next      python launch.py resume=a" in screen


def test_a_lost_run_can_be_resumed(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = {**host.process(os.getpid()).to_dict(), "start": 1}
    add(outputs, "a", status="running", exit_code=None, supervisor=gone)
    screen = shown(capsys, "a")
    assert_names(screen.splitlines()[1], "lost", "5 min 00 s", "supervisor", "worker")
    assert_names(as_json(capsys, "a")["doubts"][0], "lost")
    assert "next      python launch.py resume=a" in screen


def test_attempts_with_other_code_are_told(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again = {"at": "2026-11-20T11:00:00+00:00", "previous_status": "killed", "git": None, "versions": {"torch": "2.2"}}
    add(outputs, "a", resumed=[again], warnings=["logger mlflow gave up"])
    screen = shown(capsys, "a")
    [attempt] = [line for line in screen.splitlines() if line.startswith("attempts ")]
    assert_names(attempt, "2026-11-20 11:00", "killed")
    assert "torch 2.1 -> 2.2" in screen and "logger mlflow gave up" in screen


def test_artifacts_are_read_when_asked(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {"path": "figures/curve.png", "kind": "figure", "bytes": 5, "sha256": "0" * 64}
    add_file(add(outputs, "a", artifacts=[row]), "figures/curve.png", "image")
    assert "outputs/a/figures/curve.png  figure  5 B\n" in shown(capsys, "a")
    assert_names(as_json(capsys, "a", "--verify")["doubts"][0], "figures/curve.png", CHANGED)
    (outputs / "a/figures/curve.png").unlink()
    assert_names(as_json(capsys, "a")["doubts"][0], "figures/curve.png", GONE)


def test_a_running_run_shows_where_it_is(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = add(outputs, "a", status="running", exit_code=None, supervisor=host.process(os.getpid()))
    (folder / "progress.json").write_text('{"iteration": 3, "iterations": 9}')
    screen = shown(capsys, "a")
    assert_names(screen.splitlines()[1], "running", "3/9")
    assert "next" not in screen


def test_json_holds_the_record_and_what_was_found(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = add_file(add(outputs, "teacher"), "checkpoints/best.pt", "weights")
    add(outputs, "pupil", {"policy": policy}, parents=["teacher"], seed=3)
    found = as_json(capsys, "pupil")
    assert (found["seed"], found["inputs"]["policy"]["state"], found["doubts"]) == (3, "unchanged", [])
    assert found["parents"] == [{"id": "teacher", "name": None, "stage": "train", "status": "finished"}]


def test_records_of_earlier_versions_and_with_little_in_them(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (outputs / "bare").mkdir(parents=True)
    (outputs / "bare/run.json").write_text('{"id": "bare", "status": "finished"}')
    [doubt] = as_json(capsys, "bare")["doubts"]
    assert_names(doubt, "code", "git")
    assert doubt in shown(capsys, "bare")


def test_nothing_heavy_is_imported(outputs: Path) -> None:
    add(outputs, "a")
    code = "import sys; from regimen.cli.main import main; c = main(['show', 'a']) or main(['lineage', 'a'])"
    code += "; sys.exit(c or len({'torch', 'numpy', 'matplotlib', 'scipy', 'hydra'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_checkpoints_that_were_judged_are_shown_with_the_best(
    outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {"stage": {"evaluation": {"every": 10}}, "env": {"evaluation": {"headline": "lin_vel_error"}}}
    folder = add(outputs, "a", config=config)
    for sim, step, value in (("mujoco", 10, 0.5), ("mujoco", 20, 0.2), ("mujoco", 30, 0.3), ("genesis", 30, 0.9)):
        figures = {"all/lin_vel_error": Figure(value, value - 0.05, value + 0.05)}
        judgements.append(folder, Judgement(step, sim, "0" * 64, figures))
    judged = as_json(capsys, "a")["judged"]
    assert judged["sims"]["mujoco"]["best"] == {"step": 20, "value": 0.2, "low": pytest.approx(0.15), "high": 0.25}
    assert judged["sims"]["mujoco"]["newest"]["step"] == 30 and judged["sims"]["genesis"]["judgements"] == 1
    lines = shown(capsys, "a").splitlines()
    [own] = [line for line in lines if "mujoco: " in line]
    assert_names(own, "20", "0.2", "0.25", "@best")
    [elsewhere] = [line for line in lines if "genesis: " in line]
    assert "@best" not in elsewhere
