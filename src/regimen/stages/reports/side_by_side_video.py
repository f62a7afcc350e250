"""Two policies with the same broken joint, side by side: same seed, command and fault, each in an env of its own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.stages.reports.sources import Source

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv

FPS = 25.0
GIF_FPS, GIF_WIDTH = 8.0, 560
BAR = 40
"""Height of the caption, px."""


@dataclass(frozen=True)
class Fault:
    """What breaks.

    Attributes:
        event: of the task.
        joint: name.
        onset_s: when, in s after the start.
        severity: in the unit of the event's mode.
    """

    event: str
    joint: str
    onset_s: float
    severity: float


def fault_of(source: Source) -> Fault:
    """Return the fault that is shown of an evaluation over faults: that of its own film, at the middle severity."""
    grid = source.config["env"]["evaluation"]["fault_grid"]
    cells = [(row["joint"], row["severity"]) for row in source.result["cells"]]
    joint = grid.get("film") or cells[0][0]
    severities = [severity for name, severity in cells if name == joint]
    return Fault(grid["event"], joint, float(grid["onset_s"]), float(severities[len(severities) // 2]))


@dataclass
class Clip:
    """One policy, filmed until it falls.

    Attributes:
        title: who it is.
        frames: pictures (H, W, 3) uint8, `FPS` a second.
        fell_s: when it fell; None if it did not.
    """

    title: str
    frames: list[np.ndarray] = field(default_factory=list)
    fell_s: float | None = None

    def at(self, index: int, fault: Fault) -> np.ndarray:
        """Return the picture with its caption; after the end the last one."""
        now = index / FPS
        fell = self.fell_s is not None and now >= self.fell_s
        state = f"fell after {self.fell_s:.1f} s" if fell else f"{now:.1f} s"
        broken = f"{fault.joint} broken" if now >= fault.onset_s else "all joints whole"
        return captioned(self.frames[min(index, len(self.frames) - 1)], f"{self.title}: {state}, {broken}")


def record_clip(source: Source, title: str, fault: Fault, seconds: float, goes_on: Callable[[], None]) -> Clip:
    """Film the policy that a run evaluated.

    Args:
        source: an evaluation over faults; its task, command, policy and detector are taken.
        title: who it is.
        fault: what breaks.
        seconds: length.
        goes_on: called at each step; raises where the work is to stop.
    """
    import torch

    from regimen.agents.policy_file import load_policy
    from regimen.envs import open_env
    from regimen.runs import checkpoint

    config = _alone(source)
    env, bundle = open_env(config), checkpoint.load(Path(str(config.policy)))
    take = Clip(title)
    try:
        _hold(env, config, fault)
        policy = load_policy(bundle, env, config.seed)
        every = max(1, round(1 / (FPS * env.step_dt)))
        with torch.inference_mode():
            obs, state = env.reset(seed=config.seed), None
            for step in range(min(round(seconds / env.step_dt), env.max_episode_length - 1)):
                goes_on()
                if step % every == 0:
                    take.frames.append(env.render())
                action, state = policy.act(obs, state)
                obs, _, terminated, _, _ = env.step(action)
                if bool(terminated[0]):
                    take.fell_s = (step + 1) * env.step_dt
                    break
    finally:
        env.close()
    return take


def _alone(source: Source) -> Config:
    """Return the configuration of an evaluation for one env, without disturbances and noise."""
    from regimen.config.structured import load_config

    config = copy.deepcopy(load_config(source.folder / "config.yaml"))
    config.env.num_envs, config.env.observation_noise = 1, False
    for name in config.env.evaluation.disturbances:
        config.env.events[name] = None
    return config


def _hold(env: VecEnv, config: Config, fault: Fault) -> None:
    """Fix the command and the fault of the only env."""
    import torch

    from regimen.envs.robots.robot import load

    judged = config.env.evaluation
    env.fix_command(judged.command, torch.tensor([judged.fault_grid.command], device=env.device))
    joint = torch.tensor([load(config.env.robot).joints.index(fault.joint)], device=env.device)
    onset, severity = (torch.tensor([x], device=env.device) for x in (fault.onset_s, fault.severity))
    env.fix_event(fault.event, joint=joint, onset_s=onset, severity=severity)


def captioned(frame: np.ndarray, words: str) -> np.ndarray:
    """Return a picture (H, W, 3) with a line of text under it, (H + BAR, W, 3)."""
    from PIL import Image, ImageDraw, ImageFont

    height, width = frame.shape[:2]
    whole = Image.new("RGB", (width, height + BAR), "white")
    whole.paste(Image.fromarray(frame), (0, 0))
    ImageDraw.Draw(whole).text((8, height + 7), words, fill="black", font=ImageFont.load_default(size=21))
    return np.asarray(whole)


def write(takes: list[Clip], fault: Fault, mp4: Path, gif: Path) -> None:
    """Write the takes beside each other, as a film and as a small endless picture.

    Args:
        takes: at least one; a shorter one stands still at its end.
        fault: told in the captions.
        mp4: file to write.
        gif: file to write.
    """
    from regimen.display.video import VideoWriter, write_gif

    count = max(len(take.frames) for take in takes)
    frames = [np.concatenate([take.at(i, fault) for take in takes], axis=1) for i in range(count)]
    mp4.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(mp4, FPS) as writer:
        for frame in frames:
            writer.add(frame)
    write_gif(frames[:: round(FPS / GIF_FPS)], gif, fps=GIF_FPS, width=GIF_WIDTH)
