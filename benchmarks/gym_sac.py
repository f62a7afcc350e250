"""FastSAC beside Stable-Baselines3's SAC on a task of Gymnasium: returns at equal samples, and what they took.

    python benchmarks/gym_sac.py  # conf/experiment/hopper_fast_sac.yaml alone
    python benchmarks/gym_sac.py --peer-python DIR/bin/python --seeds 0 1 2  # beside SB3, both at once

The other environment is made by `python3 -m venv DIR && DIR/bin/pip install stable-baselines3 "gymnasium[mujoco]"`,
with the torch of constraints.txt. Each training is a process with one thread: ours is `python launch.py experiment=…`,
theirs `gym_sac_peer.py`. Curves are kept in `--folder`; what is complete there is not trained again.

A return is the mean of 20 whole episodes by the mean action. Wall and CPU seconds are those of the training, without
the episodes, and on our side without the launch (3 s).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import RESULTS, ROOT, machine

from regimen.agents.policy_file import load_policy
from regimen.config.compose import compose_config
from regimen.config.schema import Config
from regimen.display import figures
from regimen.envs import open_env
from regimen.runs import checkpoint

Row = dict[str, Any]
"""steps, wall_s, cpu_s, returns."""
PEER = Path(__file__).with_name("gym_sac_peer.py")
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def returns(config: Config, path: Path, episodes: int, seed: int) -> list[float]:
    """Return those of whole episodes (episodes,) by the mean action of a checkpoint."""
    config.env.num_envs, config.env.episode_length_s = episodes, None
    env = open_env(config)
    policy = load_policy(checkpoint.load(path), env, seed)
    total, running = torch.zeros(episodes), torch.ones(episodes, dtype=torch.bool)
    obs, state = env.reset(seed=10_000 + seed), None
    with torch.inference_mode():
        for _ in range(env.max_episode_length):
            action, state = policy.act(obs, state)
            obs, reward, terminated, truncated, _ = env.step(action)
            total += reward * running
            running &= ~(terminated | truncated)
    return [float(x) for x in total]


def our_curve(run: Path, experiment: str, episodes: int) -> list[Row]:
    """Return a row for each checkpoint of a training; CPU seconds, launch included, are known of the whole alone."""
    rows, seconds = [], {row["step"]: row["time_s"] for row in figures.read_rows(run / "metrics.jsonl")}
    for path in sorted((run / "checkpoints").glob("step_*.pt")):
        config = compose_config([f"experiment={experiment}"])
        step, envs = int(path.stem.removeprefix("step_")), config.env.num_envs
        if step % config.stage.checkpoint_interval == 0:  # the best one is kept too
            found = returns(config, path, episodes, config.seed)
            rows.append({"steps": step * envs, "wall_s": seconds[step], "cpu_s": None, "returns": found})
    rows[-1]["cpu_s"] = json.loads((run / "run.json").read_text())["cpu_s"]
    return rows


def begin(name: str, seed: int, folder: Path, experiment: str, python: Path | None) -> subprocess.Popen[str]:
    """Start one training; theirs is read from what it prints."""
    if name == "ours":
        work = folder / f"ours_{seed}"
        work.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(ROOT / "launch.py"), f"experiment={experiment}", f"seed={seed}"]
        return subprocess.Popen([*command, "hardware.threads=1"], cwd=work, env=ONE_THREAD, text=True)
    config = compose_config([f"experiment={experiment}"])
    every = config.env.num_envs * config.stage.checkpoint_interval
    sizes = ["--seed", str(seed), "--steps", str(samples_of(config)), "--every", str(every)]
    with (folder / f"sb3_{seed}.jsonl").open("w") as out:
        return subprocess.Popen([str(python), str(PEER), config.env.id, *sizes], stdout=out, env=ONE_THREAD, text=True)


def samples_of(config: Config) -> int:
    """Return the samples of a whole training."""
    return int(config.env.num_envs * config.agent.num_learning_iterations)


def our_run(seed: int, folder: Path) -> Path | None:
    """Return the directory of a training of ours that is complete."""
    runs = [file.parent for file in folder.glob(f"ours_{seed}/outputs/*/run.json")]
    return next((run for run in runs if json.loads((run / "run.json").read_text())["status"] == "finished"), None)


def their_curve(seed: int, folder: Path, experiment: str) -> list[Row]:
    """Return what a training of theirs printed; nothing unless it is complete."""
    file = folder / f"sb3_{seed}.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return rows if rows and rows[-1]["steps"] == samples_of(compose_config([f"experiment={experiment}"])) else []


def complete(name: str, seed: int, folder: Path, experiment: str) -> bool:
    """Return whether a training is there already."""
    return our_run(seed, folder) is not None if name == "ours" else bool(their_curve(seed, folder, experiment))


def curve(name: str, seed: int, folder: Path, experiment: str, episodes: int) -> list[Row]:
    """Return a row for each point of a training that is complete."""
    run = our_run(seed, folder) if name == "ours" else None
    return our_curve(run, experiment, episodes) if run else their_curve(seed, folder, experiment)


def draw(curves: dict[str, list[list[Row]]], title: str) -> None:
    """Draw returns over samples and over wall time, a line for each seed."""
    figure, (left, right) = figures.sheet(2, 2)
    for (name, seeds), color in zip(curves.items(), figures.COLORS, strict=False):
        for number, rows in enumerate(seeds):
            mean = [float(np.mean(row["returns"])) for row in rows]
            label = name if number == 0 else None
            left.plot([row["steps"] / 1000 for row in rows], mean, color=color, label=label)
            right.plot([row["wall_s"] / 60 for row in rows], mean, color=color, label=label)
    for ax, what in ((left, "thousand samples"), (right, "minutes, one core")):
        ax.set_xlabel(what, fontsize=8)
        ax.set_title(f"{title}: return", fontsize=10)
        ax.legend(fontsize=8, frameon=False)
    figures.save(figure, RESULTS / "gym_sac.png")


def tell(curves: dict[str, list[list[Row]]]) -> None:
    """Print the table of returns at equal samples, and the time of each training."""
    for name, seeds in curves.items():
        for rows in zip(*seeds, strict=True):
            each = [float(np.mean(row["returns"])) for row in rows]
            scores = ", ".join(f"{x:,.0f}" for x in each)
            print(f"  {name:6}{rows[0]['steps']:9,} samples: return {np.mean(each):7,.0f}   ({scores})")
        ends = [(rows[-1]["wall_s"] / 60, rows[-1]["cpu_s"] / 60) for rows in seeds]
        print(f"  {name:6}wall min (CPU min): " + ", ".join(f"{wall:.1f} ({cpu:.1f})" for wall, cpu in ends))


def main() -> None:
    """Train what is not there yet, print, write `results/gym_sac.json` and `.png`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", type=Path, help="a Python with stable-baselines3")
    parser.add_argument("--experiment", default="hopper_fast_sac")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="40 minutes each")
    parser.add_argument("--peer-seeds", type=int, nargs="+", help="fewer of theirs, which take longest")
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--folder", type=Path, default=ROOT / "outputs" / "gym_sac")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = ["ours", "sb3"] if args.peer_python else ["ours"]
    print("" if args.peer_python else "no --peer-python: only our own figures (see the head of this file)")
    args.folder.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[list[Row]]] = {name: [] for name in names}
    for seed in args.seeds:
        here = [name for name in names if name == "ours" or seed in (args.peer_seeds or args.seeds)]
        lacking = [name for name in here if not complete(name, seed, args.folder, args.experiment)]
        started = [begin(name, seed, args.folder, args.experiment, args.peer_python) for name in lacking]
        if any([process.wait() for process in started]):
            sys.exit(f"seed {seed}: a training failed; what is complete in {args.folder} is kept")
        for name in here:
            curves[name].append(curve(name, seed, args.folder, args.experiment, args.episodes))
    tell(curves)
    title = compose_config([f"experiment={args.experiment}"]).env.id
    draw({{"ours": "FastSAC", "sb3": "SB3's SAC"}[name]: seeds for name, seeds in curves.items()}, title)
    data = {"machine": machine(), "task": title, "seeds": args.seeds, "curves": curves}
    (RESULTS / "gym_sac.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
