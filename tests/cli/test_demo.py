"""The demo's closing table says what was trained, how well it walks, where everything is, and what to type next."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import popen, said
from helpers.supervised_runs import wait_for
from regimen.cli import demo
from regimen.system.errors import PreflightError


def write_run(folder: Path, **files: dict) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data))
    return folder


def test_report(tmp_path: Path) -> None:
    speed = {"value": 0.94, "low": 0.93, "high": 0.95}
    rows = [
        {"command": [1.0, 0.0, 0.0], "forward_speed": speed, "falls": 0, "episodes": 64},
        {"command": [0.0, 0.0, 0.5], "turning_rate": speed | {"value": 0.48}, "falls": 2, "episodes": 64},
    ]
    trained = write_run(tmp_path / "trained", run={"status": "finished", "headline": {"samples": 3.8e6}, "wall_s": 300})
    judged = write_run(tmp_path / "judged", result={"commands": rows})
    (judged / "video").mkdir()
    (judged / "video" / "eval.mp4").touch()
    text = "\n".join(demo.report(trained, judged, wall_s=330))
    assert_names(text, "5.5 min", "3.8 M samples", "5.0 min", "eval.mp4", "policy=trained")
    walks, turns = [line for line in text.splitlines() if "of 64" in line]
    assert_names(walks, "1 m/s", "0.94 m/s", "[0.93, 0.95]", "0 of 64")
    assert_names(turns, "0.5 rad/s", "0.48 rad/s", "[0.93, 0.95]", "2 of 64")
    assert "learning_curve.png" not in text and "evaluation.png" not in text, "only what is there"


LAUNCH = """
import pathlib, signal, sys, time
def stop(*_):
    time.sleep(0.5)
    pathlib.Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
pathlib.Path("began").touch()
time.sleep(600)
"""


def test_a_failing_launch_ends_the_demo_with_its_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "launch.py").write_text("import sys; sys.exit(3)")
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    monkeypatch.setattr(demo.render, "pick_backend", lambda: "egl")
    assert demo.main() == 3


def test_ctrl_c_leaves_the_launch_time_to_save(tmp_path: Path) -> None:
    (tmp_path / "launch.py").write_text(LAUNCH)
    code = f"import pathlib, sys; from regimen.cli import demo; demo.ROOT = pathlib.Path({str(tmp_path)!r})\n"
    code += "demo.render.pick_backend = lambda: 'egl'\nsys.exit(demo.main())"
    process = popen([sys.executable, "-c", code], start_new_session=True)
    wait_for((tmp_path / "began").exists)
    os.killpg(process.pid, signal.SIGINT)
    said(process)
    assert process.returncode == 130
    assert (tmp_path / "saved").exists()


def test_without_a_renderer_the_evaluation_makes_no_video(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> str:
        raise PreflightError("no renderer; `apt-get install libegl1`")

    monkeypatch.setattr(demo.render, "pick_backend", none)
    assert demo._video() == []
    assert_names(capsys.readouterr().out, "video", "no renderer; `apt-get install libegl1`")
