"""Lists over 10,000 recorded runs: `python benchmarks/history.py`."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from measure import ratio, report

TASKS = ("reach", "go2_flat", "h1_flat", "h1_healthy", "h1_failure")
STATUSES = ("finished",) * 7 + ("failed", "killed", "diverged")
VERSIONS = (
    "python",
    "regimen",
    "hydra-core",
    "omegaconf",
    "numpy",
    "torch",
    "skrl",
    "gymnasium",
    "tensorboard",
    "h5py",
)
RUNS = ("-m", "regimen.cli.main", "runs")
READ_ALL = """
import json, pathlib
files = [p for root in ("outputs", "multirun") for d in ("*", "*/*") for p in pathlib.Path(root).glob(d + "/run.json")]
print(sum(json.loads(p.read_bytes())["wall_s"] for p in files))
"""
WORDS = ("-m", "regimen.cli.main", "completion", "words", "regimen show 2026")
FILTER = ("task=h1_failure", "status=failed")


def make(folder: Path, count: int) -> None:
    """Make run directories such as trainings leave behind: a fifth of them jobs of sweeps.

    Args:
        folder: gets `outputs` and `multirun`.
        count: runs.
    """
    draw = random.Random(0)
    start = datetime.now().astimezone() - timedelta(days=365)
    for number in range(count):
        began = start + timedelta(seconds=number * 3000)
        task, status = draw.choice(TASKS), draw.choice(STATUSES)
        stamp = began.strftime("%Y%m%d-%H%M%S")
        run = folder / "outputs" / f"{stamp}-{task}-skrl_ppo-{draw.randrange(65536):04x}"
        if number % 5 == 0:
            sweep = folder / "multirun" / f"{number // 100:05d}-ab12"
            run = sweep / f"{sweep.name}.{number % 100:03d}"
        write_run(run, task, status, began, draw)


def write_run(run: Path, task: str, status: str, began: datetime, draw: random.Random) -> None:
    """Write the files of one run, of their usual sizes."""
    (run / "logs").mkdir(parents=True)
    (run / "checkpoints").mkdir()
    wall_s = draw.uniform(30, 9000)
    seed = draw.randrange(10)
    overrides = [
        f"task={task}",
        "agent=skrl_ppo",
        f"seed={seed}",
        f"env.num_envs={2 ** draw.randrange(5, 9)}",
    ]
    choices = {"task": task, "sim": "mujoco", "agent": "skrl_ppo", "hardware": "cpu", "stage": "train"}
    host = {"name": "node7", "system": "Linux-6.1", "cores": 32, "memory_gib": 125.0, "gpus": [], "python": "python3"}
    kept = {"kind": "checkpoint", "bytes": 9_000_000, "sha256": "5f" * 32}
    info = {
        "format": 1, "id": run.name, "name": draw.choice([None, f"walk{draw.randrange(500)}"]), "stage": "train",
        "status": status, "exit_code": 0, "reason": None, "argv": ["launch.py", *overrides], "overrides": overrides,
        "choices": choices, "parents": [], "inputs": {}, "seed": seed, "queue": None, "pending": {}, "sweep": None,
        "pipeline": None, "tags": draw.choice([[], [], ["paper"]]), "notes": [], "warnings": [],
        "git": {"commit": "1dc397f6aaeedc0881b7b4e3fe224641c92f7766", "branch": "main", "dirty": False},
        "versions": {name: "1.2.3" for name in VERSIONS}, "signature": {"config": "ab" * 8, "code": "cd" * 8},
        "host": host, "started": began.isoformat(timespec="seconds"),
        "ended": (began + timedelta(seconds=wall_s)).isoformat(timespec="seconds"),
        "wall_s": wall_s, "cpu_s": wall_s * 2, "peak_memory_gib": draw.uniform(0.5, 4),
        "headline": {"return": draw.uniform(0, 150), "episode_length": draw.uniform(0, 1000), "samples": 3_072_000.0},
        "artifacts": [{"path": f"checkpoints/{name}.pt", **kept} for name in ("best", "last")], "error": None,
        "signal": None, "supervisor": {"host": "node7", "pid": 1, "start": 1}, "resumed": [],
    }  # fmt: skip
    (run / "run.json").write_text(json.dumps(info, indent=2) + "\n")
    (run / "config.yaml").write_text("".join(f"key_{i}: {{value: {i}}}\n" for i in range(200)))
    (run / "metrics.jsonl").write_text('{"step": 1, "time_s": 0.1, "Loss / policy": 0.1}\n' * 50)
    (run / "logs" / "worker.log").write_text("iteration\n" * 100)
    (run / "checkpoints" / "last.pt").write_bytes(b"")


def call(folder: Path, *arguments: str) -> int:
    """Run a whole process of Python and return the bytes it printed."""
    done = subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)
    return len(done.stdout)


def cpu_of_children() -> float:
    """Return the CPU seconds of all processes waited for: on a busy machine the steadier figure."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_all(folder: Path) -> int:
    """Do without an index: read every run.json, in a process of its own."""
    return call(folder, "-c", READ_ALL)


def forget(folder: Path) -> None:
    """Remove the index."""
    for root in ("outputs", "multirun"):
        (folder / root / ".index.sqlite").unlink(missing_ok=True)


def change(folder: Path, count: int) -> None:
    """Write 100 run.json anew."""
    for path in random.Random(count).sample(sorted(folder.glob("outputs/*/run.json")), min(count, 100)):
        path.write_text(path.read_text().replace('"cpu_s"', '"cpu_s" '))
        os.utime(path, (time.time() - 10,) * 2)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    cpu: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, args.runs)
        time.sleep(2.5)  # what was written just now is not remembered
        works: dict[str, tuple[Callable[[], None], Callable[[], int]]] = {
            "rebuild the index and list": (lambda: forget(folder), lambda: call(folder, *RUNS, *FILTER)),
            "list with filter": (lambda: None, lambda: call(folder, *RUNS, *FILTER)),
            "list all --json": (lambda: None, lambda: call(folder, *RUNS, "--json")),
            "list with filter, 100 changed": (lambda: change(folder, args.runs), lambda: call(folder, *RUNS, *FILTER)),
            "completion of a run id": (lambda: None, lambda: call(folder, *WORDS)),
            "without an index: read all": (lambda: None, lambda: read_all(folder)),
        }
        rows: dict[str, list[float]] = {label: [] for label in works}
        for _ in range(args.repeats):
            for label, (prepare, work) in works.items():
                prepare()
                started, cpu_s = time.perf_counter(), cpu_of_children()
                work()
                rows[label].append((time.perf_counter() - started) * 1000)
                cpu += [(cpu_of_children() - cpu_s) * 1000] if label == "list with filter" else []
    plain = rows["without an index: read all"]
    rows["list with filter, CPU time"] = cpu
    report("history", rows, {"list with filter / read all": ratio(rows["list with filter"], plain)}, "ms")


if __name__ == "__main__":
    main()
