"""stage=collect_histories against the env alone with the same actions: `python benchmarks/histories.py`.

Go2 with noise that decays. `collect` is the stage's own loop to the very end: noise, rows, one checkpoint, the files
taken apart, checksums and index; without the trial before it, which records nothing. `env` asks the policy and steps
with the actions that were recorded, so that as many robots fall. The cores of a shared machine come and go, so
processor time is compared too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from collect import by_processor
from measure import alternate, ratio, report

from regimen.config.compose import compose_config
from regimen.data.histories.reader import open_histories
from regimen.envs import open_env
from regimen.runs.create import create_run_dir
from regimen.runs.references import resolve_policy
from regimen.runs.run import Run
from regimen.stages.recording import recorders
from regimen.stages.recording.config import CollectHistoriesCfg
from regimen.stages.recording.history_policies import make_history_policy


def works(num_envs: int, steps: int, folder: Path) -> tuple[dict[str, Callable[[], int]], Path]:
    """Return both kinds of work, and where the dataset is."""
    config = compose_config(["task=go2_flat", f"env.num_envs={num_envs}"])
    config.policy = str(resolve_policy("pretrained:go2_flat"))
    cfg = CollectHistoriesCfg(steps=steps, checkpoint_interval=steps)
    run = Run(create_run_dir(folder, {"stage": asdict(cfg)}, ["launch.py"], []))
    torch.set_num_threads(1)  # as the stage does; the physics has all cores
    env = open_env(config)
    actor = make_history_policy(cfg, config, env)
    trial = without_grad(lambda: recorders.calibrate(run, env, actor.expert, cfg.noise.box, config.seed))
    recorders.calibrate = lambda *args: trial

    def collect() -> int:
        recorders.HistoryRecorder(cfg, run, config, env, actor).collect(None)
        return steps * num_envs

    without_grad(collect)
    path = run.dir / "data" / "histories"
    actions = torch.from_numpy(np.stack([history.action for history in open_histories(path)], axis=1))

    def alone() -> int:
        obs = env.reset(seed=config.seed)
        for action in actions:
            actor.expert.act(obs, None)
            obs, *_ = env.step(action)
        return steps * num_envs

    return {"env": lambda: without_grad(alone), "collect": lambda: without_grad(collect)}, path


def without_grad(work: Callable[[], Any]) -> Any:
    """Return what `work` returns, done as the stage does it."""
    with torch.inference_mode():
        return work()


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=6)
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
        report(Path(__file__).stem, rates, ratios, "rows/s")
        size = sum(file.stat().st_size for file in path.glob("*.h5"))
        print(f"  bytes a row and history: {size / (args.steps * args.num_envs):.0f}")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
