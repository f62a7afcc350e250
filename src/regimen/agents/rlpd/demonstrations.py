"""Demonstrations: successful episodes, read from files of `stage=collect` or recorded from the task's scripted expert.

An episode of a file succeeded if the column `labels/success` is true in its last row, and in a file without that column
if it ended by a termination with a positive reward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.rlpd.policy import groups_read
from regimen.data.episodes.reader import open_all
from regimen.data.transition_buffer import Transitions
from regimen.system.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from regimen.data.episodes.reader import EpisodeFile
    from regimen.envs.encoded_images.wrapper import FrozenEncoder
    from regimen.envs.vec_env import IOSpec, Obs, ScriptedExpert, StepInfo, VecEnv

SUCCESS = "labels/success"
FAINT = 1e-3
"""Discount of a whole demonstration below which the reward at its end teaches nothing about its beginning."""

CLEAR = 0.1
"""Discount of a whole demonstration that the advice of `discount_warning` leads to."""

TRIES_PER_EPISODE = 4
"""Episodes of the expert for each wanted success before the recording is given up."""


@dataclass(frozen=True)
class Demonstrations:
    """Successful episodes.

    Attributes:
        transitions: episode after episode.
        lengths: steps of each episode.
    """

    transitions: Transitions
    lengths: list[int]

    @classmethod
    def of(cls, episodes: list[Transitions]) -> Demonstrations:
        """Join episodes; there must be one."""
        return cls(Transitions.join(episodes), [len(episode) for episode in episodes])


def read(
    paths: Sequence[Path],
    io: IOSpec,
    groups: Sequence[str],
    task: str | None = None,
    encoder: FrozenEncoder | None = None,
) -> Demonstrations:
    """Return the successful episodes of files.

    Args:
        paths: files, or folders of them.
        io: observations and actions of the task.
        groups: observation groups to read.
        task: name of the task; None to take files of any task with these observations and actions.
        encoder: of the task's images; it then encodes those of the files, too.

    Raises:
        DatasetError: they are of another task, of other observations or actions, or hold no success.
    """
    files = open_all(paths)
    try:
        lines = _differences(files[0], io, groups, encoder) if files else []
        if lines:
            of_policy = ((": policy ", ": demonstrations "), ("only the policy has", "only the demonstrations have"))
            for old, new in of_policy:
                lines = [line.replace(old, new) for line in lines]
            differing = "\n  ".join(lines)
            raise DatasetError(f"{files[0].path} holds no demonstrations of this task:\n  {differing}")
        others = [file for file in files if task is not None and file.attributes.task not in (None, task)]
        if others:
            raise DatasetError(
                f"{others[0].path} holds demonstrations of task={others[0].attributes.task}, and this is task={task}. "
                f"Record others: stage=collect task={task} policy=scripted."
            )
        episodes = [episode for file in files for episode in _successes(file, groups, encoder)]
        tried = sum(len(file.episodes()) for file in files)
    finally:
        for file in files:
            file.close()
    if not episodes:
        named = ", ".join(str(path) for path in paths)
        raise DatasetError(
            f"data={named}: none of {tried} episodes is a success, and only successful ones teach. Record others: "
            "stage=collect policy=scripted, or remove data= to let the task's scripted expert demonstrate."
        )
    return Demonstrations.of(episodes)


def description(paths: Sequence[Path], wanted: Sequence[str] | None) -> tuple[IOSpec, list[str]]:
    """Return observations and actions of files, and the observation groups to read.

    Args:
        paths: files, or folders of them.
        wanted: groups; None for all groups of vectors.

    Raises:
        DatasetError: there is no file, they differ, or lack a group.
    """
    files = open_all(paths)
    try:
        if not files:
            raise DatasetError(f"There is no dataset in {', '.join(str(path) for path in paths)}.")
        groups = groups_read(wanted, files[0].io)
        files[0].require([f"obs/{group}" for group in groups])
        return files[0].io, groups
    finally:
        for file in files:
            file.close()


def _differences(file: EpisodeFile, io: IOSpec, groups: Sequence[str], encoder: FrozenEncoder | None) -> list[str]:
    """Return one line for each difference between a file and the observations and actions of the task."""
    if encoder is None or not file.io.images:
        return file.io.differences(io, tuple(groups))
    lines = encoder.description.misfits(file.io.images, file.attributes.task or None)
    return [line.replace(" env ", " demonstrations ") for line in lines] or encoder.description.extend(
        file.io
    ).differences(io, tuple(groups))


def _successes(file: EpisodeFile, groups: Sequence[str], encoder: FrozenEncoder | None) -> list[Transitions]:
    cameras = list(encoder.description.images) if encoder is not None and file.io.images else []
    names = [*(f"obs/{group}" for group in (*groups, *cameras)), "action", "reward", "terminated"]
    labelled = SUCCESS in file.columns
    episodes = []
    for columns in file.iterate([*names, SUCCESS] if labelled else names):
        if encoder is not None and cameras:
            features = encoder.encode({name: torch.from_numpy(columns[f"obs/{name}"]) for name in cameras})
            columns["obs/policy"] = np.concatenate((columns["obs/policy"], features.cpu().numpy()), 1)
        ended = bool(columns["terminated"][-1])
        success = columns[SUCCESS][-1] if labelled else ended and columns["reward"][-1] > 0
        # What followed on the last row of an episode is not in the file: it only matters without a termination.
        rows = len(columns["action"]) if ended else len(columns["action"]) - 1
        if success and rows:
            episodes.append(_transitions(columns, groups, rows))
    return episodes


def _transitions(columns: dict[str, np.ndarray], groups: Sequence[str], rows: int) -> Transitions:
    following = np.minimum(np.arange(1, rows + 1), len(columns["action"]) - 1)
    return Transitions(
        obs={group: torch.from_numpy(columns[f"obs/{group}"][:rows]) for group in groups},
        action=torch.from_numpy(columns["action"][:rows]),
        reward=torch.from_numpy(columns["reward"][:rows]),
        mask=1.0 - torch.from_numpy(columns["terminated"][:rows]).float(),
        next_obs={group: torch.from_numpy(columns[f"obs/{group}"][following]) for group in groups},
        intervened=torch.ones(rows, dtype=torch.bool),
    )


def one_step(
    obs: Obs,
    action: torch.Tensor,
    outcome: tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo],
    groups: Sequence[str],
    intervened: torch.Tensor,
) -> Transitions:
    """Return the transitions (N) of one step of all envs.

    Args:
        obs: before the step.
        action: (N, A).
        outcome: what `VecEnv.step` returned.
        groups: observation groups to keep.
        intervened: (N,) bool.
    """
    following, reward, terminated, truncated, info = outcome
    ended = (terminated | truncated)[:, None]
    after = {group: torch.where(ended, info["final_obs"][group], following[group]) for group in groups}
    before = {group: obs[group] for group in groups}
    return Transitions(before, action, reward, (~terminated).float(), after, intervened)


def record(
    env: VecEnv,
    expert: ScriptedExpert,
    wanted: int,
    groups: Sequence[str],
    seed: int,
    on_step: Callable[[int], None] = lambda found: None,
) -> Demonstrations:
    """Let the expert act from a seeded reset on until it has succeeded `wanted` times.

    Args:
        env: the task; afterwards it stands somewhere in an episode.
        expert: of this env.
        wanted: episodes.
        groups: observation groups to keep.
        seed: of the reset.
        on_step: called after each step with the number of successes so far.

    Raises:
        DatasetError: the expert fails too often.
    """
    obs = env.reset(seed=seed)
    running: list[list[Transitions]] = [[] for _ in range(env.num_envs)]
    episodes: list[Transitions] = []
    every, tried = torch.ones(env.num_envs, dtype=torch.bool), 0
    while len(episodes) < wanted:
        action = expert.act()
        outcome = env.step(action.to(env.device))
        step = one_step(obs, action, outcome, groups, every)
        obs, reward, terminated, truncated, info = outcome
        ended = (terminated | truncated).nonzero().squeeze(1)
        success = info["labels"].get("success", terminated & (reward > 0))
        for i in range(env.num_envs):
            running[i].append(step.select(torch.tensor([i])))
        for i in ended.tolist():
            tried += 1
            if success[i] and len(episodes) < wanted:
                episodes.append(Transitions.join(running[i]))
            running[i] = []
        expert.reset(ended)
        on_step(len(episodes))
        if tried >= TRIES_PER_EPISODE * wanted and len(episodes) < wanted:
            raise DatasetError(
                f"The scripted expert succeeded in {len(episodes)} of {tried} episodes. Type a smaller "
                "agent.demonstrations.noise, or make the task easier."
            )
    return Demonstrations.of(episodes)


def discount_warning(lengths: Sequence[int], gamma: float) -> str | None:
    """Return a warning if the reward at the end of the demonstrations hardly reaches their beginning, else None.

    Args:
        lengths: steps of each demonstration.
        gamma: discount of one step.
    """
    length = float(np.median(lengths))
    reaches = gamma**length
    if reaches >= FAINT:
        return None
    enough = 1.0 - math.floor((1.0 - CLEAR ** (1.0 / length)) * 1e4) / 1e4
    skip = math.ceil(length * math.log(gamma) / math.log(CLEAR))
    return (
        f"demonstrations of {length:.0f} steps: a reward at their end counts {gamma:g}^{length:.0f} = {reaches:.0e} at "
        f"their beginning, which teaches nothing. Type agent.gamma={enough:.4g}, or record with 1/{skip} of the steps "
        f"(each action held for {skip})."
    )
