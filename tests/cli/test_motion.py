"""`regimen motion`: facts, a repaired file, pictures, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.motions import isaac_lab_arrays, save, walk, with_doubled_frames, with_rotation_vectors
from regimen.cli import main
from regimen.envs.motion.clip import read_clip
from regimen.envs.robots.robot import load


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "walk.npz", with_doubled_frames(with_rotation_vectors(isaac_lab_arrays(walk()))))


def test_facts_of_a_clip_that_is_shipped(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["motion", "humanoid_walk", "--facts"]) == 0
    assert_names(capsys.readouterr().out, "humanoid", "77", "30 Hz", "2.53 s", "1.54 m/s", "BSD-3-Clause", "repaired")


def test_a_file_of_isaac_lab_is_repaired_and_saved(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["motion", "walk.npz", "--facts", "--cycle", "--save", "mine.npz"]) == 0
    out = capsys.readouterr().out
    assert_names(out, "154", "77", "rotation vectors", "cycle", "env.motion.clips")
    assert read_clip(foreign.with_name("mine.npz"), load("humanoid")).cyclic


def test_a_clip_becomes_one_of_another_robot(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["motion", "humanoid_walk", "--retarget", "h1", "--facts", "--save", "walk_h1.npz"]) == 0
    assert_names(
        capsys.readouterr().out, "h1", "error, cm", "ankle", "sliding", "at limits", "retargeted", "BSD-3-Clause"
    )
    assert read_clip(foreign.with_name("walk_h1.npz"), load("h1")).speed == pytest.approx(1.6, abs=0.1)


def test_bad_input_is_refused(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, named in (
        (["nothing"], ["nothing", "humanoid_walk"]),
        (["walk.npz", "--robot", "go2"], ["walk.npz", "base"]),
        (["humanoid_walk", "--retarget", "go2"], ["go2", "h1"]),
        (["walk.npz", "--save", "mine.txt"], ["mine.txt", ".npz"]),
        (["walk.npz", "--quat-order", "xyzw"], ["walk.npz", "--quat-order wxyz"]),
    ):
        assert main.main(["motion", *arguments, "--facts"]) == 2
        assert_names(capsys.readouterr().err, *named)


@pytest.mark.slow
def test_a_strip_and_a_film_are_drawn(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av
    from PIL import Image

    assert main.main(["motion", "walk.npz", "--folder", "pictures"]) == 0
    assert_names(capsys.readouterr().out, "pictures/walk.png", "pictures/walk.mp4")
    strip = Image.open("pictures/walk.png")
    assert strip.size == (1600, 300) and len(set(strip.resize((40, 8)).tobytes())) > 20
    with av.open("pictures/walk.mp4") as film:
        assert sum(1 for _ in film.decode(video=0)) == 77
