"""`regimen replay <run> nan`: a table of the last steps, a film, and clear errors where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from helpers.messages import assert_names
from helpers.run_directories import add
from helpers.tasks import CONF
from regimen.cli import main
from regimen.cli.completion_words import complete
from regimen.envs.nan_dump import NanDump

REACH = yaml.safe_load((CONF / "task" / "reach.yaml").read_text())


def diverged_run(root: Path, **config: Any) -> Path:
    reason = "The observation term `joint_vel` of the group `policy` is not finite in env 3 (1 of 8) at step 9."
    return add(root, "lost", config={"env": REACH, **config}, status="diverged", exit_code=3, reason=reason)


def dump(folder: Path, steps: int = 3, **changes: Any) -> None:
    state = {"joint_pos": 2, "joint_vel": 2, "root_pos": 3, "root_quat": 4, "root_lin_vel": 3, "root_ang_vel": 3}
    arrays = {f"state/{name}": np.full((steps, 1, width), 0.1, np.float32) for name, width in state.items()}
    arrays |= {"step": np.arange(6, 6 + steps), "observation": np.zeros((steps, 1, 4), np.float32)}
    arrays |= {"action": np.array([[[0.0, -2.5]]] * steps, np.float32), "reward": np.zeros((steps, 1), np.float32)}
    arrays |= {f"after/state/{name}": np.full((1, width), np.nan, np.float32) for name, width in state.items()}
    arrays["after/observation/policy"] = np.array([[0, 0, 0, np.inf]], np.float32)
    head = {
        "message": "The observation term `joint_vel` of the group `policy` is not finite in env 3 (1 of 8) at step 9.",
        "env_ids": [3], "num_envs": 8, "step": 9, "step_dt": 0.02, "joints": ["shoulder", "elbow"],
        "actions": ["shoulder", "elbow"], "observations": {"policy": {"joint_pos": 2, "joint_vel": 2}},
    }  # fmt: skip
    NanDump(head | changes, arrays).write(folder / "nan_dump.npz", folder.name)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "outputs"


def replay(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = main.main(["replay", *words])
    told = capsys.readouterr()
    return code, told.out + told.err


def test_the_table_names_what_is_not_finite_in_each_step(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump(diverged_run(outputs))
    code, text = replay(capsys, "lost", "nan", "--table")
    assert code == 0
    assert_names(text.splitlines()[0], "joint_vel", "env 3", "step 9")
    rows = {line.split()[0]: line for line in text.splitlines() if line[:1].isdigit() or line.startswith("then")}
    assert list(rows) == ["6", "7", "8", "then"]
    assert_names(rows["7"], "-2.5 elbow")
    assert_names(rows["then"], "joint_pos shoulder", "joint_vel elbow", "observation/policy joint_vel")


@pytest.mark.slow
def test_the_film_shows_the_steps_with_a_finite_state(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    folder = diverged_run(outputs)
    dump(folder)
    code, text = replay(capsys, "lost", "nan")
    assert code == 0, text
    assert_names(text, "outputs/lost/video/nan.mp4", "3 steps")
    with av.open(str(folder / "video" / "nan.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 3
    assert replay(capsys, "lost", "nan", "--film", "mine.mp4")[0] == 0 and Path("mine.mp4").exists()


def test_a_run_without_a_dump_says_why(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "fine")
    diverged_run(outputs, nan_dump=0)
    code, text = replay(capsys, "fine", "nan")
    assert code == 2
    assert_names(text, "fine", "finished", "status=diverged")
    code, text = replay(capsys, "lost", "nan")
    assert code == 2
    assert_names(text, "lost", "nan_dump=0", "nan_dump=32")


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--env", "5"], ("--env 5", "3")),
        (["--speed", "0"], ("--speed 0", "0.1")),
        (["--film", "film.gif"], ("film.gif", ".mp4")),
        (["--window"], ("--window", "display", "--film")),
    ],
)
def test_wrong_options_are_refused(
    outputs: Path, capsys: pytest.CaptureFixture[str], words: list[str], names: tuple[str, ...]
) -> None:
    dump(diverged_run(outputs))
    code, text = replay(capsys, "lost", "nan", *words)
    assert code == 2
    assert_names(text, *names)


def test_a_task_without_a_robot_has_a_table_and_no_film(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = diverged_run(outputs)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["env"] = {"_target_": "regimen.envs.hidden_goal.PointGoal", "goals": "all"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    dump(folder)
    code, text = replay(capsys, "lost", "nan")
    assert code == 0
    assert_names(text, "then", "no robot")
    code, text = replay(capsys, "lost", "nan", "--film")
    assert code == 2
    assert_names(text, "no robot")


def test_show_lists_the_dump_and_proposes_the_replay(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dump(diverged_run(outputs))
    assert main.main(["show", "lost"]) == 0
    assert_names(capsys.readouterr().out.splitlines()[-1], "next", "regimen replay lost nan")


def test_completion_offers_what_can_be_replayed(outputs: Path) -> None:
    dump(diverged_run(outputs))
    assert "lost" in complete("regimen replay lo")
    assert complete("regimen replay lost ") == ["nan"]
    assert complete("regimen replay lost nan --f") == ["--film"]
