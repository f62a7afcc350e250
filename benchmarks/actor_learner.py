"""Learner and actor at once against one process: `python benchmarks/actor_learner.py --folder DIR`.

The same training, env steps and updates, alternately in one process and in two. Measured is the part after the first
`--from` steps: wall clock, which other work on the machine changes, and the CPU seconds of each process, which it
changes less. Two idle cores cannot do better than the CPU seconds of one process over those of the busier of the two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from actor_kills import newest_step, processes
from measure import RESULTS, ROOT, machine

TICKS = os.sysconf("SC_CLK_TCK")
TASKS = {
    "states": ["experiment=gear_rlpd"],
    "states, two critics, one update a step": [
        "experiment=gear_rlpd", "agent.utd=1", "agent.cta_ratio=1", "agent.ensemble_size=2", "agent.batch_size=64",
    ],
}  # fmt: skip
SHARED = ["agent.demonstrations.episodes=5", "hardware.threads=1"]


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds of a process so far, 0 if it is gone."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    return 0.0


def train(folder: Path, settings: list[str], first: int, last: int) -> dict[str, float]:
    """Train, and return wall clock and CPU seconds between two steps.

    Args:
        folder: new folder for the run.
        settings: of the command line.
        first: step from which on is measured.
        last: step at which the training ends.
    """
    folder.mkdir(parents=True)
    command = [sys.executable, str(ROOT / "launch.py"), *settings, *SHARED, f"agent.max_steps={last}"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "screen.log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env)
    begin: dict[str, float] = {}
    now: dict[str, float] = {}
    while process.poll() is None:
        time.sleep(0.05)
        run = next(folder.glob("outputs/2*"), None)
        if run is None or newest_step(run) < first:
            continue
        learner, actors = processes(run)
        if learner is None or not cpu_seconds(learner):
            continue
        seen = {"learner": cpu_seconds(learner), "actor": sum(map(cpu_seconds, actors))}
        if seen["actor"] < now.get("actor", 0.0):
            continue  # the actor has ended
        now = {"wall": time.monotonic(), **seen}
        begin = begin or now
        if newest_step(run) >= last:
            break
    if process.wait():
        raise SystemExit(f"{folder}: {(folder / 'screen.log').read_text()[-1000:]}")
    return {name: now[name] - begin[name] for name in now}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--first", type=int, default=200)
    args = parser.parse_args()
    result = {"machine": machine(), "steps": args.steps - args.first, "tasks": {}}
    for name, settings in TASKS.items():
        rows: dict[str, list[dict[str, float]]] = {"inline": [], "actor_learner": []}
        loads = []
        for k in range(args.repeats):
            for how, runs in rows.items():
                own = [] if how == "inline" else ["hardware=actor_learner"]
                folder = args.folder / f"{len(result['tasks'])}-{how}-{k}"
                runs.append(train(folder, [*settings, *own], args.first, args.steps))
                loads.append(os.getloadavg()[0])
                print(f"{name}, {how}: {runs[-1]}, load {loads[-1]:.1f}", flush=True)
        middle = {
            how: {key: float(np.median([run[key] for run in runs])) for key in runs[0]} for how, runs in rows.items()
        }
        inline, two = middle["inline"], middle["actor_learner"]
        found = {
            **middle,
            "load": [round(load, 1) for load in loads],
            "wall_ratio": inline["wall"] / two["wall"],
            "cpu_ratio": inline["learner"] / max(two["learner"], two["actor"]),
        }
        result["tasks"][name] = found
        print(f"{name}: wall {found['wall_ratio']:.2f} x, CPU seconds {found['cpu_ratio']:.2f} x", flush=True)
    (RESULTS / "actor_learner.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
