"""Termination terms: functions of the env that return (N,) bool."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


def time_out(env: TermEnv) -> torch.Tensor:
    """The episode has lasted `episode_length_s`."""
    return env.episode_length >= env.max_episode_length


def illegal_contact(env: TermEnv, threshold: float = 1.0, bodies: torch.Tensor | slice = slice(None)) -> torch.Tensor:
    """A body that must not touch anything does, with more than `threshold` N."""
    return (env.state.contact_force[:, bodies] > threshold).any(1)


def root_height_below_minimum(env: TermEnv, minimum_height: float) -> torch.Tensor:
    """The base is lower than `minimum_height` m above the ground."""
    return env.height_above_ground(env.state.root_pos) < minimum_height


def terrain_out_of_bounds(env: TermEnv, margin: float = 1.0) -> torch.Tensor:
    """The base is less than `margin` m from the edge of the uneven ground, or beyond it; never true on flat ground."""
    if env.terrain is None:
        return torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    ground = env.terrain.ground
    outside = [
        (env.state.root_pos[:, axis] < ground.start[axis] + margin)
        | (env.state.root_pos[:, axis] > ground.end[axis] - margin)
        for axis in (0, 1)
    ]
    return outside[0] | outside[1]


def bad_orientation(env: TermEnv, limit_angle: float) -> torch.Tensor:
    """The base is tilted by more than `limit_angle` rad from upright."""
    return torch.acos((-env.state.gravity[:, 2]).clamp(-1.0, 1.0)) > limit_angle


def motion_anchor_error(env: TermEnv, limit: float, command: str = "motion") -> torch.Tensor:
    """The base is more than `limit` m from that of the tracked motion."""
    return env.commands[command].root_error() > limit


def motion_anchor_turn(env: TermEnv, limit: float, command: str = "motion") -> torch.Tensor:
    """The base is turned by more than `limit` rad against that of the tracked motion."""
    return env.commands[command].root_turn() > limit


def motion_body_error(env: TermEnv, limit: float, command: str = "motion") -> torch.Tensor:
    """A key body is more than `limit` m from the tracked one, each in its base frame."""
    return (env.commands[command].body_error() > limit).any(1)


def motion_finished(env: TermEnv, command: str = "motion") -> torch.Tensor:
    """The tracked clip has ended; never true of a cyclic one."""
    return env.commands[command].finished
