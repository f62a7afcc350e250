"""Speed of a training with an evaluation beside it: `python benchmarks/evaluation_alongside.py`.

One training on the first core with one thread, its companion on the second, busy all the time. The companion is paused
in every other iteration, so that the load of others hits both kinds alike: the ratio is over pairs of neighbouring
iterations. Beside the wall time the CPU time of the training alone: where others share the cores, the wall time shows
their load as well. Iterations with a checkpoint are left out; the time of its further link is measured by itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import psutil
import torch
from measure import ratio_of_rounds, report

from regimen.config.compose import compose_config
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.train import Train
from regimen.system.errors import StopRequested

CORES = (0, 1)
STEPS = 24
BUSY_AFTER_S = 8.0
"""CPU seconds of the companion after which it has opened its envs."""


class PausingRun(Run):
    """A run that pauses the companion in every other iteration, and notes the times of each.

    Attributes:
        pairs: number of pairs of iterations to measure.
        due: tells whether a step has a checkpoint.
        rows: (paused, wall s, CPU s, whether a checkpoint was saved) of each iteration since the companion was busy.
    """

    pairs: int
    due: Callable[[int], bool]
    rows: list[tuple[bool, float, float, bool]]
    paused = False
    companion: psutil.Process | None = None
    at: tuple[float, float] | None = None

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write the row; note the times of the iteration, and pause or continue the companion for the next."""
        super().log(step, metrics)
        if self.companion is None:
            found = psutil.Process().children(recursive=True)
            self.companion = next(one for one in found if any("alongside.companion" in word for word in one.cmdline()))
        if self.at is None and self.companion.cpu_times().user < BUSY_AFTER_S:
            return
        if self.at is not None:
            wall, cpu = time.perf_counter() - self.at[0], time.process_time() - self.at[1]
            self.rows.append((self.paused, wall, cpu, self.due(step - STEPS)))
            self.paused = not self.paused
            self.companion.send_signal(signal.SIGSTOP if self.paused else signal.SIGCONT)
        self.at = (time.perf_counter(), time.process_time())
        if len(self.rows) >= 2 * self.pairs:
            self.companion.send_signal(signal.SIGCONT)
            self.stop_signal = signal.SIGTERM


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="go2_flat")
    parser.add_argument("--num-envs", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=80)
    parser.add_argument("--nice", type=int, default=10, help="priority of the companion below the training")
    args = parser.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    torch.set_num_threads(1)
    every = 10 * STEPS
    arguments = [
        f"task={args.task}", "agent=rsl_rl_ppo", f"env.num_envs={args.num_envs}", "hardware.threads=1",
        "agent.max_iterations=100000", f"stage.checkpoint_interval={every}", f"stage.evaluation.every={every}",
        f"stage.evaluation.cores=[{CORES[1]}]", f"stage.evaluation.nice={args.nice}",
    ]  # fmt: skip
    config = compose_config(arguments)
    root = Path(tempfile.mkdtemp(prefix="evaluation-"))
    try:
        run = PausingRun(create_run_dir(root, asdict(config), ["launch.py"], arguments, repository=root))
        run.pairs, run.rows, run.due = args.pairs, [], lambda step: step % every == 0
        with suppress(StopRequested):
            Train(config.stage)(run, config)
        started = time.perf_counter()
        checkpoint.point(root / "link.pt", run.checkpoints / "last.pt")
        link_ms = 1000 * (time.perf_counter() - started)
    finally:
        shutil.rmtree(root)
    samples = STEPS * args.num_envs
    rows: dict[str, list[float]] = {}
    ratios = {}
    pairs = list(zip(run.rows[::2], run.rows[1::2], strict=False))
    kept = [sorted(pair) for pair in pairs if not any(saved for *_, saved in pair)]  # the one beside it first
    for clock, column in (("wall", 1), ("CPU", 2)):
        beside, alone = ([samples / pair[kind][column] for pair in kept] for kind in (0, 1))
        rows |= {f"companion busy, {clock}": beside, f"companion paused, {clock}": alone}
        ratios[f"busy / paused, {clock}"] = ratio_of_rounds(beside, alone)
    print(f"{len(kept)} pairs of iterations of {samples} samples; a further link of a checkpoint: {link_ms:.2f} ms")
    report(Path(__file__).stem, rows, ratios, "samples/s")


if __name__ == "__main__":
    main()
