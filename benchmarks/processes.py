"""Samples a second of a training in one process and in two, of the same global batch; and in one with two threads.

    python benchmarks/processes.py                                    # FastSAC: K1, the original's batch and networks
    python benchmarks/processes.py --agent skrl_ppo                   # PPO: go2_flat, 512 envs
    python benchmarks/processes.py --override experiment=k1_fast_sac  # any other training of the agent

Each measurement is a run of `launch.py`, taken in turn; what counts are the log's rows after the first two, in which
memory is first touched. On a busy machine the seconds are those of the others too: `of CPU time` counts the seconds of
the processor of the worker that used most, which is what two idle cores would take if no worker waited.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from measure import ROOT, ratio, report

GO2 = ["task=go2_flat", "env.num_envs=512", "stage.checkpoint_interval=100000"]
ROWS = 8


@dataclass
class Training:
    """Overrides of a training: what it is, and what makes it short; `ROWS` rows are logged, or fewer."""

    sizes: list[str]
    short: list[str]


TRAININGS = {
    "fast_sac": Training(
        ["experiment=k1_fast_sac_gpu", "env.num_envs=512", "agent.compile=false"],
        [
            "agent.num_learning_iterations=12", "agent.logging_interval=2", "agent.learning_starts=2",
            "agent.save_buffer=false",
        ],
    ),
    "skrl_ppo": Training([*GO2, "agent=skrl_ppo"], [f"agent.trainer.timesteps={24 * ROWS}"]),
    "rsl_rl_ppo": Training([*GO2, "agent=rsl_rl_ppo"], [f"agent.max_iterations={ROWS}"]),
}  # fmt: skip
WAYS = {"one process": (1, 1), "two processes": (2, 1), "one process, two threads": (1, 2)}
"""Name -> processes, threads of each."""


def measured(command: list[str]) -> tuple[float, float]:
    """Return the samples of a run for each second, and for each second of the processor of the busiest worker."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        marks: dict[int, dict[int, float]] = {}
        rows: list[dict[str, float]] = []
        while process.poll() is None:
            time.sleep(0.02)
            used = _cpu_s(process.pid)
            for log in Path(folder).glob("outputs/*/metrics.jsonl"):
                rows = [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
            if rows and used:
                marks.setdefault(len(rows), used)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        (log,) = Path(folder).glob("outputs/*/metrics.jsonl")
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        (record,) = Path(folder).glob("outputs/*/run.json")
        envs = json.loads(record.read_text())["headline"]["samples"] / rows[-1]["step"]
    first, last = min(n for n in marks if n > 1), max(marks)
    used_s = max(marks[last][pid] - marks[first][pid] for pid in marks[last])
    per_cpu_s = envs * (rows[last - 1]["step"] - rows[first - 1]["step"]) / used_s
    return float(np.median([row["Perf/samples_per_s"] for row in rows[2:]])), per_cpu_s


def _cpu_s(launch: int) -> dict[int, float]:
    """Return the seconds of the processor that each worker below a process has used, by its number."""
    used: dict[int, float] = {}
    try:
        for process in psutil.Process(launch).children(recursive=True):
            line = process.cmdline()
            if any(part.endswith("regimen.runs.worker") for part in line) and "torch.distributed.run" not in line:
                times = process.cpu_times()
                used[process.pid] = times.user + times.system
    except psutil.NoSuchProcess:  # it has just ended
        return {}
    return used


def main() -> None:
    """Measure, print, write `results/processes.json`, or `processes_<agent>.json` of another agent than FastSAC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agent", choices=TRAININGS, default="fast_sac")
    parser.add_argument("--override", action="append", default=[], help="of another training, several times")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    training = TRAININGS[args.agent]
    start = [sys.executable, str(ROOT / "launch.py"), *(args.override or training.sizes), *training.short]
    rows: dict[str, list[float]] = {}
    for _ in range(args.repeats):
        for name, (processes, threads) in WAYS.items():
            here = ["hardware=multi", f"hardware.processes={processes}", f"hardware.threads={threads}"]
            per_s, per_cpu_s = measured([*start, *here])
            rows.setdefault(name, []).append(per_s)
            if threads == 1:  # the seconds of several threads add up
                rows.setdefault(f"{name}, of CPU time", []).append(per_cpu_s)
            print(f"{name}: {per_s:,.0f} samples/s, {per_cpu_s:,.0f} of CPU time", flush=True)
    two = rows["two processes"]
    ratios = {f"two processes / {name}": ratio(two, rows[name]) for name in WAYS if name != "two processes"}
    cpu = [rows[f"{name}, of CPU time"] for name in ("two processes", "one process")]
    ratios["two processes / one process, of CPU time"] = ratio(*cpu)
    report("processes" if args.agent == "fast_sac" else f"processes_{args.agent}", rows, ratios, "samples/s")


if __name__ == "__main__":
    main()
