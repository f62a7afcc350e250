"""From Enter to the first step of a task of Isaac Lab, under Regimen and by Isaac Lab alone.

`python benchmarks/isaaclab_startup.py`

In turn: `launch.py task=isaaclab agent=rsl_rl_ppo`; a script that builds the same task in the same Python, resets it
and steps it once; and that script with rsl_rl's runner, as Isaac Lab's own training begins. CPU seconds are those of
all processes until the step is done: of `launch.py` those of its whole process, of the worker until its first step.
Kernels, the catalogue and bytecode are made by a first round that does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from measure import RESULTS, ROOT, machine

from regimen.envs.isaaclab.assets import own_folder
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.system.host import made_interpreter

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@dataclass
class Start:
    """Seconds until the first step is done, on the clock and of the processor."""

    wall_s: float
    cpu_s: float


def children_s() -> float:
    """Return the CPU seconds of all processes that this one has waited for, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_regimen(task: str, num_envs: int) -> Start:
    """Start a training by `launch.py`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "launch.py"), "task=isaaclab", f"env.id={task}"]
        command += [f"env.num_envs={num_envs}"]
        least = ["agent=rsl_rl_ppo", "agent.max_iterations=1", "hardware.threads=1"]
        before, started = children_s(), time.time()
        subprocess.run([*command, *least], cwd=folder, check=True, capture_output=True, env=ENVIRONMENT)
        (run,) = Path(folder).glob("outputs/*/run.json")
        result = json.loads(run.with_name("result.json").read_text())
        launcher_s = children_s() - before - float(json.loads(run.read_text())["cpu_s"])
        return Start(result["first_step_at"] - started, launcher_s + result["first_step_cpu_s"])


def of_isaaclab(task: str, num_envs: int, python: str, runner: bool) -> Start:
    """Start the task without Regimen."""
    script = str(Path(__file__).with_name("isaaclab_startup_peer.py"))
    command = [python, "-W", "ignore", script, task, "--num-envs", str(num_envs), "--assets", str(own_folder())]
    command += ["--kernels", str(ISAAC_LAB.cache.expanduser() / "warp"), *(["--runner"] if runner else [])]
    started = time.time()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    found = json.loads(done.stdout.splitlines()[-1])
    return Start(found["at"] - started, found["cpu_s"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="Isaac-Velocity-Flat-H1")
    parser.add_argument("--num-envs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    python = made_interpreter("isaaclab")
    if python is None:
        print("isaaclab_startup: not measured, there is no Isaac Lab here. Type: make isaaclab")
        return
    task, envs = args.task, args.num_envs
    works: dict[str, Callable[[], Start]] = {
        "launch.py": lambda: of_regimen(task, envs),
        "Isaac Lab with rsl_rl's runner": lambda: of_isaaclab(task, envs, python, runner=True),
        "Isaac Lab": lambda: of_isaaclab(task, envs, python, runner=False),
    }
    starts: dict[str, list[Start]] = {name: [] for name in works}
    for repeat in range(1 + args.repeats):
        for name, work in works.items():
            start = work()
            print(f"  round {repeat}: {name}: {start.cpu_s:.2f} CPU s, {start.wall_s:.2f} s", flush=True)
            if repeat:
                starts[name].append(start)
    facts = machine()
    print(f"isaaclab_startup: {task}, {envs} envs, {facts['cores']} cores, load {facts['load']}")
    for name, values in starts.items():
        cpu, wall = [start.cpu_s for start in values], [start.wall_s for start in values]
        spread = f"({min(cpu):.2f} … {max(cpu):.2f})"
        clock = f"{np.median(wall):8.2f} s on the clock, least {min(wall):.2f}"
        print(f"  {name:34}{np.median(cpu):7.2f} CPU s {spread}{clock}")
    RESULTS.mkdir(exist_ok=True)
    seconds = {name: [asdict(start) for start in values] for name, values in starts.items()}
    data = {"machine": facts, "task": task, "envs": envs, "starts": seconds}
    (RESULTS / "isaaclab_startup.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
