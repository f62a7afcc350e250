"""A task of Isaac Lab under Regimen against Isaac Lab's own loop, in the Python that `make isaaclab` makes.

`.venv-isaaclab/bin/python benchmarks/isaaclab_overhead.py`

Both step the same open environment with the same random actions, in turns, as a process holds one environment of Isaac
Lab. Isaac Lab's loop is that of its `random_agent`: `env.step(action)`, without the observation at the end of an
episode that Regimen also takes. Regimen's has all that a training has: that observation, logs, metrics, labels, and
the check for values that are not finite. The ratio is that of environment steps a second, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs import open_env

CHUNK = 10


def works(task: str, num_envs: int) -> dict[str, Callable[[], int]]:
    """Return the two kinds of work on one environment."""
    config = compose_config(["task=isaaclab", f"env.id={task}", f"env.num_envs={num_envs}"])
    env = open_env(config)
    env.reset(seed=0)
    env.stagger()
    own = env.env.inner
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(CHUNK, num_envs, env.io.num_actions, generator=generator) * 2 - 1

    def full() -> int:
        own.cfg.compute_final_obs = True
        for action in actions:
            env.step(action)
        return CHUNK * num_envs

    def bare() -> int:
        own.cfg.compute_final_obs = False
        for action in actions:
            own.step(action)
        return CHUNK * num_envs

    return {"Regimen": full, "Isaac Lab's loop": bare}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="Isaac-Velocity-Flat-H1")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    if find_spec("isaaclab") is None:
        print("isaaclab_overhead: not measured, this Python has no Isaac Lab. Type: make isaaclab")
        return
    torch.set_num_threads(1)
    rates = alternate(works(args.task, args.num_envs), args.repeats, clock=time.process_time)
    ratios = {"Regimen / Isaac Lab's loop": ratio(rates["Regimen"], rates["Isaac Lab's loop"])}
    report(Path(__file__).stem, rates, ratios, "env steps/s")


if __name__ == "__main__":
    main()
