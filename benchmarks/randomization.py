"""Cost of randomisation, and of history and delay: `python benchmarks/randomization.py`.

1024 Go2 on flat ground step by the actions of the trained walker, five times from the same states: as the task is; with
25 quantities drawn at each reset; with dry friction of the joints alone; with history 5 and a delay of 0 to 2 steps for
every observation term; and with a wrench at random times. Episodes are staggered, so that resets are part of each
measurement. With `--cpu` the physics has one thread and CPU seconds count. `--rays` measures depth images of 256 robots
on the ground of `go2_rough` instead.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from gait import environment, walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.envs.sims.quantities import QUANTITIES
from regimen.envs.terrain.grid import build_terrain
from regimen.envs.terrain.ray_caster import RayCaster
from regimen.envs.terrain.ray_pattern import PinholePattern

CHUNK = 25
SIZES = [(16, 9), (32, 18), (64, 36)]
SCALED = {"body_mass", "body_inertia", "stiffness", "damping", "motor_strength", "friction", "armature"}
SCALED |= {"gravity_z", "terrain_friction"}
LEFT_OUT = {"joint_low", "joint_high", "link_x", "link_y", "link_z", "shape_size", "joint_friction"}
"""Quantities that are seldom drawn, and dry friction, which is measured alone: it is a constraint of each joint."""


def randomised() -> list[str]:
    """Return the arguments that add an event for each of 25 quantities."""
    quantities = [name for name in QUANTITIES if name not in LEFT_OUT]
    assert len(quantities) == 25, len(quantities)
    return [draw(name) for name in quantities]


def draw(name: str) -> str:
    """Return the argument that adds an event for a quantity."""
    between = "[0.97, 1.03]" if name in SCALED else "[0.0, 0.001], operation: add"
    params = f"{{quantity: {name}, between: {between}}}"
    return f"+env.events.draw_{name}={{func: randomize, mode: reset, params: {params}}}"


def remembered() -> list[str]:
    """Return the arguments that give all terms a history and a delay."""
    terms = ["base_lin_vel", "base_ang_vel", "projected_gravity", "velocity_commands", "joint_pos", "joint_vel"]
    terms += ["actions", "gait_phase"]
    delays = [f"env.observations.policy.terms.{name}.delay=[0,2]" for name in terms]
    return ["env.observations.policy.history=5", *delays]


WRENCH = (
    "+env.events.blow={func: apply_wrench, mode: interval, interval_range_s: [1.0, 3.0], "
    "params: {of: base, duration_s: [0.1, 0.3], force: {x: [-5, 5], y: [-5, 5]}}}"
)


def environments(num_envs: int, settings: list[str]) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the kinds of work, and what puts all of them at their starts."""
    shared = ["task=go2_flat", f"env.num_envs={num_envs}", *settings]
    plain, actions, start = walking(compose_config(shared), "go2_flat", CHUNK)
    tasks, works = [(plain, start)], {"plain": environment(plain, actions)}
    kinds = {
        "25 quantities at each reset": randomised(),
        "dry joint friction alone": [draw("joint_friction")],
        "history 5 and delay": remembered(),
        "wrench": [WRENCH],
    }
    for name, words in kinds.items():
        task = open_env(compose_config([*shared, *words]))
        task.reset(seed=0)
        task.stagger()
        task.world.batch.state[:] = start["world"]["rows"].numpy()
        tasks.append((task, task.state_dict()))
        works[name] = environment(task, actions)

    def restore() -> None:
        for task, state in tasks:
            task.load_state_dict(state)

    return works, restore


def rays(num_envs: int) -> dict[str, Callable[[], int]]:
    """Return a work for each size of image: depth images of robots on all tiles, 30 degrees downwards, up to 3 m."""
    ground = build_terrain(compose_config(["task=go2_rough"]).env.terrain).ground
    generator = torch.Generator().manual_seed(0)
    start, end = torch.tensor(ground.start) + 20.0, torch.tensor(ground.end) - 20.0
    places = start + torch.rand(num_envs, 2, generator=generator) * (end - start)
    origins = torch.cat((places, ground.at(places)[:, None] + 0.35), dim=1)
    heading = torch.rand(num_envs, generator=generator) * 6.2832
    works = {}
    for width, height in SIZES:
        x, y, z = torch.tensor(PinholePattern(width, height, 87.0, 30.0).directions()).unbind(1)
        cos, sin = heading.cos()[:, None], heading.sin()[:, None]
        directions = torch.stack((cos * x - sin * y, sin * x + cos * y, z.expand(num_envs, -1)), dim=2)
        caster = RayCaster(ground, 3.0)
        works[f"{width} x {height}"] = lambda c=caster, d=directions: c.cast(origins, d).numel()
    return works


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    parser.add_argument("--rays", action="store_true", help="depth images")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    suffix = "_cpu" if args.cpu else ""
    if args.rays:
        torch.set_num_threads(1)
        rates = alternate(rays(args.num_envs or 256), args.repeats, clock=clock)
        report(f"ray_caster{suffix}", rates, {}, "rays per CPU s" if args.cpu else "rays/s")
        return
    works, restore = environments(args.num_envs or 1024, ["hardware.threads=1"] if args.cpu else [])
    rates = alternate(works, args.repeats, before=restore, clock=clock)
    ratios = {f"{name} / plain": ratio(rates[name], rates["plain"]) for name in list(works)[1:]}
    report(f"{Path(__file__).stem}{suffix}", rates, ratios, "env steps per CPU s" if args.cpu else "env steps/s")


if __name__ == "__main__":
    main()
