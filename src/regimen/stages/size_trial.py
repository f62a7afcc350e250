"""A few iterations of a training in a process of its own, for `env.num_envs=auto`: duration of a step, and memory.

`python -m regimen.stages.size_trial <file>` reads a plain configuration from stdin and writes a `Trial` to the file as
JSON. Nothing else is written; libraries print to stdout while they start.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.config.structured import build_config
from regimen.config.targets import resolve
from regimen.runs.record_parts import Trial
from regimen.runs.worker import set_threads
from regimen.runs.worker_group import NonLeaderRun
from regimen.system import distributed, files, host
from regimen.system.errors import ConfigError, StopRequested
from regimen.system.seeding import seed_all
from regimen.system.torch_import import postpone_compiler

if TYPE_CHECKING:
    from regimen.config.schema import Config

LEAST_ITERATIONS, MOST_ITERATIONS = 3, 40
"""Iterations that are measured, after a first one, which warms up."""

SECONDS = 4.0
"""Duration after which no further iteration is measured."""


class TrialRun(NonLeaderRun):
    """A run that writes nothing, and stops after some iterations.

    Attributes:
        ends: (env steps per env, clock in s) at the end of each iteration.
    """

    def __init__(self, folder: Path, clock: Callable[[], float]) -> None:
        """Begin with no iterations; nothing is written to `folder` but what an agent itself writes.

        Args:
            folder: takes the place of the run directory.
            clock: returns seconds.
        """
        super().__init__(folder)
        self._clock = clock
        self.ends: list[tuple[int, float]] = []

    def warn(self, text: str) -> None:
        """Do nothing: the run itself will warn."""

    def check_stop(self, step: int, save: Callable[[], Any]) -> None:
        """Note the end of an iteration, and stop where enough of them are measured.

        Raises:
            StopRequested: they are; nothing was saved.
        """
        self.ends.append((step, self._clock()))
        measured, took = len(self.ends) - 1, self.ends[-1][1] - self.ends[0][1]
        if measured >= MOST_ITERATIONS or (measured >= LEAST_ITERATIONS and took > SECONDS):
            raise StopRequested(0, step)

    def step_s(self) -> float:
        """Return the duration of an env step with its share of the update: that of the fastest iteration.

        Other work on the machine slows the other ones.

        Raises:
            ConfigError: the training is too short.
        """
        if len(self.ends) < 2:
            raise ConfigError("env.num_envs=auto: the training ends after one iteration. Type a number of envs.")
        pairs = zip(self.ends, self.ends[1:], strict=False)
        return min((end - begin) / (after - before) for (before, begin), (after, end) in pairs)


def trial(config: dict[str, Any], folder: Path) -> Trial:
    """Train for some iterations; return what was measured.

    Args:
        config: plain configuration of a training by one process.
        folder: an empty folder.
    """
    set_threads((config.get("hardware") or {}).get("threads"))
    postpone_compiler()
    typed = build_config(config)
    typed.stage.evaluation.every = None
    seed_all(typed.seed)
    (folder / "checkpoints").mkdir()
    (folder / "logs").mkdir()
    run = TrialRun(folder, _clock(typed))
    with suppress(StopRequested):
        resolve(typed.stage._target_)(typed.stage)(run, typed)
    torch = sys.modules["torch"]
    on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
    return Trial(
        num_envs=int(typed.env.num_envs),
        step_s=run.step_s(),
        iterations=len(run.ends) - 1,
        main_bytes=host.peak_rss(resource.getrusage(resource.RUSAGE_SELF)),
        gpu_bytes=_gpu_bytes(torch) if on_gpu else 0,
    )


def _clock(config: Config) -> Callable[[], float]:
    """Return the clock of a trial: where one thread of a CPU works, its own time, which excludes other processes."""
    on_cpu = config.hardware.device == "cpu" and getattr(config.sim, "device", "cpu") == "cpu"
    return time.process_time if on_cpu and config.hardware.num_threads() == 1 else time.perf_counter


def _gpu_bytes(torch: Any) -> int:
    """Return the GPU memory of this process: what torch reserved at most, and what others took, such as a simulator.

    Others are counted as they are now, with what other processes have on this GPU.
    """
    free, total = torch.cuda.mem_get_info()
    others = total - free - torch.cuda.memory_reserved()
    return int(torch.cuda.max_memory_reserved() + max(0, others))


def main() -> int:
    """Measure the configuration of stdin; return the exit code."""
    target, config = Path(sys.argv[1]), json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="regimen-") as folder:
        files.write_json(target, trial(config, Path(folder)).to_dict())
    return os.EX_OK


if __name__ == "__main__":
    distributed.exit_process(main())
