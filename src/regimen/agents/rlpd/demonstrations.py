"""Demonstrations as transitions: of files of whole episodes, or recorded from the task's scripted expert."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.rlpd.policy import groups_read
from regimen.agents.training_session import free_bytes
from regimen.data.demonstrations import iterate_demonstrations
from regimen.data.episode_collector import EpisodeCollector, scripted_demonstrator
from regimen.data.episodes.reader import open_all
from regimen.data.frame_store import frame_bytes
from regimen.data.transition_buffer import Transitions
from regimen.system.errors import DatasetError, PreflightError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from regimen.data.demonstrations import Demonstration
    from regimen.data.episodes.reader import EpisodeFile
    from regimen.envs.encoded_images.wrapper import FrozenEncoder
    from regimen.envs.vec_env import IOSpec, Obs, StepInfo, VecEnv

COPIES = 3
"""How often the images of files are in memory while they are read."""

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
    def of(cls, episodes: list[Demonstration], groups: Sequence[str]) -> Demonstrations:
        """Join the observation groups and images `groups` of episodes; there must be one."""
        transitions = [_transitions(episode, groups) for episode in episodes]
        return cls(Transitions.join(transitions), [len(episode) for episode in episodes])


def read(
    paths: Sequence[Path],
    io: IOSpec,
    groups: Sequence[str],
    task: str | None = None,
    encoder: FrozenEncoder | None = None,
    images: Sequence[str] = (),
) -> Demonstrations:
    """Return the successful episodes of files.

    Args:
        paths: files, or folders of them.
        io: observations and actions of the task.
        groups: observation groups of vectors to read.
        task: name of the task; None to take files of any task with these observations and actions.
        encoder: of the task's images; it then encodes those of the files, too.
        images: images to keep as they are, where there is no encoder.

    Raises:
        DatasetError: they are of another task, of other observations or actions, or hold no success.
        PreflightError: their images do not fit into the free memory.
    """
    files = open_all(paths)
    try:
        lines = _differences(files[0], io, [*groups, *images], encoder)
        if lines:
            if any(name not in files[0].io.images for name in images):
                sizes = {name: io.images[name] for name in images}
                lines.append(
                    f"agent.images={list(images)} needs demonstrations with these pictures, {sizes}. Record some with "
                    "the env.images of this training: stage=collect policy=scripted stage.episodes=25 env.images=…, or "
                    "remove data= where the task has a scripted expert."
                )
            of_policy = ((": policy ", ": demonstrations "), ("only the policy has", "only the demonstrations have"))
            for old, new in of_policy:
                lines = [line.replace(old, new) for line in lines]
            differing = "\n  ".join(lines)
            raise DatasetError(f"{files[0].path} holds no demonstrations of this task:\n  {differing}")
        others = [file for file in files if task is not None and file.attributes.task not in (None, task)]
        if others:
            raise DatasetError(
                f"{others[0].path} holds demonstrations of task={others[0].attributes.task}, and this is task={task}. "
                f"Record others: stage=collect task={task} policy=scripted stage.episodes=25."
            )
        _require_room(files, images)
        encoded = list(encoder.description.images) if encoder is not None and files[0].io.images else []
    finally:
        for file in files:
            file.close()
    tried, episodes = 0, []
    for episode in iterate_demonstrations(paths, [*encoded, *images]):
        tried += 1
        if episode.success:
            episodes.append(_encoded(episode, encoded, encoder))
    if not episodes:
        named = ", ".join(str(path) for path in paths)
        raise DatasetError(
            f"data={named}: none of {tried} episodes is a success, and only successful ones teach. Record others: "
            "stage=collect policy=scripted stage.episodes=25, or remove data= to let the task's scripted expert "
            "demonstrate."
        )
    return Demonstrations.of(episodes, [*groups, *images])


def _require_room(files: Sequence[EpisodeFile], images: Sequence[str]) -> None:
    """Raise unless the images fit into the free memory: once as episodes, and twice as transitions."""
    steps = sum(int(file.episodes().length.sum()) for file in files) if images else 0
    needed = COPIES * steps * frame_bytes({name: files[0].io.images[name] for name in images})
    if needed > (free := free_bytes(torch.device("cpu"))):
        raise PreflightError(
            f"data=: the pictures of {steps} steps take {needed / 2**30:.1f} GiB while they are read, "
            f"{free / 2**30:.1f} GiB are free. Name fewer files, or record smaller pictures: env.images.size."
        )


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


def _encoded(episode: Demonstration, cameras: list[str], encoder: FrozenEncoder | None) -> Demonstration:
    """Return an episode whose images `cameras` became features at the end of the group `policy`."""
    if encoder is None or not cameras:
        return episode
    features = encoder.encode({name: torch.from_numpy(episode.obs[name]) for name in cameras}).cpu().numpy()
    vectors = {group: rows for group, rows in episode.obs.items() if group not in cameras}
    return replace(episode, obs=vectors | {"policy": np.concatenate((vectors["policy"], features), 1)})


def _transitions(episode: Demonstration, groups: Sequence[str]) -> Transitions:
    obs = {group: torch.from_numpy(episode.obs[group]) for group in groups}
    return Transitions(
        obs={group: rows[:-1] for group, rows in obs.items()},
        action=torch.from_numpy(episode.action),
        reward=torch.from_numpy(episode.reward),
        mask=1.0 - torch.from_numpy(episode.terminated).float(),
        next_obs={group: rows[1:] for group, rows in obs.items()},
        intervened=torch.ones(len(episode), dtype=torch.bool),
    )


def one_step(
    obs: Obs,
    action: torch.Tensor,
    outcome: tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo],
    groups: Sequence[str],
    intervened: torch.Tensor,
) -> Transitions:
    """Return the transitions (N) of one step of all envs, on the CPU.

    Args:
        obs: before the step.
        action: (N, A).
        outcome: what `VecEnv.step` returned.
        groups: observation groups and images to keep.
        intervened: (N,) bool.
    """
    following, reward, terminated, truncated, info = outcome
    ended = terminated | truncated

    def reached(group: str) -> torch.Tensor:
        x = following[group]
        return torch.where(ended.view(-1, *(1,) * (x.dim() - 1)), info["final_obs"][group], x)

    after = {group: reached(group) for group in groups}
    before = {group: obs[group] for group in groups}
    before, after = ({group: x.cpu() for group, x in side.items()} for side in (before, after))
    return Transitions(before, action.cpu(), reward.cpu(), (~terminated).float().cpu(), after, intervened.cpu())


def record(
    env: VecEnv,
    noise: float,
    wanted: int,
    groups: Sequence[str],
    seed: int,
    on_step: Callable[[int], None] = lambda found: None,
) -> Demonstrations:
    """Let the task's scripted expert act from a seeded reset on until it has succeeded `wanted` times.

    Args:
        env: the task; afterwards it stands somewhere in an episode.
        noise: standard deviation of the noise on the expert's actions.
        wanted: episodes.
        groups: observation groups and images to keep.
        seed: of the reset and of the noise.
        on_step: called after each step with the number of successes so far.

    Raises:
        ConfigError: the task has no scripted expert.
        DatasetError: the expert fails too often.
    """
    collector = EpisodeCollector(env, scripted_demonstrator(env, noise, seed))
    collector.begin(seed)
    episodes: list[Demonstration] = []
    while len(episodes) < wanted:
        episodes += collector.step(wanted - len(episodes))
        on_step(len(episodes))
        if collector.attempts >= TRIES_PER_EPISODE * wanted and len(episodes) < wanted:
            raise DatasetError(
                f"The scripted expert succeeded in {len(episodes)} of {collector.attempts} episodes. Type a smaller "
                "agent.demonstrations.noise, or make the task easier."
            )
    return Demonstrations.of(episodes, groups)
