"""Demonstrations: whole episodes with the observation after their last action, written and read as transitions.

The file is a dataset of episodes (`data/episodes`) of one env, in which the episodes follow one another, so that its
readers, card and export apply. Columns `final_obs/<group>`, zero but in the last row of an episode, complete it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regimen.data.episodes.lengths import SUCCESS, discount_problem
from regimen.data.episodes.reader import EpisodeFile, open_all
from regimen.data.episodes.schema import EpisodeAttributes, columns_for
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs.vec_env import IOSpec
from regimen.system.errors import DatasetError


@dataclass(frozen=True)
class Demonstration:
    """One episode of L steps.

    Attributes:
        obs: group -> (L + 1, d) float32, or (L + 1, H, W, C) uint8: before each action, and after the last.
        action: (L, A) float32.
        reward: (L,) float32.
        terminated: (L,) bool, true at most in the last step.
        truncated: (L,) bool, true at most in the last step.
        labels: name -> (L,) ground truth of the step that the action caused.
    """

    obs: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    labels: dict[str, np.ndarray]

    def __len__(self) -> int:
        """Return L."""
        return len(self.action)

    @property
    def success(self) -> bool:
        """Whether its last step is labelled a success; without such a label, whether it was rewarded."""
        return bool(self.labels[SUCCESS][-1]) if SUCCESS in self.labels else bool(self.reward[-1] > 0)


@dataclass(frozen=True)
class Demonstrations:
    """The transitions of E episodes, one after the other: R rows.

    Attributes:
        io: names, sizes and order of observations and actions of the recording.
        task: name of the task that was recorded, None if unknown.
        obs: group -> (R, d) float32; images (R, H, W, C) uint8 if they were asked for.
        action: (R, A) float32.
        reward: (R,) float32.
        terminated: (R,) bool: the value of the next observation is 0.
        truncated: (R,) bool: ended by time; the value of the next observation counts.
        next_obs: as `obs`: the observation after the action, at the end of an episode the one before the reset.
        episodes: rows of each episode.
        success: (E,) bool.
    """

    io: IOSpec
    task: str | None
    obs: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    next_obs: dict[str, np.ndarray]
    episodes: list[slice]
    success: np.ndarray

    def __len__(self) -> int:
        """Return R."""
        return len(self.action)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each episode, (E,)."""
        return np.array([rows.stop - rows.start for rows in self.episodes])

    def discount_problem(self, discount: float) -> str | None:
        """Return a warning if a training with `discount` learns nothing from these lengths; see `discount_problem`."""
        return discount_problem(float(np.median(self.lengths)), discount)


def read_demonstrations(paths: Sequence[Path], images: Sequence[str] = ()) -> Demonstrations:
    """Read all transitions into memory.

    Args:
        paths: files, or folders of files, that fit each other.
        images: image groups to read too; one picture of 128 x 128 is 48 KB. `iterate_demonstrations` reads them
            episode by episode.

    Raises:
        DatasetError: a file cannot be read, has no whole episode or no final observations, or lacks an image.
    """
    parts = list(iterate_demonstrations(paths, images))
    if not parts:
        raise DatasetError(f"{', '.join(map(str, paths))}: no whole episode. Record some: stage.episodes=25.")
    stops = np.cumsum([len(part) for part in parts]).tolist()
    with ExitStack() as stack:
        files = _open(paths, stack)
        io, task = files[0].io, files[0].attributes.task
    return Demonstrations(
        io=io,
        task=task,
        obs={group: np.concatenate([part.obs[group][:-1] for part in parts]) for group in parts[0].obs},
        action=np.concatenate([part.action for part in parts]),
        reward=np.concatenate([part.reward for part in parts]),
        terminated=np.concatenate([part.terminated for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        next_obs={group: np.concatenate([part.obs[group][1:] for part in parts]) for group in parts[0].obs},
        episodes=[slice(stop - len(part), stop) for part, stop in zip(parts, stops, strict=True)],
        success=np.array([part.success for part in parts]),
    )


def iterate_demonstrations(paths: Sequence[Path], images: Sequence[str] = ()) -> Iterator[Demonstration]:
    """Yield each whole episode, in the order of the files; one episode is in memory at a time.

    Args:
        paths: files, or folders of files, that fit each other.
        images: image groups to read too.

    Raises:
        DatasetError: a file cannot be read, has no final observations, or lacks an image.
    """
    with ExitStack() as stack:
        for file in _open(paths, stack):
            groups = [*file.io.observations, *images]
            if missing := [group for group in groups if f"final_obs/{group}" not in file.columns]:
                raise DatasetError(
                    f"{file.path} has no final observation of {', '.join(missing)}, and so no transition at the end of "
                    f"an episode. It has {', '.join(sorted(file.columns))}. Record whole episodes: "
                    "python launch.py stage=collect policy=… stage.episodes=25."
                )
            table = file.episodes()
            table = table.select((table.terminated | table.truncated) & ~table.staggered)
            for env, start, stop in zip(table.env.tolist(), table.start.tolist(), table.stop.tolist(), strict=True):
                yield _episode(file, groups, env, start, stop)


def _open(paths: Sequence[Path], stack: ExitStack) -> list[EpisodeFile]:
    return [stack.enter_context(file) for file in open_all(paths)]


def _episode(file: EpisodeFile, groups: list[str], env: int, start: int, stop: int) -> Demonstration:
    labels = [name for name in file.columns if name.startswith("labels/")]
    plain = ["action", "reward", "terminated", "truncated", *labels]
    one = slice(env, env + 1)
    rows = {n: v[:, 0] for n, v in file.read([*plain, *(f"obs/{g}" for g in groups)], slice(start, stop), one).items()}
    last = {n: v[:, 0] for n, v in file.read([f"final_obs/{g}" for g in groups], slice(stop - 1, stop), one).items()}
    return Demonstration(
        obs={group: np.concatenate([rows[f"obs/{group}"], last[f"final_obs/{group}"]]) for group in groups},
        action=rows["action"],
        reward=rows["reward"],
        terminated=rows["terminated"],
        truncated=rows["truncated"],
        labels={name.removeprefix("labels/"): rows[name] for name in labels},
    )


class DemonstrationWriter:
    """Appends steps of one episode after the other.

    Attributes:
        path: the file.
        episodes: number of whole episodes.
    """

    def __init__(self, path: Path, io: IOSpec, labels: dict[str, np.dtype], attributes: EpisodeAttributes) -> None:
        """Make the file; it is replaced if it exists.

        Args:
            path: the file.
            io: of the task.
            labels: name -> type.
            attributes: of the file.
        """
        groups = {group: io.size(group) for group in io.observations}
        columns = columns_for(groups, io.num_actions, labels, io.images, final_obs=True)
        self.path, self.episodes = path, 0
        self._no_obs = {
            name: np.zeros((1, *column.tail), column.dtype)
            for name, column in columns.items()
            if name.startswith("final_obs/")
        }
        self._writer = EpisodeWriter(path, columns, 1, attributes.head())

    @classmethod
    def resume(cls, path: Path, rows: int, episodes: int) -> DemonstrationWriter:
        """Continue a file after `rows` rows, which are `episodes` whole episodes; later rows are removed.

        Raises:
            DatasetError: the file has fewer rows.
        """
        self = cls.__new__(cls)
        self.path, self.episodes = path, episodes
        self._writer = EpisodeWriter.resume(path, rows)
        with EpisodeFile(path) as file:
            kinds = file.read([name for name in file.columns if name.startswith("final_obs/")], slice(0, 0))
        self._no_obs = {name: np.zeros(value.shape[1:], value.dtype) for name, value in kinds.items()}
        return self

    @property
    def rows(self) -> int:
        """Steps of all episodes so far."""
        return self._writer.rows

    def add_episode(self, episode: Demonstration) -> None:
        """Append a whole episode."""
        for step in range(len(episode)):
            self.add_step(
                obs={group: value[step] for group, value in episode.obs.items()},
                action=episode.action[step],
                reward=float(episode.reward[step]),
                terminated=bool(episode.terminated[step]),
                truncated=bool(episode.truncated[step]),
                labels={name: value[step] for name, value in episode.labels.items()},
                final_obs={group: value[-1] for group, value in episode.obs.items()},
            )

    def add_step(
        self,
        obs: dict[str, np.ndarray],
        action: np.ndarray,
        reward: float,
        terminated: bool,
        truncated: bool,
        labels: dict[str, np.ndarray],
        final_obs: dict[str, np.ndarray],
    ) -> None:
        """Append one step; the episode ends with it if it is terminated or truncated.

        Args:
            obs: group -> (d,) or (H, W, C) before the action.
            action: (A,).
            reward: of the step.
            terminated: whether the episode ended with it.
            truncated: whether its time ended with it.
            labels: name -> value of the step.
            final_obs: as `obs`, after the action; stored at the end of the episode only.
        """
        done = terminated or truncated
        values: dict[str, np.ndarray] = {f"obs/{group}": value[None] for group, value in obs.items()}
        values |= {"action": action[None], "reward": np.array([reward], np.float32)}
        values |= {"terminated": np.array([terminated]), "truncated": np.array([truncated])}
        values |= {"episode": np.array([self.episodes], np.int32)}
        values |= {f"labels/{name}": np.asarray(value)[None] for name, value in labels.items()}
        values |= {f"final_obs/{group}": value[None] for group, value in final_obs.items()} if done else self._no_obs
        self._writer.add(values)
        self.episodes += done

    def flush(self) -> None:
        """Return when all steps are in the file.

        Raises:
            OSError: the disk is full.
        """
        self._writer.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._writer.close()
