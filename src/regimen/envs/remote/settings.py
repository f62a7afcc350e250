"""The task of a client at a server: which values a client may set, so that nothing it sends is imported or executed.

Names of classes, functions, robots and files come from the server's own configuration. A client sets numbers and
true/false, lists of them, and switches terms off: what a training or `stage=evaluate` changes.
"""

from __future__ import annotations

import copy
from typing import Any

from regimen.config import structured
from regimen.config.schema import Config
from regimen.config.task_schema import at_least_one
from regimen.config.yaml_io import PlainSection
from regimen.system.errors import ConfigError, raise_if_any

OF_THE_CLIENT = ("estimate", "evaluation")
"""Sections of a task that only the client reads: the fault estimate is added there, and the stage is there."""


def client_config(own: Config, env: PlainSection, seed: int, video: bool, dt: float | None, max_envs: int) -> Config:
    """Return the configuration with which a server opens the task of a client.

    Args:
        own: configuration of the server.
        env: plain section `env` of the client.
        seed: of the client's run.
        video: whether the client will call `render`.
        dt: the client's physics step in seconds, None for the server's.
        max_envs: largest `env.num_envs`.

    Raises:
        ConfigError: one line for each name that differs or number that is out of bounds.
    """
    present = structured.to_plain(own.env)
    given = {key: value for key, value in env.items() if key not in OF_THE_CLIENT}
    lines = differences({k: v for k, v in present.items() if k not in OF_THE_CLIENT}, given, "env")
    if dt is not None and dt != getattr(own.sim, "dt", dt):
        lines.append(f"sim.dt={dt:g}, the server has {own.sim.dt:g}: set sim.dt={own.sim.dt:g}.")
    count = env.get("num_envs", 1)
    lines += [f"env.{line}" for line in at_least_one(num_envs=count)] if isinstance(count, int) else []
    if isinstance(count, int) and count > max_envs:
        lines.append(f"env.num_envs={count}: the server gives {max_envs} to a client. Start it with stage.max_envs=…")
    if lines:
        raise ConfigError("The task differs from that of the server:\n  " + "\n  ".join(lines))
    config = copy.deepcopy(own)
    kept = {key: present[key] for key in OF_THE_CLIENT if key in present}
    config.env = structured.build(type(own.env), given | kept)
    config.seed, config.video = seed, video
    if hasattr(config.env, "problems"):
        plain = structured.to_plain(config)
        raise_if_any([f"env.{line}" for line in config.env.problems(plain)])
    return config


def differences(own: Any, given: Any, path: str) -> list[str]:
    """Return one line for each value of a client that is not the server's and not the client's to set.

    Args:
        own: value of the server, plain data.
        given: value of the client.
        path: dotted key of both.
    """
    if given is None or own == given:
        return []
    if isinstance(given, dict) and isinstance(own, dict):
        lines = [f"{path}.{key}: only the client has it" for key in given if key not in own and given[key] is not None]
        return lines + [
            line for key in given if key in own for line in differences(own[key], given[key], f"{path}.{key}")
        ]
    if _is_numeric(given) and (own is None or _is_numeric(own)):
        return []
    return [f"{path}: client {_short(given)}, server {_short(own)}"]


def _is_numeric(value: Any) -> bool:
    return all(map(_is_numeric, value)) if isinstance(value, list) else isinstance(value, bool | int | float)


def _short(value: Any) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
