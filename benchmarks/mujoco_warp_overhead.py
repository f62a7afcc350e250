"""sim=mujoco_warp on a CPU, MuJoCo Warp alone and sim=mujoco: `python benchmarks/mujoco_warp_overhead.py`.

All step the same Go2s by the same actions from states of the same walk: the whole environment in both simulators, and a
bare loop that sets targets, replays a recorded step of MuJoCo Warp, and copies positions, velocities, accelerations,
torques and sensors. The rates are environment steps a second of the processor: each has one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from gait import walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config

CHUNK = 25


def full(env: Any, actions: torch.Tensor) -> int:
    """Step the environment; return the number of environment steps."""
    for action in actions:
        env.step(action)
    return len(actions) * env.num_envs


def bare(env: Any, actions: torch.Tensor, graph: Any) -> int:
    """Step the simulation without an environment; return the number of environment steps."""
    import warp as wp

    batch = env.world._batch
    for action in actions:
        batch.ctrl[:] = env.default_joint_pos + env.cfg.actions.scale * action
        for _ in range(env.cfg.decimation):
            wp.capture_launch(graph)
        for values in (batch.qpos, batch.qvel, batch.qacc, batch.force, batch.sensors):
            values.clone()
    return len(actions) * env.num_envs


def works(num_envs: int) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the three kinds of work and what puts them at their start; the policy acted beforehand, neither pays."""
    import mujoco_warp
    import warp as wp

    sized = ["task=go2_flat", f"env.num_envs={num_envs}", "hardware.threads=1"]
    warp, warp_actions, warp_start = walking(compose_config([*sized, "sim=mujoco_warp"]), "go2_flat", CHUNK)
    cpu, cpu_actions, cpu_start = walking(compose_config([*sized, "sim=mujoco"]), "go2_flat", CHUNK)
    batch = warp.world._batch
    with wp.ScopedCapture() as capture:
        mujoco_warp.step(batch._model, batch._data)
    kinds = {
        "mujoco_warp": partial(full, warp, warp_actions),
        "bare loop": partial(bare, warp, warp_actions, capture.graph),
        "mujoco": partial(full, cpu, cpu_actions),
    }

    def restore() -> None:
        warp.load_state_dict(warp_start)
        cpu.load_state_dict(cpu_start)

    return kinds, restore


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    if find_spec("mujoco_warp") is None:
        print("mujoco_warp_overhead: not measured, MuJoCo Warp is not installed. Type: make mujoco_warp")
        return
    kinds, restore = works(args.num_envs)
    rates = alternate(kinds, args.repeats, before=restore, clock=time.process_time)
    ratios = {
        "environment / bare loop": ratio(rates["mujoco_warp"], rates["bare loop"]),
        "sim=mujoco_warp / sim=mujoco": ratio(rates["mujoco_warp"], rates["mujoco"]),
    }
    report(Path(__file__).stem, rates, ratios, "env steps/s")


if __name__ == "__main__":
    main()
