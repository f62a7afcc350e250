"""Options of a rollout: video, real time, viewer, step log; checked before a simulator starts."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regimen.config import static_types
from regimen.display.window import no_window

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

INSTEAD = "For a video type video=true instead."
PORT = 8080
"""Port of the page of `viewer=browser` and `regimen watch`, unless another one is named."""
BROWSER = "browser"
"""Value of `viewer` for a page in the browser."""


@dataclass
class PlaybackCfg:
    """Observers of a rollout.

    Attributes:
        video_seconds: length of the video of `video=true` in s; the video ends with the first episode at the latest.
        video_length: length of the video in steps instead, across episodes.
        real_time: whether each step lasts its nominal time; the real-time factor is recorded.
        viewer: true: a window shows env 0, which needs a display; browser: a page shows the first envs, on loopback.
        viewer_port: of that page; the next free one if it is in use.
        log_data: whether every step of some envs is written to `logs/steps.h5`, with joints and commands.
        log_steps: steps in that log, across episodes.
        log_env_ids: env ids in that log.
    """

    video_seconds: float = 10.0
    video_length: int | None = None
    real_time: bool = False
    viewer: bool | str = False
    viewer_port: int = PORT
    log_data: bool = False
    log_steps: int = 5000
    log_env_ids: list[int] = field(default_factory=lambda: [0, 1, 2])


def problems(cfg: PlaybackCfg, config: PlainConfig, num_envs: int) -> list[str]:
    """Return the problems of `video_length`, `real_time`, `viewer` and `log_*`, one line each.

    Args:
        cfg: options of the rollout.
        config: the run's plain config.
        num_envs: envs that the stage opens.
    """
    lines = []
    if cfg.video_length is not None and cfg.video_length < 1:
        lines.append(f"video_length={cfg.video_length}: expected steps, 1 or more, or null for video_seconds.")
    if cfg.video_length is not None and not config.get("video"):
        lines.append(f"video_length={cfg.video_length}: no video is recorded. Type video=true too.")
    if cfg.log_data:
        lines += _log_problems(cfg.log_steps, cfg.log_env_ids, num_envs)
    if cfg.viewer == BROWSER:
        lines += _browser_problems(cfg, config)
    elif isinstance(cfg.viewer, str):
        lines.append(f"viewer={cfg.viewer}: expected true, false or {BROWSER}.")
    elif cfg.viewer:
        lines += _viewer_problems(config)
    return lines + _evaluator_problems(cfg, config)


def _log_problems(steps: int, env_ids: list[int], num_envs: int) -> list[str]:
    lines = [] if steps >= 1 else [f"log_steps={steps}: expected 1 or more."]
    beyond = [i for i in env_ids if not 0 <= i < num_envs]
    if not env_ids or len(set(env_ids)) < len(env_ids):
        lines.append(f"log_env_ids={env_ids}: expected env ids, each once, such as [0].")
    elif beyond:
        lines.append(
            f"log_env_ids={env_ids}: there is no env {', '.join(map(str, beyond))}. The stage opens envs 0 to "
            f"{num_envs - 1}; stage.envs_per_command sets their number."
        )
    return lines


def _browser_problems(cfg: PlaybackCfg, config: PlainConfig) -> list[str]:
    lines = []
    if not static_types.class_variable(config.get("env") or {}, "MANAGER_BASED"):
        task = (config.get("choices") or {}).get("task")
        lines.append(f"viewer={BROWSER}: task={task} has no robot that the page could show. {INSTEAD}")
    if importlib.util.find_spec("viser") is None:
        lines.append(f"viewer={BROWSER}: needs viser. Type: {sys.executable} -m pip install -e '.[viewer]'.")
    if cfg.real_time:
        lines.append(f"real_time=true: the page of viewer={BROWSER} sets the speed. Remove it.")
    if not 0 < cfg.viewer_port < 65536:
        lines.append(f"viewer_port={cfg.viewer_port}: expected a port, such as 8080.")
    return lines


def _viewer_problems(config: PlainConfig) -> list[str]:
    hardware = config.get("hardware") or {}
    needed = {"env": "MANAGER_BASED", "sim": "MUJOCO"}
    if not all(static_types.class_variable(config.get(key) or {}, name) for key, name in needed.items()):
        return [
            "viewer=true: the viewer needs a task of sim=mujoco; sim=genesis has its own viewer, "
            f"sim.viewer=true. {INSTEAD}"
        ]
    if hardware.get("scheduler"):
        return [f"viewer=true: a run on a scheduler has no display. {INSTEAD}"]
    why = no_window(os.environ.get("DISPLAY"), os.environ.get("WAYLAND_DISPLAY"))
    return [f"viewer=true: {why} {INSTEAD}"] if why else []


def _evaluator_problems(cfg: PlaybackCfg, config: PlainConfig) -> list[str]:
    """Return a line if the agent has an evaluation of its own, whose rollout has no observers."""
    names = [name for name in ("video_length", "real_time", "viewer", "log_data") if getattr(cfg, name)]
    agent = config.get("agent") or {}
    if not names or static_types.class_variable(agent, "EVALUATOR") is None:
        return []
    name = agent["_target_"].rpartition(".")[2]
    return [f"{', '.join(names)}: not available in the evaluation of {name}. Remove it."]
