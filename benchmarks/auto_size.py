"""The number of envs that `env.num_envs=auto` chooses, against a sweep of sizes: `python benchmarks/auto_size.py`.

Sizes are measured in turn, each time in a process of its own, by the rate of a training of some iterations; figures are
medians. With one thread the clock is the time of the processor, so that other work on the machine counts little. The
run with the chosen size then records its peak memory, beside the estimate before its start.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import RESULTS, ROOT, machine

from regimen.config.compose import compose
from regimen.orchestration import auto_size

GIB = 2**30


def recorded(overrides: list[str], steps: list[str]) -> tuple[float, float]:
    """Return the estimate and the peak of main memory that a run records, in GiB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "launch.py"), *overrides, *steps]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        record = json.loads(next(Path(folder).glob("outputs/*/run.json")).read_text())
    return sum(record["estimated_memory"]["main"].values()) / GIB, float(record["peak_memory_gib"])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", default="go2_flat")
    parser.add_argument("--agent", default="skrl_ppo")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256, 512, 1024, 2048, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--short", nargs="*", default=["agent.trainer.timesteps=48"], help="overrides of the last run")
    args = parser.parse_args()
    overrides = [f"task={args.task}", f"agent={args.agent}", "hardware.threads=1"]
    sized = auto_size.choose([*overrides, auto_size.AUTO], [ROOT / "conf"], Path("outputs"))
    choice = sized.choice
    print(auto_size.described(choice), flush=True)
    rates: dict[int, list[float]] = {size: [] for size in sorted({*args.sizes, choice.num_envs})}
    composed = compose([*overrides, "env.num_envs=64"], [ROOT / "conf"])
    for _ in range(args.repeats):
        for size, measured in rates.items():
            trial = auto_size.measured(composed, size)
            measured.append(size / trial.step_s)
            print(f"  {size:6} envs {measured[-1]:9.0f} samples/s", flush=True)
    medians = {size: statistics.median(measured) for size, measured in rates.items()}
    best = max(medians, key=lambda size: medians[size])
    ratio = medians[choice.num_envs] / medians[best]
    estimate, peak = recorded([*overrides, f"env.num_envs={choice.num_envs}"], args.short)
    own = f"chosen {choice.num_envs}: {medians[choice.num_envs]:.0f} samples/s"
    print(f"{own}, the best is {best}: {medians[best]:.0f}")
    print(f"ratio {ratio:.3f}; memory: estimate {estimate:.3f} GiB, peak {peak:.3f} GiB, {estimate / peak:.3f}")
    data = {
        "machine": machine(), "task": args.task, "agent": args.agent, "choice": choice.to_dict(),
        "rates": {str(size): measured for size, measured in rates.items()}, "best": best, "ratio": ratio,
        "estimate_gib": estimate, "peak_gib": peak,
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "auto_size.json").write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
