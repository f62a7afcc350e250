"""Share of a step that the search for values that are not finite takes: `python benchmarks/nan_checks.py`.

The checks alone run on what a real step returned: action, state, start of an episode, commands, observations, reward,
and the record of 32 steps for a NaN dump. The ratio is their time over the time of the whole step.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from gait import walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs.watched_env import WatchedEnv

CHUNK = 25
KEPT = 32


def works(task: str, num_envs: int) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the whole step and its checks alone, and what puts the env at the start."""
    env, actions, start = walking(compose_config([f"task={task}", f"env.num_envs={num_envs}"]), task, CHUNK)
    task_env = env.env
    returned = env.step(actions[0])
    inner = SimpleNamespace(
        num_envs=num_envs, io=env.io, step_dt=env.step_dt, common_step_counter=1, kinematics=task_env.kinematics,
        device=env.device,
        step=lambda action: returned, reset=lambda seed=None: returned[0],
    )  # fmt: skip
    watched = WatchedEnv(inner, KEPT, {})
    watched.reset()
    everyone = torch.arange(num_envs)

    def whole() -> int:
        for action in actions:
            env.step(action)
        return CHUNK

    def checks() -> int:
        for action in actions:
            watched.step(action)
            task_env._examine_state()
            task_env._require_start(everyone)
            task_env.commands._require_values()
            task_env.commands._require_values()
        return CHUNK

    return {"step": whole, "checks": checks}, lambda: env.load_state_dict(start)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    rows, ratios = {}, {}
    for task in ("h1_flat", "go2_flat"):
        kinds, restore = works(task, args.num_envs)
        rates = alternate(kinds, args.repeats, before=restore)
        rows |= {f"{task} {name}": values for name, values in rates.items()}
        ratios[f"{task} checks / step, in time"] = ratio(rates["step"], rates["checks"])
    report(Path(__file__).stem, rows, ratios, "a second")


if __name__ == "__main__":
    main()
