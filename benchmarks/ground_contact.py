"""Ground of a simulator against the ground that tasks read, and what it costs: `python benchmarks/ground_contact.py`.

Go2s are let go above seven kinds of tiles, at the lowest and the highest level. Each place where they touch the ground
is compared with `HeightField.at`; half of the depth of a contact is added, because it lies between the two surfaces.
Then scenes of 5 x 10 and of 10 x 20 tiles of 8 m with a border of 20 m are opened, and steps on the larger one are
compared with steps on a plane, in seconds of the processor. `--sim genesis`; `.venv-isaaclab/bin/python` for
`--sim isaaclab`. Kernels have to be compiled: run it twice.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, machine

from regimen.config.compose import compose_config
from regimen.config.targets import resolve
from regimen.config.task_schema import TerrainCfg, TerrainKindCfg
from regimen.envs.robots.robot import load
from regimen.envs.terrain.grid import Terrain, build_terrain
from regimen.envs.terrain.placement import Placement

KINDS: dict[str, dict[str, Any]] = {
    "flat": {},
    "random_rough": {"height": [0.02, 0.1]},
    "slope": {"incline": [0.1, 0.4]},
    "stairs": {"step_height": [0.05, 0.2]},
    "obstacles": {"height": [0.05, 0.2]},
    "waves": {"height": [0.05, 0.3]},
    "boxes": {"height": [0.05, 0.2]},
}
N, FALL, WATCHED, TIMED = 28, 40, 20, 100
"""Robots; control steps of 4 physics steps until they lie, and in which contacts are read; physics steps for a time."""

ROBOT = load("go2")


def ground(levels: int, columns: int, border: float) -> Terrain:
    """Return tiles of all kinds."""
    kinds = {name: TerrainKindCfg(func=name, params=params) for name, params in KINDS.items()}
    return build_terrain(TerrainCfg(kinds=kinds, levels=levels, columns=columns, border=border))


def let_go(world: Any, terrain: Terrain | None) -> None:
    """Put the robots above places of the tiles, turned by any angle; the joints hold the default pose."""
    draw, ids = torch.Generator().manual_seed(0), torch.arange(N)
    pose = torch.zeros(N, 7)
    pose[:, 2] = ROBOT.spawn_height
    half_turn = torch.rand(N, generator=draw) * torch.pi
    pose[:, 3], pose[:, 6] = half_turn.cos(), half_turn.sin()
    if terrain is not None:
        pose[:, :2] = (torch.rand(N, 2, generator=draw) * 2 - 1) * 3.0
        placement = Placement(terrain, N, torch.device("cpu"))
        placement.fix([i % terrain.levels for i in range(N)], [i * terrain.columns // N for i in range(N)])
        pose = placement.place(ids, pose)
    start = torch.tensor([ROBOT.default_joint_pos] * N)
    world.reset(ids, pose, torch.zeros(N, 6), start, torch.zeros_like(start))
    world.set_joint_targets(start)


def genesis_places(world: Any) -> torch.Tensor:
    """Return where robots touch the ground, (n, 3) m; a normal of Genesis points from the ground to the robot."""
    from regimen.envs.sims.genesis_scene import view

    solver, state = world.scene.rigid_solver, "collider.collider_state"
    count = view(solver, f"{state}.n_contacts")
    valid = torch.arange(int(count.max())) < count[:, None]
    names = ("pos", "penetration", "normal")
    found = (view(solver, f"{state}.contact_data.{name}", transpose=True)[:, : valid.shape[1]] for name in names)
    places, depths, normals = (values[valid] for values in found)
    return places + 0.5 * depths[:, None] * normals


def isaaclab_places(world: Any) -> torch.Tensor:
    """Return where robots touch the ground, (n, 3) m; the distance of a contact of MuJoCo Warp is negative."""
    data = world.newton.manager._solver.mjw_data
    contact, count = data.contact, int(data.nacon.numpy()[0])
    places, normals, depths = (world.newton.tensor(a)[:count] for a in (contact.pos, contact.frame, contact.dist))
    return places - 0.5 * depths[:, None] * normals.reshape(count, 3, 3)[:, 0]


PLACES = {"genesis": genesis_places, "isaaclab": isaaclab_places}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", choices=list(PLACES), default="genesis")
    sim = parser.parse_args().sim
    torch.set_num_threads(1)
    config = compose_config(["task=go2_flat", f"sim={sim}"]).sim
    made = resolve(config._target_)
    figures: dict[str, float] = {}

    small = ground(2, 7, border=1.0)
    world, off = made(config, ROBOT, N, 1, small.ground), []
    let_go(world, small)
    for step in range(FALL + WATCHED):
        world.step(4)
        if step >= FALL:
            places = PLACES[sim](world)
            off.append((places[:, 2] - small.ground.at(places)).abs())
    world.close()
    distances = torch.cat(off)
    figures["contacts"] = len(distances)
    for share in (0.5, 0.9, 0.99):
        figures[f"{share:.0%} of them within, m"] = float(distances.quantile(share))
    figures["all of them within, m"] = float(distances.max())

    for name, terrain in {"plane": None, "5 x 10": ground(5, 10, 20.0), "10 x 20": ground(10, 20, 20.0)}.items():
        begun, held = time.process_time(), _resident_mib()
        world = made(config, ROBOT, N, 1, None if terrain is None else terrain.ground)
        figures[f"{name}: opened, CPU s"] = time.process_time() - begun
        figures[f"{name}: more memory, MiB"] = _resident_mib() - held
        let_go(world, terrain)
        world.step(4 * FALL)
        begun = time.process_time()
        world.step(TIMED)
        figures[f"{name}: {TIMED} physics steps, CPU s"] = time.process_time() - begun
        world.close()

    facts = machine()
    print(f"{sim}: {facts['cores']} cores, load {facts['load']}, {facts['processor']}")
    for label, value in figures.items():
        print(f"  {label:34}{value:12.3g}")
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{Path(__file__).stem}_{sim}.json"
    file.write_text(json.dumps({"machine": facts, "figures": figures}, indent=1) + "\n")


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main()
