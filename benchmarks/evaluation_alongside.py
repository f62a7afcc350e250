"""Speed of a training with its checkpoints evaluated beside it: `python benchmarks/evaluation_alongside.py`.

The same training with and without `stage.evaluation`, in turn: one thread on the first core, the companion on the
second. Counted from the first row of the log to the last, the end of the evaluations left out. Beside the wall time the
CPU time of the training alone: where others share the cores, the wall time shows their load.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from measure import machine, ratio_of_rounds, report

from regimen.config.compose import compose_config
from regimen.runs import judgements
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.train import Train

CORES = (0, 1)


class TimedRun(Run):
    """A run that notes wall and CPU time of this process at each row of its log."""

    times: list[tuple[int, float, float]]

    def log(self, step: int, metrics: dict[str, float]) -> None:
        """Write the row, then note the times."""
        super().log(step, metrics)
        self.times.append((step, time.perf_counter(), time.process_time()))

    def draw(self, name: str, draw: Callable[[Path], object]) -> None:
        """Draw nothing."""


def train(arguments: list[str], root: Path) -> tuple[float, float, list[judgements.Judgement]]:
    """Train once; return samples per second of wall time and of CPU time, and the judgements."""
    config = compose_config(arguments)
    envs = config.env.num_envs
    run = TimedRun(create_run_dir(root, asdict(config), ["launch.py"], arguments, repository=root))
    run.times = []
    Train(config.stage)(run, config)
    (first, wall, cpu), (last, wall_end, cpu_end) = run.times[0], run.times[-1]
    samples = (last - first) * envs
    return samples / (wall_end - wall), samples / (cpu_end - cpu), judgements.read(run.dir)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="go2_flat")
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=40, help="of 24 steps")
    parser.add_argument("--every", type=int, default=192, help="steps between two evaluated checkpoints")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    os.sched_setaffinity(0, {CORES[0]})
    torch.set_num_threads(1)
    common = [
        f"task={args.task}", "agent=rsl_rl_ppo", f"env.num_envs={args.num_envs}", "hardware.threads=1",
        f"agent.max_iterations={args.iterations}", f"stage.checkpoint_interval={args.every}",
    ]  # fmt: skip
    beside = [f"stage.evaluation.every={args.every}", f"stage.evaluation.cores=[{CORES[1]}]"]
    beside += ["stage.evaluation.envs_per_command=16", "stage.evaluation.episode_length_s=4.0"]
    kinds = {"alone": common, "with its evaluation": [*common, *beside]}
    rows: dict[str, list[float]] = {f"{kind}, {clock}": [] for kind in kinds for clock in ("wall", "CPU")}
    root = Path(tempfile.mkdtemp(prefix="evaluation-"))
    try:
        for repeat in range(args.repeats + 1):
            for kind, arguments in kinds.items():
                wall, cpu, judged = train(arguments, root)
                if repeat:  # the first round warms up
                    rows[f"{kind}, wall"].append(wall)
                    rows[f"{kind}, CPU"].append(cpu)
                if judged:
                    took, busy = sum(one.wall_s for one in judged), sum(one.cpu_s for one in judged)
                    print(f"round {repeat}: {len(judged)} evaluations, {took:.1f} s, {busy:.1f} s CPU", flush=True)
    finally:
        shutil.rmtree(root)
    ratios = {
        f"with / alone, {clock}": ratio_of_rounds(rows[f"with its evaluation, {clock}"], rows[f"alone, {clock}"])
        for clock in ("wall", "CPU")
    }
    print(f"cores of the machine: {machine()['cores']} here, of them {len(CORES)} used")
    report(Path(__file__).stem, rows, ratios, "samples/s")


if __name__ == "__main__":
    main()
