"""`regimen compare` of two runs with a million rows of metrics each: `python benchmarks/compare.py`."""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT

sys.path.append(str(ROOT / "tests"))

from helpers.run_directories import add


def main() -> None:
    """Write the runs, compare them, print time and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of each run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        for seed, run in enumerate("ab"):
            folder = add(Path("outputs"), run, name=run, seed=seed)
            with (folder / "metrics.jsonl").open("w") as file:
                for step in range(args.rows):
                    file.write(f'{{"step": {step}, "time_s": {step / 10}, "Train/return": {step * 0.001 % 7:.4f}}}\n')
        began = time.perf_counter()
        command = [sys.executable, "-m", "regimen.cli.main", "compare", "a", "b"]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        spent, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"compare of 2 x {args.rows:,} rows: {spent:.1f} s, {used.ru_maxrss / 2**10:.0f} MiB")


if __name__ == "__main__":
    main()
