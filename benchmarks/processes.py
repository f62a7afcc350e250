"""Samples a second of FastSAC in one process on one core and in two on two cores, of the same global batch.

    python benchmarks/processes.py                                    # K1, the original's batch and networks
    python benchmarks/processes.py --override experiment=k1_fast_sac  # any other training of fast_sac

Each measurement is a run of `launch.py`, taken in turn; what counts are the log's rows after the first two, in which
the ring fills and memory is first touched.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import ROOT, ratio, report

SIZES = ["experiment=k1_fast_sac_gpu", "env.num_envs=512", "agent.compile=false"]
HERE = ["hardware=multi", "hardware.threads=1", "agent.save_buffer=false"]
SHORT = ["agent.num_learning_iterations=12", "agent.logging_interval=2", "agent.learning_starts=2"]


def samples_per_s(processes: int, overrides: list[str]) -> float:
    """Return the median of a run's log."""
    sizes = overrides or SIZES
    command = [sys.executable, str(ROOT / "launch.py"), *sizes, *HERE, *SHORT, f"hardware.processes={processes}"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (log,) = Path(folder).glob("outputs/*/metrics.jsonl")
        rows = [json.loads(line)["Perf/samples_per_s"] for line in log.read_text().splitlines()]
    return float(np.median(rows[2:]))


def main() -> None:
    """Measure, print, write `results/processes.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--override", action="append", default=[], help="of another training, several times")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    rows: dict[str, list[float]] = {"one process": [], "two processes": []}
    for _ in range(args.repeats):
        for count, name in enumerate(rows, start=1):
            rows[name].append(samples_per_s(count, args.override))
            print(f"{name}: {rows[name][-1]:,.0f} samples/s", flush=True)
    report("processes", rows, {"two / one": ratio(rows["two processes"], rows["one process"])}, "samples/s")


if __name__ == "__main__":
    main()
