"""Pictures and films without a display, and what is said where they cannot be made."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import mujoco
import numpy as np
import pytest
from PIL import Image

from helpers.messages import assert_names, missing_names, raises_naming
from regimen.display.video import VideoWriter, write_gif
from regimen.envs.robots.robot import load
from regimen.envs.sims import render
from regimen.envs.sims.render import Renderer, pick_backend
from regimen.system.errors import ConfigError, PreflightError


@pytest.fixture(scope="module")
def backend() -> str:
    try:
        return pick_backend()
    except PreflightError as error:
        pytest.skip(str(error))


@pytest.fixture
def unprobed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pick_backend.cache_clear()
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    yield
    pick_backend.cache_clear()


def scene(name: str) -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_path(str(load(name).mjcf))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data


def moving_picture(count: int, height: int, width: int) -> list[np.ndarray]:
    frames = [np.full((height, width, 3), 40, np.uint8) for _ in range(count)]
    for i, frame in enumerate(frames):
        frame[10:30, 4 * i : 4 * i + 20] = (240, 120, 40)
    return frames


@pytest.mark.parametrize("name", ["go2", "h1", "k1", "reach_arm"])
def test_the_robot_is_in_the_picture(backend: str, name: str) -> None:
    model, data = scene(name)
    with Renderer(model) as renderer:
        picture = renderer.render(data)
        assert picture.shape == (480, 640, 3)
        assert picture.dtype == np.uint8
        orange = (picture[..., 0] > 140) & (picture[..., 2] < 90)
        assert orange.sum() > 50
        assert picture.std() > 20


def test_the_camera_follows_the_robot(backend: str) -> None:
    model, data = scene("go2")
    with Renderer(model, 160, 120) as renderer:
        first = renderer.render(data)
        data.qpos[:2] = [20, -7]  # whole squares of the ground, so that the picture is the same again
        mujoco.mj_forward(model, data)
        second = renderer.render(data)
    orange = [np.argwhere((p[..., 0] > 140) & (p[..., 2] < 90)).mean(0) for p in (first, second)]
    np.testing.assert_allclose(orange[0], orange[1], atol=1.5)


def test_the_robot_casts_a_shadow(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = scene("go2")
    with Renderer(model, 160, 120) as renderer:
        lit = renderer.render(data).astype(int)
        monkeypatch.setattr(render, "_cast_shadows", lambda *_: None)
        bare = renderer.render(data).astype(int)
    changed = np.abs(lit - bare).max(axis=-1) > 10
    assert 100 < changed.sum() < 4000
    assert (lit[changed].mean(-1) < bare[changed].mean(-1)).mean() > 0.95


def test_two_renderers_take_turns(backend: str) -> None:
    model, data = scene("go2")
    arm, arm_data = scene("reach_arm")
    with Renderer(model, 64, 48) as one, Renderer(arm, 96, 64, camera=None) as other:
        first = one.render(data)
        assert other.render(arm_data).shape == (64, 96, 3)
        np.testing.assert_array_equal(one.render(data), first)


def test_an_unknown_camera_is_refused() -> None:
    model, _ = scene("go2")
    with raises_naming(ConfigError, "trak", "track"):
        Renderer(model, camera="trak")


def test_osmesa_takes_over_with_a_message(
    unprobed: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(render, "_why_not", {"egl": "no libEGL", "osmesa": None}.get)
    with caplog.at_level(logging.WARNING):
        assert pick_backend() == "osmesa"
    assert_names(caplog.text, "osmesa", "egl", "no libEGL")


def test_without_any_backend_the_packages_are_named(unprobed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_why_not", lambda _: "missing")
    commands = ("apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri", "apt-get install libosmesa6")
    with raises_naming(PreflightError, "egl", "osmesa", "missing", *commands, "video=false"):
        pick_backend()


def test_the_environment_variable_leaves_one_choice(unprobed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(render, "_why_not", {"egl": None, "osmesa": "missing"}.get)
    with raises_naming(PreflightError, "osmesa", "missing", "apt-get install libosmesa6") as caught:
        pick_backend()
    assert missing_names(str(caught.value), "egl"), "it was not tried"


def test_the_probe_reports_what_failed() -> None:
    assert_names(render._why_not("no_such_backend") or "", "mujoco.no_such_backend")


@pytest.mark.slow
def test_a_process_that_never_closes_its_renderer_ends_quietly(backend: str) -> None:
    code = (
        "import mujoco; from regimen.envs.sims.render import Renderer; from regimen.envs.robots.robot import load\n"
        "model = mujoco.MjModel.from_xml_path(str(load('reach_arm').mjcf)); renderer = Renderer(model, 64, 48)"
    )
    environment = os.environ | {"MUJOCO_GL": backend}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_mp4_can_be_read_back(tmp_path: Path) -> None:
    path, frames = tmp_path / "film.mp4", moving_picture(20, 65, 97)
    with VideoWriter(path, fps=25.0) as writer:
        for frame in frames:
            writer.add(frame)
        assert not path.exists()
    assert writer.frames == 20
    writer.close()
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 25)
        assert (stream.width, stream.height) == (96, 64)
        pictures = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(pictures) == 20
    assert np.abs(pictures[7].astype(int) - frames[7][:64, :96]).mean() < 6


def test_an_interrupted_film_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyError), VideoWriter(tmp_path / "film.mp4") as writer:
        writer.add(moving_picture(1, 64, 64)[0])
        raise KeyError("stop")
    with VideoWriter(tmp_path / "empty.mp4"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_gif_is_small_and_loops(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    write_gif(moving_picture(12, 120, 160), path, fps=20, width=80)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size, gif.info["loop"], gif.info["duration"]) == (12, (80, 60), 0, 50)
    assert path.stat().st_size < 10_000
    with raises_naming(ValueError, "GIF", "frame"):
        write_gif([], tmp_path / "empty.gif")
    assert not (tmp_path / "empty.gif").exists()
