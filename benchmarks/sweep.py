"""Wall time of a sweep of short trainings, two at a time: `python benchmarks/sweep.py [--jobs 20] [--repeats 3]`.

Two parties run the same training function (stage `train`, `task=reach`, one thread each) with the same seeds:

* Regimen: `python launch.py -m seed=range(20) hardware.max_jobs=2`, run directories, supervisors, picture and all.
* Hydra: a plain app (`sweep_peer.py`) under `hydra/launcher=submitit_local`. Submitit starts all jobs it is given at
  once, so two at a time is `hydra.sweeper.max_batch_size=2`: ten batches of two equally long jobs.

A third row holds both against the least that processes cost: the worker alone, two at a time, without a launcher.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import yaml
from measure import RESULTS, ROOT, machine, ratio

AT_ONCE = 2


def arguments(timesteps: int) -> list[str]:
    """Return what both parties' jobs are configured by."""
    return ["task=reach", f"agent.trainer.timesteps={timesteps}", "hardware.threads=1"]


def call(command: list[str], folder: Path, **environment: str) -> None:
    """Run one party to its end."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")


def regimen(folder: Path, jobs: int, timesteps: int) -> int:
    """Sweep with our launcher; return how many runs finished."""
    sweep = ["-m", f"seed=range({jobs})", f"hardware.max_jobs={AT_ONCE}"]
    call([sys.executable, str(ROOT / "launch.py"), *sweep, *arguments(timesteps)], folder)
    return len(list(folder.glob("multirun/*/*/result.json")))


def hydra(folder: Path, jobs: int, timesteps: int) -> int:
    """Sweep with Hydra and submitit; return how many trainings finished."""
    write_config(folder / "conf", timesteps)
    sweep = ["-m", f"seed=range({jobs})", "hydra/launcher=submitit_local", f"hydra.sweeper.max_batch_size={AT_ONCE}"]
    peer = str(ROOT / "benchmarks" / "sweep_peer.py")
    call([sys.executable, peer, *sweep], folder, PEER_CONFIG=str(folder / "conf"))
    return len(list(folder.glob("multirun/*/*/*/run/result.json")))


def bare(folder: Path, jobs: int, timesteps: int) -> int:
    """Run the worker's module in `AT_ONCE` processes at a time; return how many trainings finished."""
    from regimen.runs.create import create_run_dir
    from regimen.runs.run import Run

    config = write_config(folder / "conf", timesteps)
    runs = [Run(create_run_dir(folder, config | {"seed": seed}, [], [], run_id=f"run{seed}")) for seed in range(jobs)]
    work = [[sys.executable, "-m", "regimen.runs.worker", str(run.dir)] for run in runs]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda command: call(command, folder), work))
    return len(list(folder.glob("*/result.json")))


def write_config(folder: Path, timesteps: int) -> dict:
    """Write the resolved configuration of our own job as the peer's config.yaml, and return it."""
    from regimen.config.compose import compose

    config = compose(arguments(timesteps), [ROOT / "conf"]).plain
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return config


def measured(work: Callable[[Path, int, int], int], jobs: int, timesteps: int) -> float:
    """Return the seconds of one sweep in a folder of its own."""
    folder = Path(tempfile.mkdtemp(prefix="sweep-"))
    started = time.perf_counter()
    done = work(folder, jobs, timesteps)
    seconds = time.perf_counter() - started
    if done != jobs:
        raise SystemExit(f"{work.__name__}: {done} of {jobs} trainings finished, see {folder}")
    shutil.rmtree(folder)
    return seconds


def main() -> None:
    """Measure the parties in turn, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--timesteps", type=int, default=720, help="environment steps of each training")
    args = parser.parse_args()
    before = machine()
    rows: dict[str, list[float]] = {"regimen": [], "hydra": [], "bare": []}
    for repeat in range(args.repeats):
        for work in (regimen, hydra, bare):
            rows[work.__name__].append(measured(work, args.jobs, args.timesteps))
            print(f"  {repeat + 1}. {work.__name__:8}{rows[work.__name__][-1]:8.1f} s", flush=True)
    ratios = {f"regimen / {name}": ratio(rows["regimen"], rows[name]) for name in ("hydra", "bare")}
    print(f"sweep of {args.jobs} trainings, {AT_ONCE} at a time: {before['cores']} cores, load {before['load']} before")
    for name, values in rows.items():
        print(f"  {name:18}{np.median(values):8.1f} s   ({min(values):.1f} … {max(values):.1f})")
    for name, (middle, low, high) in ratios.items():
        print(f"  {name:18}{middle:8.3f}     (95 %: {low:.3f} … {high:.3f})")
    RESULTS.mkdir(exist_ok=True)
    data = {"machine": before, "arguments": vars(args), "seconds": rows, "ratios": ratios}
    (RESULTS / "sweep.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
