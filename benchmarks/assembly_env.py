"""Steps a second of task=gear_assembly on one core against MuJoCo alone: `python benchmarks/assembly_env.py`.

Everything runs on one thread and is measured in CPU seconds, alternating. The actions are those of the scripted expert
at noise 0.1, recorded beforehand, so contacts and resets are those of real episodes:

* `raw`: `mujoco.mj_step(nstep=50)` of one scene in a loop, on the controls of these episodes, from their start states;
* `states`: env steps with one env and with 16, resets included;
* `images`: the same with one env and two pictures of 128 x 128 a step.

The expert's share of successes is that of `--episodes` episodes at noise 0.1, seeds fixed. The penetration is that of
the contacts between part and fixture at the ends of the steps of 8 envs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import torch
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.assembly.env import SUBSTEPS

STEPS = 100
NOISE = 0.1


def opened(num_envs: int, *overrides: str) -> Any:
    """Return the task with N envs on one thread."""
    fixed = ["task=gear_assembly", f"env.num_envs={num_envs}", "hardware.threads=1"]
    return open_env(compose_config([*fixed, *overrides]))


def recorded(env: Any, steps: int) -> tuple[list[torch.Tensor], list[np.ndarray], list[np.ndarray]]:
    """Return the expert's actions from the seeded start, and state row and controls of env 0 in each step."""
    env.reset(seed=0)
    expert = env.scripted_expert(NOISE, 1)
    actions, rows, controls = [], [], []
    for _ in range(steps):
        actions.append(expert.act())
        rows.append(env.env.batch.state[0].copy())
        _, _, terminated, truncated, _ = env.step(actions[-1])
        controls.append(env.env.batch.bind("ctrl")[0].copy())
        expert.reset((terminated | truncated).nonzero().squeeze(1))
    return actions, rows, controls


def stepping(num_envs: int, steps: int, *overrides: str) -> Callable[[], int]:
    """Return the work of `steps` steps of N envs from a seeded start."""
    env = opened(num_envs, *overrides)
    actions, _, _ = recorded(env, steps)

    def work() -> int:
        env.reset(seed=0)
        for action in actions:
            env.step(action)
        return steps * num_envs

    return work


def raw(steps: int) -> Callable[[], int]:
    """Return the work of MuJoCo alone: each step of the recorded episodes of one env."""
    env = opened(1)
    _, rows, controls = recorded(env, steps)
    model = env.env.scene.model
    data, everything = mujoco.MjData(model), mujoco.mjtState.mjSTATE_INTEGRATION

    def work() -> int:
        for row, control in zip(rows, controls, strict=True):
            mujoco.mj_setState(model, data, row, everything)
            data.ctrl[:] = control
            mujoco.mj_step(model, data, nstep=SUBSTEPS)
        return steps

    return work


def successes(episodes: int, num_envs: int = 20) -> int:
    """Return how many of `episodes` episodes the expert completes."""
    env = opened(num_envs)
    count, ended, round_ = 0, 0, 0
    while ended < episodes:
        env.reset(seed=round_)
        expert = env.scripted_expert(NOISE, round_)
        running = torch.ones(num_envs, dtype=torch.bool)
        while running.any():
            _, _, terminated, truncated, info = env.step(expert.act())
            done = running & (terminated | truncated)
            count += int((info["labels"]["success"] & done).sum())
            running &= ~done
        ended, round_ = ended + num_envs, round_ + 1
    return count


def penetrations(steps: int = 60, num_envs: int = 8) -> np.ndarray:
    """Return by how much part and fixture overlap in each contact at the end of each step, in mm."""
    env = opened(num_envs)
    env.reset(seed=0)
    expert, batch, model = env.scripted_expert(NOISE, 1), env.env.batch, env.env.scene.model
    data, depths = mujoco.MjData(model), []
    grasp = model.geom("grasp").id
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(expert.act())
        expert.reset((terminated | truncated).nonzero().squeeze(1))
        for env_id in range(num_envs):
            batch.get_data(env_id, data)
            mujoco.mj_forward(model, data)
            between = ~(data.contact.geom[: data.ncon] == grasp).any(1)
            depths.append(np.maximum(-data.contact.dist[: data.ncon][between], 0.0))
    return 1e3 * np.concatenate(depths)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args()
    torch.set_num_threads(1)
    works = {
        "mj_step(nstep=50) alone": raw(STEPS),
        "1 env, states": stepping(1, STEPS),
        "16 envs, states": stepping(16, STEPS),
        "1 env, two 128 px pictures": stepping(1, STEPS, "env.images={size: 128}"),
    }
    rates = alternate(works, args.repeats, clock=time.process_time)
    alone, one, sixteen, pictures = rates.values()
    ratios = {
        "1 env / mj_step": ratio(one, alone),
        "16 envs / mj_step": ratio(sixteen, alone),
        "16 envs / 1 env": ratio(sixteen, one),
        "pictures / states": ratio(pictures, one),
    }
    report(Path(__file__).stem, rates, ratios, "env steps/CPU s")
    print(f"  the expert at noise {NOISE:g} completes {successes(args.episodes)} of {args.episodes} episodes")
    depth = penetrations()
    shown = f"median {np.median(depth):.3f}, greatest {depth.max():.3f} mm"
    print(f"  penetration of part and fixture in {len(depth)} contacts: {shown}")


if __name__ == "__main__":
    main()
