"""Policies beside the clip that they are nearest to: the clip is found, and all begin at the same phase of the gait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from helpers.fault_studies import made
from regimen.config.motion_files import resolve_motion
from regimen.config.schema import Config
from regimen.config.structured import to_plain
from regimen.display.video import BAR
from regimen.envs.motion.clip import read_clip
from regimen.envs.robots.robot import load
from regimen.stages.reports.motion_pictures import STRIP_POSES, STRIP_TILE, RecordedMotion, draw
from regimen.stages.reports.sources import Source

pytestmark = pytest.mark.slow


def test_a_motion_is_drawn_beside_its_own_clip_at_the_same_phase(
    tmp_path: Path, compose_config: Callable[[list[str]], Config]
) -> None:
    clip = read_clip(resolve_motion("go2_forward_0.8"), load("go2"))
    fallen = replace(clip.cut(0, 30), joint_pos=clip.joint_pos[:30] + 0.3)
    motions = [RecordedMotion("later", clip.cut(7, clip.frames)), RecordedMotion("fallen", fallen, fell_s=0.6)]
    plain = to_plain(compose_config(["task=go2_amp", "stage=evaluate"]))
    source = Source.read(made(tmp_path, "judge", plain, {}, stage="evaluate"))
    told = draw(source, motions, 1.0, tmp_path)
    assert "go2_forward_0.8" in told and "0.50 s" in told
    # 25 frames are a cycle; frame 0 of the clip is at 18, 43, … of what begins 7 frames later, and 2 s are skipped
    assert (motions[0].start + 7) % 25 == 0 and motions[0].start >= 2 * 50
    strip = np.asarray(Image.open(tmp_path / "strip.png"))
    row = STRIP_TILE[1] + BAR
    assert strip.shape == (3 * row, STRIP_POSES * STRIP_TILE[0], 3)
    same, other = (np.abs(strip[: STRIP_TILE[1]] - strip[n * row :][: STRIP_TILE[1]].astype(int)) for n in (1, 2))
    legs = np.s_[STRIP_TILE[1] // 3 :]
    assert same[legs].mean() < 0.6 * other[legs].mean()
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == 25
    assert (tmp_path / "film.gif").stat().st_size > 1000
