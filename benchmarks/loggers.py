"""What loggers cost a training, in its own process and beside it: `python benchmarks/loggers.py`."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import RESULTS, machine

from regimen.runs.create import create_run_dir
from regimen.runs.loggers.forwarder import open_loggers
from regimen.runs.run import Run

TARGETS = {
    "csv": {"_target_": "regimen.runs.loggers.csv_table.CsvTable"},
    "wandb": {"_target_": "regimen.runs.loggers.wandb_run.WandbRun", "mode": "offline"},
    "mlflow": {"_target_": "regimen.runs.loggers.mlflow_run.MlflowRun"},
}
METRICS = {f"Metrics/{k}": 0.1 * k for k in range(20)}


def cost(chosen: list[str], rows: int, pause_s: float) -> dict[str, float]:
    """Log `rows` rows of 20 metrics, `pause_s` apart; return what it took.

    Args:
        chosen: names of loggers.
        rows: how many.
        pause_s: what an iteration of a training would take.
    """
    with tempfile.TemporaryDirectory() as folder:
        loggers = {name: dict(TARGETS[name]) for name in chosen}
        if "mlflow" in loggers:
            loggers["mlflow"]["uri"] = f"sqlite:///{folder}/mlflow.db"
        config: dict[str, Any] = {"choices": {"task": "reach"}, "logger": loggers}
        run = Run(create_run_dir(Path(folder), config, [], [], repository=Path(folder)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run.loggers = open_loggers(loggers, run)
        took = []
        for step in range(1, rows + 1):
            time.sleep(pause_s)
            started = time.perf_counter()
            run.log(step, METRICS)
            took.append(time.perf_counter() - started)
        run.finish({"return": 1.0}, {})
        started = time.perf_counter()
        run.close_loggers("finished")
        closing_s = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if run.record.warnings:
            raise SystemExit(str(run.record.warnings))
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {"log_ms": float(np.median(took)) * 1e3, "closing_s": closing_s, "cpu_s": cpu_s}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--pause", type=float, default=0.05, help="seconds between two rows")
    args = parser.parse_args()
    cases = {"none": [], **{name: [name] for name in TARGETS}, "all three": list(TARGETS)}
    facts = machine()
    rows = {title: cost(chosen, args.rows, args.pause) for title, chosen in cases.items()}
    print(f"loggers: {args.rows} rows of {len(METRICS)} metrics, {facts['cores']} cores, load {facts['load']}")
    print(f"  {'logger':12}{'run.log':>12}{'close':>10}{'CPU beside the worker':>25}")
    for title, row in rows.items():
        print(f"  {title:12}{row['log_ms']:9.3f} ms{row['closing_s']:8.2f} s{row['cpu_s']:23.2f} s")
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "loggers.json").write_text(
        json.dumps({"machine": facts, "rows": args.rows, "cost": rows}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
