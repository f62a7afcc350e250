"""The loop bookkeeping of a training: episode statistics, throughput, logs, checkpoints, stopping."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from regimen.system import host
from regimen.system.distributed import world_size
from regimen.system.errors import DivergedError

if TYPE_CHECKING:
    from regimen.envs.vec_env import StepInfo
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict
    from regimen.runs.run import Run

WINDOW = 100
"""Episodes over which return and length are averaged, at least; with more envs, one episode of each."""


class SessionCheckpoints(Protocol):
    """Receives the checkpoints of a training in an environment."""

    def due(self, step: int) -> bool:
        """Return whether a checkpoint is due at `step`."""
        ...

    def save(self, session: TrainingSession, bundle: PolicyBundle, metric: float | None) -> None:
        """Write the agent's `bundle`; only a save with a metric may become the best."""
        ...


class CheckpointStore(Protocol):
    """Reads and writes the checkpoints of a training on recorded data."""

    def load(self) -> StateDict | None:
        """Return the `training` part of the newest checkpoint; None where there is none."""
        ...

    def save(
        self,
        step: int,
        network: StateDict,
        training: StateDict,
        metric: float | None,
        epoch: int | None = None,
    ) -> None:
        """Write the checkpoint of a step.

        Args:
            step: optimiser steps or batches so far.
            network: `state_dict` of the network.
            training: everything else that a resumed training needs.
            metric: higher is better; a checkpoint with None never becomes the best.
            epoch: number of complete epochs, where the network is also to be kept under that number.
        """
        ...


class TrainingSession:
    """Records a training; the agent calls `step` for every env step and `end_iteration` after every update.

    Attributes:
        steps_done: env steps per env so far.
        total_steps: env steps per env when the training is done.
        steps_restored: of these, how many an earlier process did.
        first_step_at: when this process had done its first env step, in seconds since the epoch.
        first_step_cpu_s: seconds of the processor that it had used by then.
    """

    def __init__(self, run: Run, checkpoints: SessionCheckpoints, num_envs: int, total_steps: int) -> None:
        """Start with empty statistics.

        Args:
            run: receives logs and progress.
            checkpoints: receives bundles.
            num_envs: N of this process; episode statistics are of these.
            total_steps: env steps per env of the whole training.
        """
        self.run, self.checkpoints, self.num_envs, self.total_steps = run, checkpoints, num_envs, total_steps
        self.steps_done = self.iteration = 0
        self.all_envs = num_envs * world_size()
        self.returns: deque[float] = deque(maxlen=max(WINDOW, num_envs))
        self.lengths: deque[int] = deque(maxlen=max(WINDOW, num_envs))
        self._return = torch.zeros(num_envs)
        self._length = torch.zeros(num_envs, dtype=torch.long)
        self._logs: dict[str, list[tuple[float, int]]] = {}  # name -> (value, number of episodes)
        self._unread: list[_Step] = []  # steps whose episodes are not in the statistics yet
        self._metrics: dict[str, torch.Tensor] = {}  # name -> (N,) sum over the steps of this iteration
        self._clock = time.perf_counter()
        self._took = 0.0  # seconds a sample: times may be averaged, rates may not
        self.first_step_at: float | None = None
        self.first_step_cpu_s: float | None = None
        self.steps_restored = 0

    def step(self, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, info: StepInfo) -> None:
        """Record one env step: reward, terminated, truncated (N,) and the env's info."""
        self._note_first_step()
        self.steps_done += 1
        ended = terminated | truncated
        totals, lengths = self._return.to(reward.device) + reward, self._length.to(reward.device) + 1
        self._unread.append(_Step(totals, lengths, ended, info["log"]))
        self._return, self._length = totals.masked_fill(ended, 0.0), lengths.masked_fill(ended, 0)
        for name, tensor in info["metrics"].items():
            total = self._metrics.get(name)
            self._metrics[name] = tensor.clone() if total is None else total.add_(tensor)

    def _read_steps(self) -> None:
        """Add the episodes that ended since the last call to the statistics; to read each step would wait for a GPU."""
        steps, self._unread = self._unread, []
        if not steps:
            return
        ended = torch.stack([step.ended for step in steps]).cpu()
        totals = torch.stack([step.totals for step in steps]).cpu()[ended].tolist()
        lengths = torch.stack([step.lengths for step in steps]).cpu()[ended].tolist()
        self.returns.extend(totals)
        self.lengths.extend(lengths)
        logs = [(name, value, k) for k, step in enumerate(steps) for name, value in step.log.items()]
        values, counts = _numbers([value for _, value, _ in logs]), ended.sum(1).tolist()
        for (name, _, k), value in zip(logs, values, strict=True):
            self._logs.setdefault(name, []).append((value, counts[k]))

    def _note_first_step(self) -> None:
        if self.first_step_at is None:
            self.first_step_at, self.first_step_cpu_s = time.time(), time.process_time()

    def receive_episode(self, total_return: float, length: int) -> None:
        """Add an episode of another process, of `length` steps."""
        self._read_steps()
        self.returns.append(total_return)
        self.lengths.append(length)

    def receive_means(self, means: Mapping[str, float], weight: int) -> None:
        """Add means of another process over `weight` episodes or steps to the scalars of the same names."""
        self._read_steps()
        for name, value in means.items():
            self._logs.setdefault(name, []).append((value, weight))

    def receive_steps(self, total: int) -> None:
        """Set the env steps per env that other processes have done so far."""
        self._note_first_step()
        self.steps_done = total

    def end_iteration(
        self, losses: dict[str, float], bundle: Callable[[], PolicyBundle], score: float | None = None
    ) -> None:
        """Log one update, save a checkpoint if one is due, and stop if a signal asked for it.

        Args:
            losses: scalars of the update by name.
            bundle: returns the present content of a checkpoint.
            score: what the best checkpoint is chosen by, the larger the better; by default the mean return.

        Raises:
            DivergedError: naming the first loss that is not finite.
            StopRequested: after saving, if a signal came.
        """
        self.iteration += 1
        self._read_steps()
        for name, value in losses.items():
            if not math.isfinite(value):
                raise DivergedError(f"`{name}` became {value} in iteration {self.iteration}, step {self.steps_done}.")
        self._report(losses)
        due = self.checkpoints.due(self.steps_done) or self.steps_done >= self.total_steps
        if due:
            self.checkpoints.save(self, bundle(), self.mean_return() if score is None else score)
        # A save caused by a signal alone may not become the best: an uninterrupted training has no such save.
        unscheduled = (lambda: None) if due else lambda: self.checkpoints.save(self, bundle(), None)
        self.run.check_stop(self.steps_done, unscheduled)

    def save(self, bundle: PolicyBundle) -> None:
        """Save a checkpoint of this moment, which does not become the best."""
        self.checkpoints.save(self, bundle, None)

    @property
    def samples(self) -> int:
        """Env steps of all envs of all workers so far."""
        return self.steps_done * self.all_envs

    @property
    def samples_restored(self) -> int:
        """Of these, how many an earlier process did."""
        return self.steps_restored * self.all_envs

    def mean_return(self) -> float | None:
        """Return the mean return of the last episodes, or None before the first ended."""
        self._read_steps()
        return sum(self.returns) / len(self.returns) if self.returns else None

    def mean_length(self) -> float | None:
        """Return the mean length of the last episodes in steps, or None before the first ended."""
        self._read_steps()
        return sum(self.lengths) / len(self.lengths) if self.lengths else None

    def _report(self, losses: dict[str, float]) -> None:
        now = time.perf_counter()
        steps = self.steps_done / self.iteration
        took = max(now - self._clock, 1e-9) / (self.all_envs * steps)
        self._took = took if self._took == 0.0 else 0.9 * self._took + 0.1 * took
        self._clock = now
        metrics = {name: _mean(rows) for name, rows in self._logs.items()} | losses
        means = _numbers([total.mean() for total in self._metrics.values()])
        metrics |= {f"Metrics/{name}": mean / steps for name, mean in zip(self._metrics, means, strict=True)}
        metrics |= {"Perf/samples_per_s": 1 / took}
        mean_return, mean_length = self.mean_return(), self.mean_length()
        if mean_return is not None and mean_length is not None:
            metrics |= {"Train/return": mean_return, "Train/episode_length": mean_length}
        self._logs.clear()
        self._metrics.clear()
        self.run.log(self.steps_done, metrics)
        self.run.progress(
            iteration=self.iteration,
            iterations=round(self.total_steps / steps),
            samples=self.samples,
            samples_per_s=1 / self._took,
            return_mean=mean_return,
            episode_length=mean_length,
            eta_s=(self.total_steps - self.steps_done) * self.all_envs * self._took,
        )

    def state_dict(self) -> StateDict:
        """Return counters and statistics."""
        self._read_steps()
        return {
            "steps_done": self.steps_done,
            "iteration": self.iteration,
            "returns": list(self.returns),
            "lengths": list(self.lengths),
            "return": self._return.clone(),
            "length": self._length.clone(),
        }

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.steps_done, self.iteration = state["steps_done"], state["iteration"]
        self.steps_restored = self.steps_done
        self.returns.extend(state["returns"])
        self.lengths.extend(state["lengths"])
        self._return, self._length = state["return"].clone(), state["length"].clone()

    def forget_episodes(self) -> None:
        """Reset the sums of return and length, for envs that begin new episodes."""
        self._return, self._length = torch.zeros_like(self._return), torch.zeros_like(self._length)


class _Step(NamedTuple):
    """A step of the envs, as it is on their device.

    Attributes:
        totals: (N,) return of the episodes so far.
        lengths: (N,) int64, their steps.
        ended: (N,) bool.
        log: see `StepInfo`.
    """

    totals: torch.Tensor
    lengths: torch.Tensor
    ended: torch.Tensor
    log: Mapping[str, float | torch.Tensor]


def _numbers(values: Sequence[float | torch.Tensor]) -> list[float]:
    """Return values, of which those that are () tensors are read at once."""
    on_device = [value for value in values if isinstance(value, torch.Tensor)]
    read = iter(torch.stack([value.double() for value in on_device]).tolist() if on_device else [])
    return [next(read) if isinstance(value, torch.Tensor) else value for value in values]


def _mean(rows: list[tuple[float, int]]) -> float:
    """Return the mean of values weighted by their number of episodes."""
    return sum(value * weight for value, weight in rows) / max(1, sum(weight for _, weight in rows))


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a GPU, or of this machine for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else host.memory_available()


def require_finite(tensors: dict[str, torch.Tensor], what: str) -> None:
    """Raise unless all tensors are finite.

    Args:
        tensors: by name.
        what: owner of the tensors, for the message.

    Raises:
        DivergedError: naming the first tensor that is not.
    """
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if not floats or bool(torch.stack([torch.isfinite(tensor).all() for tensor in floats.values()]).all()):
        return
    for name, tensor in floats.items():
        if bad := int((~torch.isfinite(tensor)).sum()):
            raise DivergedError(f"{what}: tensor `{name}` has {bad} of {tensor.numel()} values that are not finite.")
