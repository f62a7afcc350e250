"""A Go2 on uneven ground with a height scan of 187 places against flat ground without: `python benchmarks/terrain.py`.

Both step 1024 robots by the gait of the trained flat walker from the same starts, all on tiles of the middle level of
`task=go2_rough`. Beside the environments, `Batch.step` alone on either ground: a foot on a height field meets several
triangles, so the engine itself is slower there. With `--cpu` the physics has one thread and CPU seconds count.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from gait import engine, environment, walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs.manager_env import ManagerEnv

CHUNK = 25


def flat_and_rough(num_envs: int, settings: list[str]) -> tuple[ManagerEnv, ManagerEnv, list[torch.Tensor], Any, Any]:
    """Return both environments, the actions of the walker, and the states they start from."""
    shared = [f"env.num_envs={num_envs}", *settings]
    flat, actions, start = walking(compose_config(["task=go2_flat", *shared]), "go2_flat", CHUNK)
    rough = ManagerEnv.open(compose_config(["task=go2_rough", *shared]))
    rough.reset(seed=0)
    assert rough.terrain is not None
    middle = [rough.terrain.terrain.levels // 2] * num_envs
    rough.terrain.fix(middle, rough.terrain.columns.tolist())
    rough.reset()
    for action in actions:  # past the fall from the spawn height
        rough.step(action)
    return flat, rough, actions, start, rough.state_dict()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    settings = ["hardware.threads=1"] if args.cpu else []
    flat, rough, actions, flat_start, rough_start = flat_and_rough(args.num_envs, settings)

    def restore() -> None:
        flat.load_state_dict(flat_start)
        rough.load_state_dict(rough_start)

    works = {
        "rough, with scan": environment(rough, actions),
        "flat": environment(flat, actions),
        "rough, Batch.step alone": engine(rough, actions),
        "flat, Batch.step alone": engine(flat, actions),
    }
    rates = alternate(works, args.repeats, before=restore, clock=clock)
    ratios = {
        "rough with scan / flat": ratio(rates["rough, with scan"], rates["flat"]),
        "engine: rough / flat": ratio(rates["rough, Batch.step alone"], rates["flat, Batch.step alone"]),
    }
    name = Path(__file__).stem + ("_cpu" if args.cpu else "")
    report(name, rates, ratios, "env steps per CPU s" if args.cpu else "env steps/s")


if __name__ == "__main__":
    main()
