"""What a failure detector costs: watching, beside a step of the environment; training, the share spent on data.

`python benchmarks/detector.py [dataset]`. Watching: the default network on random weights, one update for 1024 robots,
measured in turn with one step of `h1_failure` under a trained gait. Training: one epoch of the default network on a
dataset of `stage=collect`, or on one made up of the same size where none is named.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import RESULTS, alternate, machine, ratio, report

from regimen.agents.failure_detector.agent import FailureGruCfg
from regimen.agents.failure_detector.frames import FrameSets, Layout
from regimen.agents.failure_detector.model import GruNet
from regimen.agents.failure_detector.online import StreamingDetector
from regimen.agents.failure_detector.trainer import Training, TrainingCfg
from regimen.config.compose import compose_config
from regimen.config.targets import resolve
from regimen.data.episodes.reader import EpisodeFile
from regimen.data.episodes.schema import columns_for
from regimen.data.episodes.splits import split
from regimen.data.episodes.writer import EpisodeWriter
from regimen.envs import open_env
from regimen.envs.robots.robot import load as load_robot
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.runs.references import resolve_data, resolve_policy

CHUNK = 25
GROUP = "discriminator"


def watching(num_envs: int) -> tuple[dict[str, Callable[[], int]], Callable[[], None], IOSpec]:
    """Return the two kinds of work, what puts the environment at the same start, and what it observes."""
    config = compose_config(["task=h1_failure", f"env.num_envs={num_envs}"])
    torch.set_num_threads(1)  # as training and evaluation do while they step; the physics has all cores
    env = open_env(config)
    bundle = checkpoint.load(resolve_policy("pretrained:h1_flat"))
    io = IOSpec.from_dict(bundle["io"])
    policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
    obs = env.reset(seed=0)
    env.stagger()
    for _ in range(150):
        obs, *_ = env.step(policy.act(obs, None)[0])
    seen, actions = [], []
    for _ in range(CHUNK):
        seen.append(obs)
        actions.append(policy.act(obs, None)[0])
        obs, *_ = env.step(actions[-1])
    start, cfg = env.state_dict(), FailureGruCfg()
    net = GruNet(env.io.size(GROUP), 9, cfg.model)
    detector = StreamingDetector(net, tuple("abcdefghi"), GROUP, cfg.decision, env.step_dt)
    begun = torch.zeros(num_envs, dtype=torch.bool)
    begun[:: max(1, num_envs // 3)] = True  # some episodes end in every step

    def step() -> int:
        for action in actions:
            env.step(action)
        return CHUNK

    def watch() -> int:
        for given in seen:
            detector.update(given, begun)
        return CHUNK

    return {"environment": step, "detector": watch}, lambda: env.load_state_dict(start), env.io


class Quiet:
    """A run and its checkpoints that nobody looks at."""

    def progress(self, **fields: object) -> None: ...

    def check_stop(self, step: int, save: object) -> None: ...

    def load(self) -> None:
        return None

    def save(self, step: int, network: dict, training: dict, metric: float | None) -> None:
        self.network = network

    def best(self) -> dict:
        return self.network


def made_up(path: Path, io: IOSpec, joints: list[str], num_envs: int, steps: int) -> None:
    """Write a dataset of noise: episodes of up to 1000 steps, a fault in most."""
    rng = np.random.default_rng(0)
    labels = {"fault_joint": np.dtype("int16"), "fault_limit": np.dtype("float32")}
    attrs = {"io": io.to_dict(), "joints": joints, "classes": joints[:8], "step_dt": io.step_dt}
    writer = EpisodeWriter(path, columns_for({GROUP: io.size(GROUP)}, io.num_actions, labels), num_envs, attrs)
    age, length = np.zeros(num_envs, int), rng.integers(100, 1000, num_envs)
    episode, joint = np.arange(num_envs), rng.integers(-2, 8, num_envs).clip(-1)
    for _ in range(steps):
        done = age == length - 1
        fault = np.where(age > 80, joint, -1).astype(np.int16)
        row = {f"obs/{GROUP}": rng.standard_normal((num_envs, io.size(GROUP)), dtype=np.float32)}
        row |= {"action": np.zeros((num_envs, io.num_actions), np.float32), "reward": np.zeros(num_envs, np.float32)}
        row |= {"terminated": done, "truncated": np.zeros(num_envs, bool), "episode": episode.astype(np.int32)}
        row |= {"labels/fault_joint": fault, "labels/fault_limit": np.where(fault < 0, np.nan, 9.0).astype(np.float32)}
        writer.add(row)
        age = np.where(done, 0, age + 1)
        episode = episode + num_envs * done
    writer.close()


def training(path: Path, epochs: int) -> tuple[list[float], float]:
    """Return the share of each epoch that was spent waiting for data, and frames a second of the last."""
    with EpisodeFile(path) as file:
        io, joints, classes, envs = file.io, file.joints, list(file.attributes.classes or []), file.num_envs
    layout = Layout.of(io, GROUP, joints, classes)
    sets = FrameSets.open(layout, io, [path], split([envs], 0), 3 * 2**30)
    torch.set_num_threads(1)  # as stage=distill does
    torch.manual_seed(0)
    net, quiet, cfg = GruNet(layout.size, len(layout.classes), FailureGruCfg().model), Quiet(), TrainingCfg()
    cfg.epochs = cfg.patience = epochs
    shares: list[float] = []
    learner = Training(net, sets, cfg, quiet, quiet, 0, lambda _, told: shares.append(told["Perf/data_share"]))
    learner._prepare()
    started = time.perf_counter()
    for _ in range(epochs):
        learner._run_epoch()
    return shares, epochs * sets.train.sequences.rows / (time.perf_counter() - started)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", help="run, folder or file of stage=collect")
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    works, restore, io = watching(args.num_envs)
    rates = alternate(works, args.repeats, before=restore)
    cost = ratio(rates["environment"], rates["detector"])  # time is the inverse of the rate
    report(Path(__file__).stem, rates, {"time of an update / time of an env step": cost}, "updates or env steps/s")
    with tempfile.TemporaryDirectory() as folder:
        path = resolve_data(args.dataset) if args.dataset else Path(folder) / "episodes.h5"
        if not args.dataset:
            names = compose_config(["task=h1_failure"]).env.robot
            made_up(path, io, list(load_robot(names).joints), 128, 3000)
        shares, rate = training(path, args.epochs)
    print(f"training: {rate:,.0f} frames/s, {max(shares):.1%} of an epoch spent on data at most")
    out = RESULTS / "detector.json"
    known = json.loads(out.read_text())
    known["training"] = {"frames_per_s": rate, "data_share": shares, "machine": machine()}
    out.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
