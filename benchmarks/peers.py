"""Env steps a second beside public CPU simulators: H1 (ours) and Humanoid-v5 of gymnasium and envpool.

`python benchmarks/peers.py --peer-python .venv-peers/bin/python`, where that environment was made by
`python3 -m venv .venv-peers && .venv-peers/bin/pip install "gymnasium[mujoco]" envpool` (their MuJoCo is another
version than ours, so they cannot share one). Measurements alternate, each in a process of its own, on the same cores.

The robots differ: H1 has 19 joints and 4 physics steps of 5 ms an env step, Humanoid-v5 17 joints and 5 of 3 ms. The
ratio says how fast a researcher gets humanoid samples, not which engine is faster.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 6.0


def ours(cores: int) -> float:
    """Return env steps a second of h1_flat with 1024 envs under random actions."""
    import torch

    from regimen.config.compose import compose_config
    from regimen.envs import open_env

    torch.set_num_threads(cores)
    env = open_env(compose_config(["task=h1_flat", "env.num_envs=1024", f"hardware.threads={cores}"]))
    env.reset(seed=0)
    return _timed(lambda: env.step(0.3 * torch.randn(env.num_envs, env.io.num_actions)), env.num_envs)


def gymnasium_async(cores: int) -> float:
    """Return env steps a second of gymnasium's AsyncVectorEnv, one process for each of 16 envs."""
    import gymnasium as gym

    env = gym.make_vec("Humanoid-v5", num_envs=16, vectorization_mode="async")
    env.reset(seed=0)
    return _timed(lambda: env.step(env.action_space.sample()), 16)


def envpool(cores: int) -> float:
    """Return env steps a second of envpool with 64 envs."""
    import envpool as pool
    import numpy as np

    env = pool.make("Humanoid-v5", env_type="gymnasium", num_envs=64, num_threads=cores)
    env.reset()
    rng = np.random.default_rng(0)
    return _timed(lambda: env.step(rng.uniform(-0.4, 0.4, (64, 17)).astype(np.float64)), 64)


def _timed(step: object, num_envs: int) -> float:
    for _ in range(10):
        step()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        step()
        steps += 1
    return steps * num_envs / (time.perf_counter() - started)


KINDS = {"Regimen h1_flat": ours, "gymnasium Humanoid-v5 async": gymnasium_async, "envpool Humanoid-v5": envpool}


def _in_process(name: str, python: str, cores: int) -> float:
    command = [python, __file__, "--one", name, "--cores", str(cores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Alternate the three, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", choices=KINDS)
    parser.add_argument("--cores", type=int, default=0)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(KINDS[args.one](args.cores)))
        return
    import os

    from measure import ratio, report

    cores = args.cores or len(os.sched_getaffinity(0))
    names = list(KINDS) if args.peer_python else ["Regimen h1_flat"]
    if not args.peer_python:
        print("no --peer-python: only our own figure, no ratio (see the head of this file)")
    rows: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(args.repeats):
        for name in names:
            python = sys.executable if name.startswith("Regimen") else str(args.peer_python)
            rows[name].append(_in_process(name, python, cores))
    ratios = {f"Regimen / {n}": ratio(rows["Regimen h1_flat"], rows[n]) for n in names[1:]}
    report(Path(__file__).stem, rows, ratios, "env steps/s")


if __name__ == "__main__":
    main()
