"""Descriptions of the commands that an exported policy observes, so that a robot can compute them."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from regimen.agents.export.descriptions import CommandDescription, ReferenceClip
from regimen.agents.export.terms import terms_of
from regimen.config.motion_files import resolve_motion
from regimen.envs.robots.robot import load
from regimen.envs.term_binding import find_term
from regimen.system.errors import RegimenError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from regimen.config.yaml_io import PlainConfig, PlainSection
    from regimen.envs.motion.clip import MotionClip

DIGITS = 6
"""Decimals of the poses of a clip: of metres, radians and rad/s."""


def describe_commands(groups: Iterable[str], env: PlainConfig) -> dict[str, CommandDescription]:
    """Return command -> description, of the commands that terms of the observation groups read.

    Args:
        groups: observation groups that the policy reads.
        env: plain configuration of the task.
    """
    readers: dict[str, list[str]] = {}
    for group in groups:
        for name, term in terms_of(group, env).items():
            if command := _command_of(term):
                readers.setdefault(command, []).append(f"{group}.{name}")
    commands = env.get("commands") or {}
    return {name: _described(commands[name], terms, env) for name, terms in readers.items() if commands.get(name)}


def _command_of(term: PlainSection) -> str | None:
    """Return the command that a term reads by its parameter `command`; None for one without."""
    given = (term.get("params") or {}).get("command")
    if given is not None:
        return str(given)
    try:
        parameter = inspect.signature(find_term("observations", str(term["func"]))).parameters.get("command")
    except RegimenError:  # a user's own term, whose module is not here
        return None
    return parameter.default if parameter is not None and isinstance(parameter.default, str) else None


def _described(term: PlainSection, terms: list[str], env: PlainConfig) -> CommandDescription:
    func, params = str(term["func"]), dict(term.get("params") or {})
    try:
        kind: Any = find_term("commands", func)
    except RegimenError:
        return CommandDescription(func, params, terms, "", "")
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.default is not parameter.empty
    }
    reads_clips = getattr(kind, "READS_CLIPS", False)
    return CommandDescription(
        func=func,
        params=defaults | params,
        terms=terms,
        value=_documented_value(kind),
        computed=str(getattr(kind, "COMPUTED", "")),
        clips=_clips(env) if reads_clips else [],
    )


def _documented_value(kind: Any) -> str:
    """Return what the docstring of a command says about its attribute `value`."""
    found = re.search(r"^\s*value: (.+(?:\n\s{8,}\S.*)*)", inspect.getdoc(kind) or "", re.MULTILINE)
    return " ".join(found[1].split()) if found else ""


def _clips(env: PlainConfig) -> list[ReferenceClip]:
    """Return the clips of a task in the order of its library, mirror images after the clips themselves."""
    from regimen.envs.motion.clip import read_clip

    robot, section = load(env["robot"]), env.get("motion") or {}
    named = [clip for clip in (section.get("clips") or {}).values() if clip]
    weights = [float(clip.get("weight", 1.0)) for clip in named]
    clips = [read_clip(resolve_motion(clip["file"]), robot) for clip in named]
    if section.get("mirrored") and robot.mirror is not None:
        clips, weights = clips + [clip.mirrored(robot.mirror) for clip in clips], weights * 2
    return [_clip(clip, weight / sum(weights)) for clip, weight in zip(clips, weights, strict=True)]


def _clip(clip: MotionClip, weight: float) -> ReferenceClip:
    shift, turn = clip.cycle()

    def rounded(rows: np.ndarray) -> Any:
        return rows.round(DIGITS).tolist()

    return ReferenceClip(
        name=clip.name,
        weight=weight,
        fps=clip.fps,
        duration_s=clip.duration,
        cyclic=clip.cyclic,
        cycle_shift=rounded(shift),
        cycle_turn=round(turn, DIGITS),
        joint_names=list(clip.joints),
        root_pos=rounded(clip.root_pos),
        root_quat=rounded(clip.root_quat),
        joint_pos=rounded(clip.joint_pos),
        joint_vel=rounded(clip.joint_vel),
        source=clip.source,
        license=clip.license,
    )
