"""Full environment (observations, rewards, resets) against `Batch.step` alone: `python benchmarks/env_overhead.py`.

Both step the same batch of 1024 robots from the same states under a trained policy's gait, 4 physics steps of 5 ms
each, on all cores. The ratio is env steps a second over batch steps a second. With `--cpu` the physics has one thread,
and env steps per CPU second are compared: where other work shares the cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from gait import engine, environment, walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config

CHUNK = 25


def works(task: str, num_envs: int, settings: list[str]) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the two kinds of work and what puts both at the same start; the policy acted beforehand, neither pays."""
    config = compose_config([f"task={task}", f"env.num_envs={num_envs}", *settings])
    env, actions, start = walking(config, task, CHUNK)
    kinds = {"environment": environment(env, actions), "Batch.step alone": engine(env, actions)}
    return kinds, lambda: env.load_state_dict(start)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    rows, ratios = {}, {}
    for task in ("h1_flat", "go2_flat"):
        kinds, restore = works(task, args.num_envs, ["hardware.threads=1"] if args.cpu else [])
        rates = alternate(kinds, args.repeats, before=restore, clock=clock)
        ours, raw = rates["environment"], rates["Batch.step alone"]
        rows |= {f"{task} environment": ours, f"{task} Batch.step alone": raw}
        ratios[f"{task} environment / Batch.step"] = ratio(ours, raw)
    name = Path(__file__).stem + ("_cpu" if args.cpu else "")
    report(name, rows, ratios, "env steps per CPU s" if args.cpu else "env steps/s")


if __name__ == "__main__":
    main()
