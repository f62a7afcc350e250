"""A task of mjlab under Regimen against mjlab's own loop, in the Python that `make mjlab` makes.

`.venv-mjlab/bin/python benchmarks/mjlab_overhead.py`

All step the same open environment with the same actions, in turns. mjlab's loop is that of its training: the wrapper
for rsl_rl around the environment, which resets the envs that ended within the step and so has no observation at the
end of their episodes. With that observation, mjlab is stepped as its documentation says: `auto_reset=False`, and a
reset of the envs that ended, which computes the scene a second time. Regimen's step has that observation, logs,
metrics, labels, and the check for values that are not finite. The ratios are those of environment steps a second, in
seconds of the processor. `--actions 0` keeps the robot on its feet, so that only time-outs end episodes.
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


def works(task: str, num_envs: int, size: float) -> tuple[dict[str, Callable[[], int]], dict[str, int]]:
    """Return the kinds of work on one environment, and a counter of the steps in which an episode ended."""
    from mjlab.rl import RslRlVecEnvWrapper

    config = compose_config(["task=mjlab", f"env.id={task}", f"env.num_envs={num_envs}"])
    env = open_env(config)
    env.reset(seed=0)
    env.stagger()
    own = env.env.inner
    wrapped = RslRlVecEnvWrapper(own)
    env.stagger()
    generator = torch.Generator().manual_seed(0)
    actions = size * (torch.rand(CHUNK, num_envs, env.io.num_actions, generator=generator) * 2 - 1)
    counted = {"steps": 0, "with ends": 0}

    def full() -> int:
        own.cfg.auto_reset = False
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action)
            counted["steps"] += 1
            counted["with ends"] += int((terminated | truncated).any())
        return CHUNK * num_envs

    def bare() -> int:
        own.cfg.auto_reset = True
        for action in actions:
            wrapped.step(action)
        return CHUNK * num_envs

    def with_terminal() -> int:
        own.cfg.auto_reset = False
        for action in actions:
            _, _, done, _ = wrapped.step(action)
            if bool(done.any()):
                own.reset(env_ids=done.nonzero().flatten())
        return CHUNK * num_envs

    return {"Regimen": full, "mjlab's loop": bare, "mjlab with final observations": with_terminal}, counted


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="Mjlab-Velocity-Flat-Unitree-Go1")
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--actions", type=float, default=1.0, help="bound on the random actions")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    if find_spec("mjlab") is None:
        print("mjlab_overhead: not measured, this Python has no mjlab. Type: make mjlab")
        return
    torch.set_num_threads(1)
    kinds, counted = works(args.task, args.num_envs, args.actions)
    rates = alternate(kinds, args.repeats, clock=time.process_time)
    ratios = {f"Regimen / {name}": ratio(rates["Regimen"], rates[name]) for name in list(rates)[1:]}
    print(f"an episode ended in {counted['with ends']} of {counted['steps']} steps under Regimen")
    report(Path(__file__).stem, rates, ratios, "env steps/s")


if __name__ == "__main__":
    main()
