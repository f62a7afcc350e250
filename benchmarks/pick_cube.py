"""RLPD on a stranger's task: pick-cube of gym-hil, from states and 20 scripted demonstrations.

    PYTHONPATH=DIR python benchmarks/pick_cube.py --folder bench --seeds 0 1 2

`pick_cube_peer.py` says what DIR holds and what is changed in it. Each seed records its own demonstrations, trains with
the defaults of `agent=rlpd` and without interventions, and is evaluated in 100 episodes whose seeds are fixed. The
expert moves above the cube, down, closes the hand and lifts, with noise 0.1 on its actions.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import RESULTS, ROOT, machine

TASK = ("task=gym", "env.id=pick_cube_peer:PickCube-v0", "env.success_key=succeed", "env.num_envs=1")
NOISE, STEP_DM = 0.1, 0.25
TO_CUBE = slice(18, 21)
"""Columns of the observation: the cube's position from the hand, in dm."""


class Expert:
    """Acts on the observations of one env."""

    def __init__(self, seed: int) -> None:
        """Seed the noise."""
        self._generator = np.random.default_rng(seed)
        self._closing = 0

    def act(self, obs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the action (1, 4) within ±1."""
        row = obs["policy"][0].numpy()
        to_cube = row[TO_CUBE]
        wanted, grip = to_cube + np.array([0.0, 0.0, 0.6]), -1.0
        if self._closing or np.hypot(*to_cube[:2]) < 0.1:
            wanted = to_cube
            if self._closing or abs(to_cube[2]) < 0.1:
                grip, self._closing = 1.0, self._closing + 1
                wanted = np.zeros(3) if self._closing < 4 else np.array([0.0, 0.0, STEP_DM])
        action = np.clip([*(wanted / STEP_DM), grip] + NOISE * self._generator.standard_normal(4), -1.0, 1.0)
        return torch.tensor(action, dtype=torch.float32)[None]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Begin an episode."""
        self._closing = 0

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: a recording is not resumed here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore nothing."""


def record(path: Path, episodes: int, seed: int) -> list[int]:
    """Write successful episodes of the expert; return their lengths."""
    from regimen.config.compose import compose_config
    from regimen.data.demonstrations import DemonstrationWriter
    from regimen.data.episode_collector import EpisodeCollector
    from regimen.data.episodes.schema import EpisodeAttributes
    from regimen.envs import open_env

    env = open_env(compose_config([*TASK, f"seed={seed}"]))
    collector = EpisodeCollector(env, Expert(seed))
    collector.begin(seed)
    found: list[Any] = []
    while len(found) < episodes:
        found += collector.step(episodes - len(found))
    attributes = EpisodeAttributes(
        num_envs=1,
        io=env.io.to_dict(),
        step_dt=env.step_dt,
        task="gym",
        seed=seed,
        action_noise=NOISE,
        demonstrator="scripted",
        attempts=collector.attempts,
    )
    writer = DemonstrationWriter(path, env.io, {"success": np.dtype(bool)}, attributes)
    for episode in found:
        writer.add_episode(episode)
    writer.close()
    env.close()
    print(f"expert: {len(found)} of {collector.attempts} episodes succeed", flush=True)
    return [len(episode) for episode in found]


def launch(folder: Path, *settings: str) -> float:
    """Run `launch.py` in a folder; return its CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    path = os.pathsep.join([str(ROOT / "benchmarks"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, str(ROOT / "launch.py"), *TASK, "hardware.threads=1", *settings]
    with (folder / "screen.log").open("a") as log:
        if subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=env, check=False).returncode:
            raise SystemExit(f"{folder}: {(folder / 'screen.log').read_text()[-1000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def evaluate(folder: Path, step: int, episodes: int) -> dict[str, Any]:
    """Return the summary of an evaluation of the checkpoint at a step."""
    launch(folder, "stage=evaluate", f"policy=trained@{step}", "seed=12345", f"stage.envs_per_command={episodes}")
    newest = max(folder.glob("outputs/*/result.json"), key=lambda path: path.stat().st_mtime)
    result: dict[str, Any] = json.loads(newest.read_text())
    return {"episodes": episodes, "step": step, **result["headline"]}


def main() -> None:
    """Train, evaluate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--at", type=int, nargs="+", default=[2000, 3000, 4000], help="steps to evaluate")
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--demonstrations", type=int, default=20)
    args = parser.parse_args()
    os.environ.setdefault("MUJOCO_GL", "egl")  # read when gym-hil imports MuJoCo
    found: dict[str, Any] = {}
    for seed in args.seeds:
        folder = args.folder / f"seed_{seed}"
        folder.mkdir(parents=True)
        lengths = record(folder / "demos.h5", args.demonstrations, seed)
        train = ("agent=rlpd", "agent.interventions.enabled=false", "data=[demos.h5]", "name=trained", f"seed={seed}")
        counted = (f"agent.max_steps={args.steps}", "stage.checkpoint_interval=1000", "stage.keep_checkpoints=100")
        seconds = launch(folder, *train, *counted)
        print(f"seed {seed}: trained in {seconds:.0f} CPU s", flush=True)
        found[str(seed)] = {
            "demonstration_steps": float(np.mean(lengths)),
            "training_cpu_s": seconds,
            "evaluations": [],
        }
        for step in args.at:
            found[str(seed)]["evaluations"].append(evaluate(folder, step, args.episodes))
            print(f"seed {seed}, {step} steps: {found[str(seed)]['evaluations'][-1]}", flush=True)
        result = {"machine": machine(), "demonstrations": args.demonstrations, "seeds": found}
        (RESULTS / "pick_cube.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
