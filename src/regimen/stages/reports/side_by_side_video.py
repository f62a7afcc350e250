"""Video of two policies side by side with the same seed, command and faulty joint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.config.task_schema import switch_off_events
from regimen.display.video import captioned
from regimen.stages.reports.sources import Source

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv

FPS = 25.0
GIF_FPS, GIF_WIDTH = 8.0, 560


@dataclass(frozen=True)
class Fault:
    """Fault of the video.

    Attributes:
        event: event term of the task.
        joint: name of the joint.
        onset_s: time of the onset in s.
        severity: in the unit of the event's mode.
    """

    event: str
    joint: str
    onset_s: float
    severity: float


def fault_of(source: Source) -> Fault:
    """Return the fault in the video of a fault evaluation, at the middle severity."""
    grid = source.config["env"]["evaluation"]["fault_grid"]
    cells = [(row["joint"], row["severity"]) for row in source.result["cells"]]
    joint = grid.get("film") or cells[0][0]
    severities = [severity for name, severity in cells if name == joint]
    return Fault(grid["event"], joint, float(grid["onset_s"]), float(severities[len(severities) // 2]))


@dataclass
class Clip:
    """Frames of one policy until its fall.

    Attributes:
        title: name of the policy.
        frames: images (H, W, 3) uint8 at `FPS`.
        fell_s: time of the fall in s; None without a fall.
    """

    title: str
    frames: list[np.ndarray] = field(default_factory=list)
    fell_s: float | None = None

    def at(self, index: int, fault: Fault) -> np.ndarray:
        """Return frame `index` with a caption; after the end, the last frame."""
        now = index / FPS
        fell = self.fell_s is not None and now >= self.fell_s
        state = f"fell after {self.fell_s:.1f} s" if fell else f"{now:.1f} s"
        broken = f"fault: {fault.joint}" if now >= fault.onset_s else "no fault"
        return captioned(self.frames[min(index, len(self.frames) - 1)], f"{self.title}: {state}, {broken}")


def record_clip(source: Source, title: str, fault: Fault, seconds: float, check_stop: Callable[[], None]) -> Clip:
    """Record the policy of a fault evaluation.

    Args:
        source: fault evaluation; gives task, command, policy and detector.
        title: name of the policy.
        fault: fault of the robot.
        seconds: maximum length in s.
        check_stop: called at each step; raises to stop.
    """
    import torch

    from regimen.agents.policy_file import load_bundle, load_policy
    from regimen.envs import open_env

    config = single_env_config(source)
    env, bundle = open_env(config), load_bundle(config.policy)
    clip = Clip(title)
    try:
        _fix_command_and_fault(env, config, fault)
        policy = load_policy(bundle, env, config.seed)
        every = max(1, round(1 / (FPS * env.step_dt)))
        with torch.inference_mode():
            obs, state = env.reset(seed=config.seed), None
            for step in range(min(round(seconds / env.step_dt), env.max_episode_length - 1)):
                check_stop()
                if step % every == 0:
                    clip.frames.append(env.render())
                action, state = policy.act(obs, state)
                obs, _, terminated, _, _ = env.step(action)
                if bool(terminated[0]):
                    clip.fell_s = (step + 1) * env.step_dt
                    break
    finally:
        env.close()
    return clip


def single_env_config(source: Source) -> Config:
    """Return the config of the evaluation for one env, without disturbances and noise."""
    from regimen.config.structured import load_config

    config = copy.deepcopy(load_config(source.folder / "config.yaml"))
    config.env.num_envs, config.env.observation_noise = 1, False
    switch_off_events(config.env, config.env.evaluation.disturbances)
    return config


def _fix_command_and_fault(env: VecEnv, config: Config, fault: Fault) -> None:
    """Fix command and fault of the env."""
    import torch

    from regimen.envs.robots.robot import load

    evaluation = config.env.evaluation
    env.fix_command(evaluation.command, torch.tensor([evaluation.fault_grid.command], device=env.device))
    joint = torch.tensor([load(config.env.robot).joints.index(fault.joint)], device=env.device)
    onset, severity = (torch.tensor([x], device=env.device) for x in (fault.onset_s, fault.severity))
    env.fix_event(fault.event, joint=joint, onset_s=onset, severity=severity)


def write(clips: list[Clip], fault: Fault, mp4: Path, gif: Path) -> None:
    """Write the clips side by side, as MP4 and as a small looping GIF.

    Args:
        clips: at least one; a shorter clip repeats its last frame.
        fault: for the captions.
        mp4: file to write.
        gif: file to write.
    """
    from regimen.display.video import VideoWriter, write_gif

    count = max(len(clip.frames) for clip in clips)
    frames = [np.concatenate([clip.at(i, fault) for clip in clips], axis=1) for i in range(count)]
    mp4.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(mp4, FPS) as writer:
        for frame in frames:
            writer.add(frame)
    write_gif(frames[:: round(FPS / GIF_FPS)], gif, fps=GIF_FPS, width=GIF_WIDTH)
