"""Windows of learning histories: `context + 1` rows in a row, of which the first is only what came before.

At row t the model reads o_t, a_(t-1) and r_(t-1), and predicts a_t. A history's own first row is the first token of
a window, too: an empty context then means a learner that has learned nothing yet, as at inference. Nothing
here depends on the order of files or datasets: histories are sorted by content.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from regimen.agents.vintix.config import SamplingCfg
from regimen.agents.vintix.model import Group
from regimen.agents.vintix.policy import Scaling
from regimen.data.histories.file import History
from regimen.data.histories.reader import Histories, open_histories
from regimen.system.errors import DatasetError

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

LEAST_STD = 1e-2
"""Standard deviation below which an observed channel is treated as constant, and not amplified."""


@dataclass(frozen=True)
class Batch:
    """B windows of T tokens of one task.

    Attributes:
        task: its number.
        observation: (B, T, D), scaled.
        action: (B, T, A) before the observation.
        reward: (B, T) for that action, scaled.
        begins: (B, T) bool, where an episode begins.
        target: (B, T, A), the action that was taken.
    """

    task: int
    observation: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    begins: torch.Tensor
    target: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """Return it on a device."""
        names = ("observation", "action", "reward", "begins", "target")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in names})


@dataclass(frozen=True)
class TaskDataset:
    """What the header of a task's histories says of their recording; a value that it lacks is None.

    Attributes:
        io: `IOSpec.to_dict` of the task; None or empty for an imported dataset.
        random_score: return of random actions.
        expert_score: return of the best policy.
        reward_scale: factor of the rewards.
        mode: how the histories were made.
    """

    io: StateDict | None
    random_score: float | None
    expert_score: float | None
    reward_scale: float
    mode: str | None

    @classmethod
    def of(cls, histories: Histories) -> TaskDataset:
        """Return the facts of a dataset."""
        return cls(**{field.name: getattr(histories.about, field.name) for field in fields(cls)})


@dataclass(frozen=True)
class Task:
    """A task, and the rows of all its histories one after the other.

    Attributes:
        name: of the task.
        group: its group's name.
        about: widths of the group.
        dataset: facts of its dataset.
        scaling: of observations and rewards, that of the group, which also applies to new tasks.
        rows: `observation` (R, D), scaled, `action` (R, A), `reward` (R,), scaled, `begins` (R,).
        train: rows before the first tokens of the windows that are learned from.
        val: of those that are not.
        histories: number of training and of held-out histories.
    """

    name: str
    group: str
    about: Group
    dataset: TaskDataset
    scaling: Scaling
    rows: dict[str, torch.Tensor]
    train: np.ndarray
    val: np.ndarray
    histories: tuple[int, int]


class Windows:
    """The windows of several tasks, numbered from 0.

    Attributes:
        tasks: sorted by name.
    """

    def __init__(self, tasks: Sequence[Task], context: int, held_out: bool = False) -> None:
        """Number them.

        Args:
            tasks: see `load`.
            context: T.
            held_out: whether those that are not learned from are meant.
        """
        self.tasks = list(tasks)
        starts = [task.val if held_out else task.train for task in self.tasks]
        self._start = torch.from_numpy(np.concatenate(starts))
        self._task = np.repeat(np.arange(len(starts)), [len(s) for s in starts])
        self._steps = torch.arange(context)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._task)

    def batches(self, numbers: np.ndarray) -> list[Batch]:
        """Return the windows `numbers` (B,), those of each task side by side."""
        of = self._task[numbers]
        return [self._batch(int(task), numbers[of == task]) for task in np.unique(of)]

    def _batch(self, task: int, numbers: np.ndarray) -> Batch:
        before = self._start[torch.from_numpy(numbers)][:, None] + self._steps
        rows = self.tasks[task].rows

        def take(name: str, at: torch.Tensor) -> torch.Tensor:
            return rows[name].index_select(0, at.flatten()).unflatten(0, at.shape)

        here = before + 1
        before = before.clamp(min=0)  # the row before a history is not used
        earlier = (take("action", before), take("reward", before))
        return Batch(task, take("observation", here), *earlier, take("begins", here), take("action", here))


def load(paths: Sequence[Path], cfg: SamplingCfg, context: int, seed: int, memory_bytes: int) -> list[Task]:
    """Return the tasks of several datasets, sorted by name; datasets of the same task are put together.

    Args:
        paths: of `histories.json`.
        cfg: see `SamplingCfg`.
        context: tokens of a window.
        seed: of the choice of histories that are held out.
        memory_bytes: limit for all rows and what reading them takes.

    Raises:
        DatasetError: datasets of a task or group do not agree, histories are too short, or memory does not suffice.
    """
    by_task: dict[str, list[Histories]] = {}
    for histories in map(open_histories, paths):
        by_task.setdefault(histories.task, []).append(histories)
    _require_room(by_task, cfg, memory_bytes)
    tasks = [_TaskHistories.of(name, by_task[name], cfg, context, seed) for name in sorted(by_task)]
    scaling = {group: _scaling(group, [t for t in tasks if t.group == group]) for group in {t.group for t in tasks}}
    return [one.task(cfg, context, scaling[one.group]) for one in tasks]


def _most_rows(histories: Histories, cfg: SamplingCfg) -> np.ndarray:
    """Return the most rows that `_cut` can leave of each history, (H,)."""
    return np.ceil(cfg.last_frac * histories.rows).astype(int)


def _require_room(by_task: dict[str, list[Histories]], cfg: SamplingCfg, memory_bytes: int) -> None:
    """Raise unless the rows of all histories fit, and two copies of the largest one while it is read.

    Beside its observations and actions a history has up to four columns in its file, two of which are kept.
    """
    every = [h for datasets in by_task.values() for h in datasets]
    kept = sum(int(_most_rows(h, cfg).sum()) * 4 * (h.observation_size + h.num_actions + 2) for h in every)
    needed = kept + 2 * max(int(h.rows.max()) * 4 * (h.observation_size + h.num_actions + 4) for h in every)
    if needed > memory_bytes:
        raise DatasetError(
            f"These histories take up to {needed / 2**30:.1f} GiB, allowed are {memory_bytes / 2**30:.1f}: set "
            f"stage.memory_gb={needed / 2**30 + 0.1:.1f}, or leave datasets out."
        )


@dataclass(frozen=True)
class _TaskHistories:
    """The histories of a task, some of them held out.

    Attributes:
        name: of the task.
        group: its group's name.
        about: widths of the group.
        dataset: facts of its dataset.
        rows: as in `Task`, before they are scaled.
        begin: (H + 1,) first row of each history, and the number of all.
        held: numbers of the histories that are held out.
    """

    name: str
    group: str
    about: Group
    dataset: TaskDataset
    rows: dict[str, np.ndarray]
    begin: np.ndarray
    held: set[int]

    @classmethod
    def of(cls, name: str, datasets: list[Histories], cfg: SamplingCfg, context: int, seed: int) -> _TaskHistories:
        first = datasets[0]
        for other in datasets[1:]:
            _require_same(name, first, other)
        files = [(row.sha256, h, number) for h in datasets for number, row in enumerate(h.about.files)]
        files.sort(key=lambda file: file[0])
        about = Group(first.observation_size, first.num_actions, first.discrete)
        rows, begin = _empty_rows(sum(int(_most_rows(h, cfg).sum()) for h in datasets), about), [0]
        for _, histories, number in files:
            begin.append(_fill(rows, begin[-1], _cut(histories, number, cfg, context)))
        rows = {column: values[: begin[-1]] for column, values in rows.items()}
        held = _held_out(len(files), cfg.held_out, seed)
        return cls(name, first.group, about, TaskDataset.of(first), rows, np.array(begin), held)

    def learned(self) -> Iterator[np.ndarray]:
        """Yield the observations (n, D) of each history that is learned from."""
        for i, (start, stop) in enumerate(pairwise(self.begin)):
            if i not in self.held:
                yield self.rows["observation"][start:stop]

    def task(self, cfg: SamplingCfg, context: int, scaling: Scaling) -> Task:
        """Return the task; its rows are scaled in place."""
        starts: dict[bool, list[np.ndarray]] = {True: [np.zeros(0, dtype=int)], False: [np.zeros(0, dtype=int)]}
        for i, (start, stop) in enumerate(pairwise(self.begin)):
            every = context if i in self.held else cfg.trajectory_sparsity
            whole = bool(self.rows["begins"][start])
            starts[i in self.held].append(start + _starts(stop - start, whole, context, every))
        train, val = np.concatenate(starts[False]), np.concatenate(starts[True])
        count = len(self.begin) - 1
        rows = {column: torch.from_numpy(values) for column, values in self.rows.items()}
        rows["observation"].sub_(scaling.mean).div_(scaling.std)
        rows["reward"].mul_(scaling.reward)
        counts = (count - len(self.held), len(self.held))
        return Task(self.name, self.group, self.about, self.dataset, scaling, rows, train, val, counts)


def _empty_rows(count: int, about: Group) -> dict[str, np.ndarray]:
    """Return room for `count` rows; memory that is not written to is not taken."""
    return {
        "observation": np.empty((count, about.observation), np.float32),
        "action": np.empty((count, about.action), np.float32),
        "reward": np.empty(count, np.float32),
        "begins": np.empty(count, bool),
    }


def _fill(rows: dict[str, np.ndarray], start: int, history: History) -> int:
    """Copy a history into the rows from `start` on; return the row after its last."""
    stop = start + len(history)
    for column in ("observation", "action", "reward"):
        rows[column][start:stop] = getattr(history, column)
    rows["begins"][start:stop] = history.step_num == 0
    return stop


def _require_same(name: str, first: Histories, other: Histories) -> None:
    for key in ("group", "observation_shape", "action_dim", "action_type", "reward_scale", "io"):
        if getattr(other.about, key) != getattr(first.about, key):
            raise DatasetError(
                f"{first.path.parent} and {other.path.parent} both hold task {name}, but their {key} differ: give "
                "one of them another task_name."
            )


def _cut(histories: Histories, index: int, cfg: SamplingCfg, context: int) -> History:
    """Return a history without left-out episodes and early rows."""
    every = cfg.episode_sparsity or histories.about.episode_sparsity
    history = histories[index].thinned(every)
    first = len(history) - round(cfg.last_frac * len(history))
    if len(history) - first < context + 1:
        raise DatasetError(
            f"{histories.path.parent / history.name} has {len(history) - first} rows left, with "
            f"episode_sparsity={every} and last_frac={cfg.last_frac:g}; a context of {context} needs {context + 1}. "
            "Choose a shorter context (agent.model.context), keep more of it, or collect longer histories."
        )
    rows = slice(first, None)
    columns = (history.observation[rows], history.action[rows], history.reward[rows], history.step_num[rows])
    return History(history.name, *columns)


def _held_out(count: int, share: float, seed: int) -> set[int]:
    """Return the numbers of the held-out histories; at least one is left for training."""
    wanted = min(count - 1, max(1, round(share * count))) if share > 0 else 0
    return set(np.random.default_rng(seed).permutation(count)[:wanted].tolist())


def _starts(length: int, whole: bool, context: int, every: int) -> np.ndarray:
    """Return the rows before the first tokens of windows; the last window ends where the history does, at its best.

    -1 stands for the window of a learner's first steps. A history that was cut within an episode has none: there is
    something before its first row.

    Args:
        length: rows of the history.
        whole: whether an episode begins with its first row.
        context: tokens of a window.
        every: rows from one window to the next.
    """
    last = length - context - 1
    first = [-1] if whole else []
    return np.unique([*first, *range(0, last + 1, every), last])


def _squares(gap: np.ndarray) -> np.ndarray:
    """Return the sum of the squares (D,) of rows (n, D)."""
    return np.asarray(np.einsum("nd,nd->d", gap, gap))


def _scaling(group: str, tasks: list[_TaskHistories]) -> Scaling:
    """Return mean and standard deviation (ddof 1) of the observations that a group's tasks learn from.

    Raises:
        DatasetError: the tasks do not agree in widths or in the scale of rewards.
    """
    first = tasks[0]
    for other in tasks[1:]:
        own, its = ((task.about, task.dataset.reward_scale) for task in (first, other))
        if own != its:
            raise DatasetError(
                f"Tasks {first.name} and {other.name} are both of the group {group}, but differ in widths or "
                f"reward_scale: {own} and {its}. Give one of them another group."
            )
    count = sum(len(part) for one in tasks for part in one.learned())
    mean = sum(part.sum(0, dtype=np.float64) for one in tasks for part in one.learned()) / count
    square = sum(_squares(part - mean) for one in tasks for part in one.learned())
    std = np.sqrt(square / (count - 1))
    parts = [torch.from_numpy(part.astype(np.float32)) for part in (mean, std.clip(LEAST_STD))]
    return Scaling(parts[0], parts[1], float(first.dataset.reward_scale))
