"""Pictures of a motion clip: a strip of poses, and a film."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.display.video import VideoWriter
from regimen.envs.sims.render import Renderer

if TYPE_CHECKING:
    from regimen.data.motion.model_poses import ModelPoses
    from regimen.envs.motion.clip import MotionClip

STRIP_POSES = 8
TILE = (200, 300)
"""Width and height in px of one pose of a strip."""

FILM_SIZE = (640, 480)
FILM_FPS = 30.0
"""Frames a second of a film at most; of faster clips some frames are left out."""


def draw_strip(
    clip: MotionClip, poses: ModelPoses, path: Path, source: tuple[MotionClip, ModelPoses] | None = None
) -> Path:
    """Write poses at even times side by side, from the first to the last frame, as a PNG; return its path.

    Args:
        clip: the clip.
        poses: of its robot.
        path: the file.
        source: another clip and its robot, drawn above at the same frames.
    """
    from PIL import Image

    frames = set(np.linspace(0, clip.frames - 1, min(STRIP_POSES, clip.frames)).round().astype(int).tolist())
    rows = [source, (clip, poses)] if source is not None else [(clip, poses)]
    lines = [np.concatenate(render_frames(*row, TILE, frames), axis=1) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(lines)).save(path)
    return path


def make_film(clip: MotionClip, poses: ModelPoses, path: Path) -> Path:
    """Write the clip in real time as an MP4; return its path."""
    step = max(1, round(clip.fps / FILM_FPS))
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, clip.fps / step) as film:
        for picture in render_frames(clip, poses, FILM_SIZE, set(range(0, clip.frames, step))):
            film.add(picture)
    return path


def render_frames(clip: MotionClip, poses: ModelPoses, size: tuple[int, int], frames: set[int]) -> list[np.ndarray]:
    """Return pictures (H, W, 3) uint8 of some frames of a clip, in their order.

    Args:
        clip: the clip.
        poses: of its robot.
        size: width and height in px.
        frames: indices of the frames.
    """
    import mujoco

    pictures = []
    with Renderer(poses.model, *size) as renderer:
        for frame, data in enumerate(poses.set_to(clip)):
            if frame in frames:
                mujoco.mj_comPos(poses.model, data)
                mujoco.mj_camlight(poses.model, data)
                pictures.append(renderer.render(data))
    return pictures
