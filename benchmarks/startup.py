"""From Enter to the first env step, and the commands that must answer at once: `python benchmarks/startup.py`."""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from measure import RESULTS, ROOT, machine

SEEDS = itertools.count()
"""A new one for each start: what is compiled may not depend on it."""


def until_first_step(sim: str) -> float:
    """Return seconds from starting launch.py (go2_flat, 256 envs) to the end of the first env step."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.time()
        command = [sys.executable, str(ROOT / "launch.py"), "task=go2_flat", f"sim={sim}", "env.num_envs=256"]
        least = ["agent.trainer.timesteps=24", f"seed={next(SEEDS)}"]
        subprocess.run([*command, *least], cwd=folder, check=True, capture_output=True)
        result = json.loads(next(Path(folder).glob("outputs/*/result.json")).read_text())
        return float(result["first_step_at"]) - started


def seconds_of(*arguments: str) -> float:
    """Return seconds of a whole launch.py process."""
    started = time.perf_counter()
    subprocess.run([sys.executable, str(ROOT / "launch.py"), *arguments], cwd=ROOT, check=True, capture_output=True)
    return time.perf_counter() - started


COMPOSITIONS = """
import time
from pathlib import Path
from regimen.config.compose import compose
for task in ("reach", "go2_flat", "h1_flat", "go2_flat"):
    began = time.process_time()
    compose([f"task={task}"], [Path("conf")])
    print(time.process_time() - began)
"""
"""Prints the CPU seconds of the first composition of a process, of two other tasks, and of one again."""


def compositions() -> list[float]:
    """Return CPU seconds of four compositions in one process."""
    command = [sys.executable, "-c", COMPOSITIONS]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [float(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    works = {
        "Enter to first env step": lambda: until_first_step("mujoco"),
        "--help": lambda: seconds_of("--help"),
        "dry_run=true": lambda: seconds_of("dry_run=true"),
        "200 jobs checked": lambda: seconds_of("-m", "seed=range(200)", "dry_run=true"),
    }
    if find_spec("genesis"):
        until_first_step("genesis")  # compiles its kernels where nobody has yet
        works["Enter to first env step, sim=genesis"] = lambda: until_first_step("genesis")
    rows: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(args.repeats):
        for name, work in works.items():
            rows[name].append(work())
    composed = [compositions() for _ in range(args.repeats)]
    for number, name in enumerate(("first composition, CPU", "of a second task", "of a third task", "again")):
        rows[name] = [seconds[number] for seconds in composed]
    facts = machine()
    print(f"startup: {facts['cores']} cores, load {facts['load']}")
    for name, values in rows.items():
        print(f"  {name:38}{np.median(values):8.3f} s   ({min(values):.3f} … {max(values):.3f})")
    RESULTS.mkdir(exist_ok=True)
    data = {"machine": facts, "seconds": rows}
    (RESULTS / "startup.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
