"""stage=collect against the env alone with the same policy, and how fast batches come: `python benchmarks/collect.py`.

H1 with failing joints, 256 envs. `collect` is the stage's own loop: labels, compressed HDF5, one checkpoint; `env`
acts and steps only. The cores of a shared machine come and go, so processor time is compared too. Batches are whole
episodes of the channels that a detector reads, padded, 32 at a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.data.episodes.batches import Sequences
from regimen.data.episodes.schema import GateResult
from regimen.envs import open_env
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.references import resolve_policy
from regimen.runs.run import Run
from regimen.stages.recording.config import CollectCfg
from regimen.stages.recording.recorders import EpisodeRecorder

COLUMNS = ("obs/discriminator", "labels/fault_joint")


def works(num_envs: int, steps: int, folder: Path) -> tuple[dict[str, Callable[[], int]], Path]:
    """Return both kinds of work, and where the dataset will be."""
    policy = resolve_policy("pretrained:h1_flat")
    config = compose_config(["task=h1_failure", f"env.num_envs={num_envs}"])
    config.policy = str(policy)
    cfg = CollectCfg(steps=steps, checkpoint_interval=steps)
    run = Run(create_run_dir(folder, {"stage": asdict(cfg)}, ["launch.py"], []))
    torch.set_num_threads(1)  # as the stage does; the physics has all cores
    env, bundle = open_env(config), checkpoint.load(policy)

    @torch.inference_mode()
    def collect() -> int:
        EpisodeRecorder(cfg, run, config, env, bundle, GateResult()).collect(None)
        return steps * num_envs

    @torch.inference_mode()
    def alone() -> int:
        acts = EpisodeRecorder(cfg, run, config, env, bundle, GateResult()).policy.act
        obs = env.reset(seed=0)
        env.stagger()
        for _ in range(steps):
            obs, *_ = env.step(acts(obs, None)[0])
        return steps * num_envs

    return {"env": alone, "collect": collect}, run.dir / "data" / "episodes.h5"


def by_processor(work: Callable[[], int]) -> float:
    """Return units per second of processor time, all threads together."""
    started = time.process_time()
    units = work()
    return units / (time.process_time() - started)


def loading(path: Path, num_envs: int, memory_bytes: int) -> Callable[[], int]:
    """Return the work of one epoch of batches; the number is that of rows."""
    sequences = Sequences([path], [np.arange(num_envs)], COLUMNS, memory_bytes)

    def epoch() -> int:
        return sum(int(batch.length.sum()) for batch in sequences.epoch(32, np.random.default_rng(0)))

    return epoch


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--steps", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=12)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=os.environ.get("TMPDIR")))
    try:
        kinds, path = works(args.num_envs, args.steps, folder)
        rates = alternate(kinds, args.repeats)
        cost = {name: [by_processor(work) for _ in range(3)] for name, work in kinds.items()}
        ratios = {
            "collect / env": ratio(rates["collect"], rates["env"]),
            "collect / env, processor time": ratio(cost["collect"], cost["env"]),
        }
        batches = {
            "batches from memory": loading(path, args.num_envs, 2**34),
            "batches in pools of 16 MB": loading(path, args.num_envs, 2**24),
        }
        rates |= alternate(batches, args.repeats)
        report(Path(__file__).stem, rates, ratios, "rows/s")
        print(f"  bytes a row and env: {path.stat().st_size / (args.steps * args.num_envs):.0f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
