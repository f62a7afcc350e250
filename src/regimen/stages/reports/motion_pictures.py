"""Pictures of policies beside the motion clip that they are nearest to: a strip over one gait cycle, and a film."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.envs.vec_env import task_below
from regimen.stages.reports.side_by_side_video import FPS, GIF_FPS, captioned, single_env_config
from regimen.stages.reports.sources import Source

if TYPE_CHECKING:
    from regimen.data.motion.model_poses import ModelPoses
    from regimen.envs.motion.clip import MotionClip

SETTLE_S = 2.0
"""s at the beginning of an episode that are not drawn, if the robot stands for longer: it may start from standing."""

STRIP_POSES = 8
STRIP_TILE, FILM_TILE = (200, 200), (320, 320)
"""Width and height in px of one pose of the strip, and of one robot of the film."""

GIF_SECONDS, GIF_TILE = 4.0, 240
"""Length in s and width of a robot in px of the film on the page."""


@dataclass
class RecordedMotion:
    """Motion of one policy until its fall.

    Attributes:
        title: name of the policy.
        clip: poses at each control step.
        fell_s: time of the fall in s; None without a fall.
        start: frame from which it is drawn.
    """

    title: str
    clip: MotionClip
    fell_s: float | None = None
    start: int = 0


def record(source: Source, title: str, seconds: float, check_stop: Callable[[], None]) -> RecordedMotion:
    """Record the policy of an evaluation with the largest command of its grid.

    Args:
        source: evaluation; gives task and policy.
        title: name of the policy.
        seconds: drawn length in s.
        check_stop: called at each step; raises to stop.
    """
    import torch

    from regimen.agents.policy_file import load_bundle, load_policy
    from regimen.envs import open_env
    from regimen.stages.evaluate import assign_commands

    config = single_env_config(source)
    env, bundle = open_env(config), load_bundle(config.policy)
    task = task_below(env)
    rows, fell_s = [], None
    try:
        assign_commands(config.env.evaluation, env)
        policy = load_policy(bundle, env, config.seed)
        with torch.inference_mode():
            obs, state = env.reset(seed=config.seed), None
            for step in range(min(round((SETTLE_S + seconds) / env.step_dt) + 1, env.max_episode_length - 1)):
                check_stop()
                found = task.kinematics()
                rows.append(torch.cat([found[name][0] for name in ("root_pos", "root_quat", "joint_pos")]).cpu())
                action, state = policy.act(obs, state)
                obs, _, terminated, _, _ = env.step(action)
                if bool(terminated[0]):
                    fell_s = (step + 1) * env.step_dt
                    break
        return RecordedMotion(
            title, _as_clip(title, torch.stack(rows).numpy(), 1.0 / env.step_dt, config.env.robot), fell_s
        )
    finally:
        env.close()


def _as_clip(title: str, poses: np.ndarray, fps: float, robot: str) -> MotionClip:
    """Return poses (F, 7 + J) as a clip of at least two frames."""
    from regimen.envs.motion.clip import MotionClip
    from regimen.envs.robots.robot import load

    poses = poses if len(poses) > 1 else poses.repeat(2, axis=0)
    return MotionClip(title, fps, list(load(robot).joints), poses[:, :3], poses[:, 3:7], poses[:, 7:], robot)


def draw(source: Source, motions: Sequence[RecordedMotion], seconds: float, folder: Path) -> str:
    """Write `strip.png`, `film.mp4` and `film.gif` of the nearest clip of the task and of the policies.

    The clip is the one nearest to the first policy. All begin at the same phase of the gait: each policy where its
    joints are most like those of the clip over one cycle.

    Args:
        source: evaluation; gives task and clips.
        motions: at least one.
        seconds: length of the film in s.
        folder: for the files.

    Returns:
        Name of the clip, and the duration of a cycle, in words.
    """
    from regimen.config.structured import load_config
    from regimen.data.motion.model_poses import ModelPoses
    from regimen.envs.robots.robot import load

    cfg = load_config(source.folder / "config.yaml").env
    robot, fps = load(cfg.robot), motions[0].clip.fps
    name, clip, cycle = _nearest_clip(source, motions[0].clip)
    cycle_s = (cycle.frames - 1) / cycle.fps
    for motion in motions:
        motion.start = _alike(motion.clip, cycle)[1]
    wanted = max(cycle.frames, round(seconds * fps) + 1)
    rows: list[Row] = [(f"clip {name}", None, _turned_forward(_looped(clip, cycle.frames - 1, wanted)))]
    rows += [(motion.title, motion, _turned_forward(_from_start(motion, wanted))) for motion in motions]
    poses = ModelPoses(robot)
    _draw_strip(rows, cycle.frames, poses, folder / "strip.png")
    _make_film(rows, poses, seconds, folder)
    return f"clip {name}, gait cycle of {cycle_s:.2f} s"


Row = tuple[str, RecordedMotion | None, "MotionClip"]
"""Title, the recording if it is of a policy, and the poses to draw."""


def _nearest_clip(source: Source, motion: MotionClip) -> tuple[str, MotionClip, MotionClip]:
    """Return name, clip and its first gait cycle, at the rate of `motion`, of the task's clip most like it."""
    from regimen.config.motion_files import resolve_motion
    from regimen.data.motion.cycle import gait_period
    from regimen.envs.motion.clip import read_clip
    from regimen.envs.robots.robot import load

    env, best = source.config["env"], []
    for section in filter(None, env["motion"]["clips"].values()):
        path = resolve_motion(section["file"])
        clip = read_clip(path, load(env["robot"]))
        frames = round(gait_period(clip) * motion.fps)
        resampled = _resampled(clip, motion.fps)
        cycle = resampled.cut(0, frames + 1)
        best.append((_alike(motion, cycle)[0], path.stem, resampled, cycle))
    _, name, clip, cycle = min(best, key=lambda found: found[0])
    return name, clip, cycle


def _alike(motion: MotionClip, cycle: MotionClip) -> tuple[float, int]:
    """Return the least mean squared difference of joints, rad², over the cycle, and the frame at which it begins."""
    first = round(SETTLE_S * motion.fps)
    last = motion.frames - cycle.frames
    first = min(first, max(0, last))
    gaps = []
    for start in range(first, max(first, min(last, first + 2 * cycle.frames)) + 1):
        part = motion.joint_pos[start : start + cycle.frames]
        gaps.append(float(((part - cycle.joint_pos[: len(part)]) ** 2).mean()))
    best = int(np.argmin(gaps))
    return gaps[best], first + best


def _resampled(clip: MotionClip, fps: float) -> MotionClip:
    """Return a clip at another rate, linear between its frames."""
    at = np.arange(int(np.floor(clip.duration * fps + 1e-9)) + 1) * clip.fps / fps
    below = np.minimum(at.astype(int), clip.frames - 2)
    part = (at - below)[:, None]

    def between(rows: np.ndarray) -> np.ndarray:
        mixed: np.ndarray = (1 - part) * rows[below] + part * rows[below + 1]
        return mixed

    quat = between(clip.root_quat)
    quat /= np.linalg.norm(quat, axis=1, keepdims=True)
    return replace(clip, fps=fps, root_pos=between(clip.root_pos), root_quat=quat, joint_pos=between(clip.joint_pos))


def _looped(clip: MotionClip, cycle: int, frames: int) -> MotionClip:
    """Return `frames` frames of a clip whose whole cycles, of `cycle` frames each, are repeated."""
    length = max(1, (clip.frames - 1) // cycle) * cycle
    index, rounds = np.arange(frames) % length, np.arange(frames) // length
    position = clip.root_pos[index].copy()
    position[:, :2] += rounds[:, None] * (clip.root_pos[length] - clip.root_pos[0])[:2]
    return replace(clip, root_pos=position, root_quat=clip.root_quat[index], joint_pos=clip.joint_pos[index])


def _from_start(motion: RecordedMotion, frames: int) -> MotionClip:
    """Return at most `frames` frames of a recording from its start on."""
    clip = motion.clip
    start = min(motion.start, clip.frames - 2)
    return clip.cut(start, min(start + frames, clip.frames))


def _turned_forward(clip: MotionClip) -> MotionClip:
    """Return a clip that begins above the origin and moves, or if it stays heads, along x."""
    from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

    turns = Rotation.from_quat(clip.root_quat, scalar_first=True)
    x, y, _ = clip.root_pos[-1] - clip.root_pos[0]
    if np.hypot(x, y) < 0.2:
        x, y, _ = turns[0].apply((1.0, 0.0, 0.0))
    turn = Rotation.from_euler("z", -np.arctan2(y, x))
    position = turn.apply(clip.root_pos - clip.root_pos[0] * (1.0, 1.0, 0.0))
    return replace(clip, root_pos=position, root_quat=(turn * turns).as_quat(scalar_first=True))


def _draw_strip(rows: Sequence[Row], frames: int, poses: ModelPoses, path: Path) -> None:
    """Write one row of pictures of each, at the same times of a cycle of `frames` frames."""
    from PIL import Image

    from regimen.data.motion.pictures import render_frames

    times = np.linspace(0, frames - 1, STRIP_POSES + 1)[:-1].round().astype(int)
    lines = []
    for title, motion, clip in rows:
        shown = np.minimum(times, clip.frames - 1)
        index = sorted(set(shown.tolist()))
        pictures = dict(zip(index, render_frames(clip, poses, STRIP_TILE, set(index)), strict=True))
        line = np.concatenate([pictures[int(frame)] for frame in shown], axis=1)
        fell = f", fell after {motion.fell_s:.1f} s" if motion and motion.fell_s is not None else ""
        lines.append(captioned(line, f"{title}{fell}"))
    Image.fromarray(np.concatenate(lines)).save(path)


def _make_film(rows: Sequence[Row], poses: ModelPoses, seconds: float, folder: Path) -> None:
    """Write the films side by side; after its fall a robot lies still."""
    from regimen.data.motion.pictures import render_frames
    from regimen.display.video import VideoWriter, write_gif

    tiles = []
    count = round(seconds * FPS)
    for title, motion, clip in rows:
        index = np.minimum(np.round(np.arange(count) / FPS * clip.fps).astype(int), clip.frames - 1)
        unique = sorted(set(index.tolist()))
        pictures = dict(zip(unique, render_frames(clip, poses, FILM_TILE, set(unique)), strict=True))
        fallen = None if motion is None or motion.fell_s is None else f"{title}: fell after {motion.fell_s:.1f} s"
        tiles.append([captioned(pictures[int(i)], fallen if fallen and i == clip.frames - 1 else title) for i in index])
    frames = [np.concatenate(parts, axis=1) for parts in zip(*tiles, strict=True)]
    with VideoWriter(folder / "film.mp4", FPS) as writer:
        for frame in frames:
            writer.add(frame)
    short = frames[: round(GIF_SECONDS * FPS) : round(FPS / GIF_FPS)]
    write_gif(short, folder / "film.gif", fps=GIF_FPS, width=GIF_TILE * len(rows))
