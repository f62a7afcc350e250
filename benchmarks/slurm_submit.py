"""A sweep of 200 trainings given to a real Slurm, until the prompt returns: `python benchmarks/slurm_submit.py` (root).

The nodes are drained, so that what is measured is the submission and not the work. Beside it, what a bare sbatch of
an array of 200 takes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import ROOT, report

sys.path.insert(0, str(ROOT / "tests"))
from orchestration.slurm.sandbox import NODES, Sandbox, why_not  # the project's own throw-away Slurm

SWEEP = ("-m", "task=reach", "hardware=slurm", "hardware.submitit.mem_gb=1", "hardware.submitit.cpus_per_task=1")


def submit(slurm: Sandbox, folder: Path, jobs: int) -> float:
    """Submit a sweep detached; return milliseconds, after checking that all jobs are there."""
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "launch.py"), *SWEEP, f"seed=range({jobs})"]
    done = subprocess.run(command, cwd=folder, env=slurm.env, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stdout + done.stderr
    present = len(slurm.ask("squeue", "--noheader", "--array", "--states=PENDING").splitlines())
    recorded = len(list(folder.glob("multirun/*/*/run.json")))
    assert present == recorded == jobs, f"{present} jobs and {recorded} runs of {jobs}"
    return 1000 * seconds


def bare(slurm: Sandbox, folder: Path, jobs: int) -> float:
    """Submit an array of as many jobs by sbatch alone; return milliseconds."""
    started = time.perf_counter()
    command = ["sbatch", f"--array=0-{jobs - 1}", "--mem=1G", "--output=/dev/null", "--wrap=true"]
    subprocess.run(command, cwd=folder, env=slurm.env, check=True, capture_output=True)
    return 1000 * (time.perf_counter() - started)


def main() -> int:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if reason := why_not():
        print(f"slurm_submit: not measured: {reason}")
        return 0
    rows: dict[str, list[float]] = {f"{args.jobs} trainings, detached": [], f"sbatch of {args.jobs}, bare": []}
    with tempfile.TemporaryDirectory() as place:
        slurm = Sandbox(Path(place) / "slurm")
        try:
            slurm.up()
            for node in NODES:
                slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=benchmark")
            for repeat in range(args.repeats):
                for label, work in zip(rows, (submit, bare), strict=True):
                    folder = Path(place) / f"{work.__name__}{repeat}"
                    folder.mkdir()
                    rows[label].append(work(slurm, folder, args.jobs))
                    slurm.ask("scancel", "--user=root")
        finally:
            slurm.down()
    report("slurm_submit", rows, {}, "ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
