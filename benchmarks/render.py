"""How long a picture and a frame of film take on this machine: `python benchmarks/render.py`.

The robot moves between the pictures, as in a film. Shown are the median and the slowest tenth of the pictures; film is
the picture plus its share of the MP4.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import mujoco
import numpy as np

from regimen.display.video import VideoWriter
from regimen.envs.robots.robot import load
from regimen.envs.sims.render import Renderer, pick_backend

HEAD = f"{'robot':10}{'size':>11}{'picture ms':>12}{'slowest 10 %':>14}{'film ms':>9}"


def measure(name: str, width: int, height: int, frames: int) -> dict[str, object]:
    """Return times in ms of `frames` pictures of a robot, and of the film made of them."""
    robot = load(name)
    model = mujoco.MjModel.from_xml_path(str(robot.mjcf))
    data = mujoco.MjData(model)
    if robot.floating_base:
        data.qpos[2] = robot.spawn_height
    data.qpos[-len(robot.joints) :] = data.ctrl[:] = robot.default_joint_pos
    pictures, films = [], []
    with tempfile.TemporaryDirectory() as folder, Renderer(model, width, height) as renderer:
        writer = VideoWriter(Path(folder) / "film.mp4")
        for _ in range(frames + 3):
            mujoco.mj_step(model, data, nstep=8)
            started = time.perf_counter()
            picture = renderer.render(data)
            pictures.append(1e3 * (time.perf_counter() - started))
            writer.add(picture)
            films.append(1e3 * (time.perf_counter() - started))
        writer.close()
    shown, film = np.array(pictures[3:]), np.array(films[3:])
    times = {"median_ms": np.median(shown), "p90_ms": np.percentile(shown, 90), "film_ms": film.mean()}
    return {"robot": name, "width": width, "height": height} | {k: round(float(v), 2) for k, v in times.items()}


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/render.json"))
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{pick_backend()}, {cores} cores, load {os.getloadavg()[0]:.1f}\n{HEAD}")
    rows = []
    for name in ("go2", "h1", "reach_arm"):
        for width, height in ((640, 480), (320, 240)):
            row = measure(name, width, height, args.frames)
            size = f"{width}x{height}"
            print(f"{name:10}{size:>11}{row['median_ms']:12.1f}{row['p90_ms']:14.1f}{row['film_ms']:9.1f}", flush=True)
            rows.append(row)
    result = {
        "backend": pick_backend(),
        "cores": cores,
        "load": os.getloadavg()[0],
        "frames": args.frames,
        "rows": rows,
    }
    args.json.parent.mkdir(parents=True, exist_ok=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
