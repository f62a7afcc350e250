"""What the benchmarks share: alternating measurements, ratios with intervals, a table, a JSON file."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def rate(work: Callable[[], int], clock: Callable[[], float] = time.perf_counter) -> float:
    """Run `work` once and return the units it did per second of `clock`."""
    started = clock()
    units = work()
    return units / (clock() - started)


def alternate(
    works: dict[str, Callable[[], int]],
    repeats: int,
    warmup: int = 1,
    before: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Measure A B A B …, so that a busy moment of the machine hits all alike.

    Args:
        works: each returns the units it did.
        repeats: measurements of each.
        warmup: rounds that do not count.
        before: called before each measurement, outside its clock.
        clock: seconds; `time.process_time` where others share the cores and the work has one thread.

    Returns:
        Units per second by name.
    """
    rates: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(warmup + repeats):
        for name, work in works.items():
            before()
            value = rate(work, clock)
            if repeat >= warmup:
                rates[name].append(value)
    return rates


def ratio(ours: list[float], theirs: list[float], resamples: int = 2000) -> tuple[float, float, float]:
    """Return the ratio of medians with its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    a, b = np.array(ours), np.array(theirs)
    draws = [np.median(rng.choice(a, len(a))) / np.median(rng.choice(b, len(b))) for _ in range(resamples)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(np.median(a) / np.median(b)), float(low), float(high)


def ratio_of_rounds(ours: list[float], theirs: list[float], resamples: int = 2000) -> tuple[float, float, float]:
    """Return the ratio of units a second over all rounds with its 95 % bootstrap interval over rounds.

    Args:
        ours: units a second of each round.
        theirs: of the same rounds, each with as many units of the same work.
        resamples: of the bootstrap.
    """
    rng = np.random.default_rng(0)
    seconds = 1 / np.array([ours, theirs])
    drawn = seconds[:, rng.integers(len(ours), size=(resamples, len(ours)))].sum(axis=2)
    low, high = np.percentile(drawn[1] / drawn[0], [2.5, 97.5])
    own, other = seconds.sum(axis=1)
    return float(other / own), float(low), float(high)


def machine() -> dict[str, Any]:
    """Return what a figure depends on: cores, load, processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return {"cores": len(os.sched_getaffinity(0)), "load": round(os.getloadavg()[0], 2), "processor": cpu}


def report(name: str, rows: dict[str, list[float]], ratios: dict[str, tuple[float, float, float]], unit: str) -> None:
    """Print the table and write `results/<name>.json`."""
    facts = machine()
    print(f"{name}: {facts['cores']} cores, load {facts['load']}, {facts['processor']}")
    for label, values in rows.items():
        spread = f"{min(values):,.0f} … {max(values):,.0f}"
        print(f"  {label:34}{np.median(values):12,.0f} {unit}   ({spread})")
    for label, (middle, low, high) in ratios.items():
        print(f"  {label:34}{middle:12.3f}   (95 %: {low:.3f} … {high:.3f})")
    RESULTS.mkdir(exist_ok=True)
    medians = {label: {"median": float(np.median(v)), "all": [round(x, 1) for x in v]} for label, v in rows.items()}
    data = {"machine": facts, "unit": unit, "rows": medians, "ratios": ratios}
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
