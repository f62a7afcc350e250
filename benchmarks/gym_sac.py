"""FastSAC beside Stable-Baselines3's SAC on a task of Gymnasium: returns at equal samples, and what they took.

    python benchmarks/gym_sac.py  # conf/experiment/hopper_fast_sac.yaml alone
    python benchmarks/gym_sac.py --peer-python DIR/bin/python --seeds 0 1 2  # beside SB3, both at once

The other environment is made by `python3 -m venv DIR && DIR/bin/pip install stable-baselines3 "gymnasium[mujoco]"`,
with the torch of constraints.txt. Each training is a process with one thread: ours is `python launch.py experiment=…`,
theirs `gym_sac_peer.py`. Trainings are kept in `--folder`; what is complete there is not trained again. Curves of other
seeds in `results/gym_sac.json` stay in the table, so that seeds can be trained in several sittings.

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
from regimen.display.intervals import iqm, iqm_interval
from regimen.envs import open_env
from regimen.runs import checkpoint
from regimen.system import json_lines

Row = dict[str, Any]
"""steps, wall_s, cpu_s, returns."""
Curve = dict[str, Any]
"""machine, rows: one training."""
PEER = Path(__file__).with_name("gym_sac_peer.py")
LABELS = {"ours": "FastSAC", "sb3": "SB3's SAC"}
RESULT = RESULTS / "gym_sac.json"
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
    rows, seconds = [], {row["step"]: row["time_s"] for row in json_lines.rows(run / "metrics.jsonl")}
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


def measured_before(task: str) -> dict[str, dict[int, Curve]]:
    """Return the curves in `results/gym_sac.json` by program and seed, if they are of this task."""
    data = json.loads(RESULT.read_text()) if RESULT.exists() else {"task": None, "curves": {}}
    return {n: {int(k): v for k, v in c.items()} for n, c in data["curves"].items()} if data["task"] == task else {}


def means_of(seeds: dict[int, Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Return steps (T,) and the mean return of each seed there (n, T)."""
    rows = [curve["rows"] for curve in seeds.values()]
    means = np.array([[np.mean(row["returns"]) for row in each] for each in rows])
    return np.array([row["steps"] for row in rows[0]]), means


def draw(curves: dict[str, dict[int, Curve]], title: str) -> None:
    """Draw the IQM over samples with its interval, a thin line for each seed, and the CPU time of each training."""
    figure, (left, right) = figures.sheet(2, 2)
    for number, (name, color) in enumerate(zip(curves, figures.COLORS, strict=False)):
        steps, means = means_of(curves[name])
        thousands = steps / 1000
        left.plot(thousands, means.T, color=color, lw=0.6, alpha=0.5)
        left.plot(thousands, iqm(means), color=color, label=f"{LABELS[name]}: IQM of {len(means)} seeds", lw=2)
        if ends := iqm_interval(means):
            left.fill_between(thousands, *ends, color=color, alpha=0.2, lw=0)
        minutes = [curve["rows"][-1]["cpu_s"] / 60 for curve in curves[name].values()]
        right.plot([number] * len(minutes), minutes, "o", color=color)
    left.set_xlabel("thousand samples", fontsize=8)
    left.set_title(f"{title}: return", fontsize=10)
    left.legend(fontsize=8, frameon=False)
    right.set_xticks(range(len(curves)), [LABELS[name] for name in curves], fontsize=8)
    right.set_ylim(bottom=0)
    right.set_xlim(-0.5, len(curves) - 0.5)
    right.set_title("CPU minutes of each training", fontsize=10)
    figures.save(figure, RESULTS / "gym_sac.png")


def print_table(curves: dict[str, dict[int, Curve]]) -> None:
    """Print each return at equal samples, the IQM with its 95 % interval, and the time of each training."""
    for name, seeds in curves.items():
        steps, means = means_of(seeds)
        middle, ends = iqm(means), iqm_interval(means)
        for at, step in enumerate(steps):
            scores = ", ".join(f"{x:,.0f}" for x in means[:, at])
            interval = f" ({ends[0][at]:,.0f} … {ends[1][at]:,.0f})" if ends else ""
            print(f"  {name:6}{step:9,} samples: IQM {middle[at]:7,.0f}{interval}   seeds: {scores}")
        last = [curve["rows"][-1] for curve in seeds.values()]
        print(
            f"  {name:6}wall min (CPU min): "
            + ", ".join(f"{r['wall_s'] / 60:.1f} ({r['cpu_s'] / 60:.1f})" for r in last)
        )


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
    title = compose_config([f"experiment={args.experiment}"]).env.id
    curves = measured_before(title)
    for seed in args.seeds:
        here = [name for name in names if name == "ours" or seed in (args.peer_seeds or args.seeds)]
        lacking = [name for name in here if not complete(name, seed, args.folder, args.experiment)]
        started = [begin(name, seed, args.folder, args.experiment, args.peer_python) for name in lacking]
        if any([process.wait() for process in started]):
            sys.exit(f"seed {seed}: a training failed; what is complete in {args.folder} is kept")
        for name in here:
            rows = curve(name, seed, args.folder, args.experiment, args.episodes)
            curves.setdefault(name, {})[seed] = {"machine": machine(), "rows": rows}
    curves = {name: dict(sorted(seeds.items())) for name, seeds in sorted(curves.items())}
    print_table(curves)
    draw(curves, title)
    RESULT.write_text(json.dumps({"task": title, "curves": curves}, indent=1) + "\n")


if __name__ == "__main__":
    main()
