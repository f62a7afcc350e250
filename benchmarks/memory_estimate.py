"""The memory estimate before the start against the peak of the worker: `python benchmarks/memory_estimate.py`.

Each row is one short training through `launch.py`, which records the peak of the worker and its descendants: where the
row names no agent, one iteration of 4 steps by `agent=rsl_rl_ppo`, else two rollouts, or until FastSAC's ring is full.
Rows whose library is not installed are left out. A first run that compiles kernels takes more memory than those after
it, so kernels have to be there. `--only` takes rows by a part of their overrides, such as `task=mjlab`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import RESULTS, ROOT, machine

from regimen.config.compose import compose
from regimen.orchestration.preflight import preflight
from regimen.system.errors import RegimenError

ISAAC = "task=isaaclab env.id="
AGENTS = (
    "agent=skrl_ppo agent.trainer.timesteps=48",
    "agent=rsl_rl_ppo agent.max_iterations=2",
    "agent=fast_sac agent.buffer_size=64 agent.num_learning_iterations=75",
)
ROWS = {
    **{f"task={task} {agent}": (256, 1024, 4096) for task in ("go2_flat", "h1_flat") for agent in AGENTS},
    f"{ISAAC}Isaac-Velocity-Flat-H1": (4, 64, 256, 1024),
    f"{ISAAC}Isaac-Velocity-Rough-H1": (64, 512),
    f"{ISAAC}Isaac-Velocity-Rough-UnitreeGo2": (64,),
    f"{ISAAC}Isaac-Cartpole": (64,),
    f"{ISAAC}Isaac-Ant-Direct": (64,),
    "sim=isaaclab task=go2_flat": (16, 256),
    "sim=isaaclab task=h1_flat": (256, 1024),
    "task=mjlab env.id=Mjlab-Velocity-Flat-Unitree-Go1": (4, 64, 512),
    "task=mjlab env.id=Mjlab-Lift-Cube-Yam": (64,),
}
"""Overrides -> numbers of environments."""

TRAINING = ("agent=rsl_rl_ppo", "agent.max_iterations=1", "agent.num_steps_per_env=4")
GIB = 2**30


def estimated(overrides: list[str]) -> float:
    """Return the estimate in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        return preflight(compose(overrides, [ROOT / "conf"]), Path(folder)).estimate.main_bytes / GIB


def measured(overrides: list[str]) -> float:
    """Return the peak in GiB that a run records."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, str(ROOT / "launch.py"), *overrides], cwd=folder, check=True, capture_output=True
        )
        record = json.loads(next(Path(folder).glob("outputs/*/run.json")).read_text())
        return float(record["peak_memory_gib"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of the overrides of a row")
    args = parser.parse_args()
    rows = []
    for task, numbers in ROWS.items():
        for number in numbers if args.only in task else ():
            training = () if "agent=" in task else TRAINING
            overrides = [*task.split(), f"env.num_envs={number}", "hardware.threads=1", *training]
            try:
                estimate = estimated(overrides)
            except RegimenError as error:
                print(f"  {task}: not measured: {error}")
                break
            peak = measured(overrides)
            rows.append({"task": task, "envs": number, "estimate": estimate, "peak": peak, "ratio": estimate / peak})
            print(f"  {task:52}{number:6}{estimate:8.2f}{peak:8.2f} GiB{estimate / peak:8.2f}", flush=True)
    RESULTS.mkdir(exist_ok=True)
    data = {"machine": machine(), "rows": rows}
    (RESULTS / "memory_estimate.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
