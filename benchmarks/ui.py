"""The page of all runs over 10,000 recorded runs, in a real browser: `python benchmarks/ui.py`.

It needs NiceGUI, Playwright and a Chromium on the PATH (`make extras`, `apt-get install chromium`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from history import RUNS, make
from playwright.sync_api import sync_playwright

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
REACH = {
    "start to page served (s)": 1.5,
    "first paint (s)": 1.0,
    "rows of the table (s)": 1.0,
    "filter typed to shown (s)": 0.3,
    "1 M points: curve shown (s)": 1.5,
    "zoom (s)": 0.1,
    "memory of the server (MiB)": 300.0,
}
"""Figure -> what it shall not exceed."""

ROWS_MATCH = """async (task) => {
  const field = document.querySelector("#filter"), begin = performance.now();
  field.value = "task=" + task;
  field.dispatchEvent(new Event("input"));
  for (;;) {
    await new Promise(requestAnimationFrame);
    const cells = [...document.querySelectorAll(".ag-center-cols-container [col-id=task]")];
    if (cells.length > 5 && cells.every((cell) => cell.innerText === task)) return (performance.now() - begin) / 1000;
  }
}"""
CHART = """() => {
  const at = document.querySelector(".charts .nicegui-echart");
  const chart = at && getElement(Number(at.id.slice(1)))?.chart;
  return chart && chart.getOption().series?.[0]?.data.length > 100 ? chart : null;
}"""
ZOOM = f"""async ([start, end]) => {{
  const chart = ({CHART})(), begin = performance.now(), data = () => chart.getOption().series[0].data;
  const before = data()[Math.floor(data().length / 2)][0];
  chart.dispatchAction({{ type: "dataZoom", dataZoomIndex: 1, start, end }});
  while (data()[Math.floor(data().length / 2)][0] === before) await new Promise(requestAnimationFrame);
  return (performance.now() - begin) / 1000;
}}"""
TASKS = ("h1_failure", "go2_flat", "reach", "h1_flat", "h1_healthy")


def large_run(folder: Path, points: int) -> str:
    """Make a run with that many logged points; return its id."""
    run = folder / "outputs" / "20260101-000000-h1_flat-skrl_ppo-1ace"
    run.mkdir(parents=True)
    info = {"format": 1, "id": run.name, "stage": "train", "status": "finished", "started": "2026-01-01T00:00:00+00:00",
            "ended": "2026-01-01T09:00:00+00:00", "choices": {"task": "h1_flat", "agent": "skrl_ppo"}}  # fmt: skip
    (run / "run.json").write_text(json.dumps(info))
    (run / "config.yaml").write_text("env: {num_envs: 64}\n")
    draw, value = random.Random(0), 0.0
    with (run / "metrics.jsonl").open("w") as file:
        for number in range(points):
            value += draw.gauss(0.0, 1.0)
            row = {"step": number * 24, "time_s": round(number * 0.03, 3), "Train/return": value}
            file.write(json.dumps(row) + "\n")
    return run.name


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Serve the runs of a folder; yield the address with its token, the process, and the time until the page came."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "regimen.cli", "ui", "--port", "0", "--no-browser"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", (process.stdout and process.stdout.readline()) or "")
            assert found, "the server printed no address"
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
            page = opener.open(found[0]).read()
            took = time.perf_counter() - begin
            assert b"regimenRuns" in page
            yield found[0], psutil.Process(process.pid), took
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def start_times(folder: Path, repeats: int) -> list[float]:
    """Return the seconds from the start of the command to the whole page, for each start."""
    times = []
    for _ in range(repeats):
        with server(folder) as (_, _, took):
            times.append(took)
    return times


def paints(browser: Any, url: str, repeats: int, first_visit: bool) -> tuple[list[float], list[float]]:
    """Return seconds to the first paint and to the rows of the table.

    Args:
        browser: with a new context for each repeat.
        url: with the token.
        repeats: measurements.
        first_visit: whether everything is loaded and the token exchanged; else what was loaded before is in the cache.
    """
    first, tables = [], []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        page = context.new_page()
        page.goto(url)
        page.wait_for_function("() => performance.getEntriesByName('regimen-table').length")
        if not first_visit:
            page.reload()
            page.wait_for_function("() => performance.getEntriesByName('regimen-table').length")
        first.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000)
        tables.append(page.evaluate("performance.getEntriesByName('regimen-table')[0].startTime") / 1000)
        context.close()
    return first, tables


def filters(page: Any, repeats: int) -> list[float]:
    """Return seconds from a typed filter to its rows."""
    return [page.evaluate(ROWS_MATCH, TASKS[number % len(TASKS)]) for number in range(repeats)]


def curves(folder: Path, run: str, browser: Any, repeats: int) -> tuple[list[float], list[float], list[float]]:
    """Return seconds to the first curve, to the one of all points, and of each zoom; the metrics are read each time."""
    shown, whole, zooms = [], [], []
    for _ in range(repeats):
        with server(folder) as (url, _, _):
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.goto(url)
            page.wait_for_function("() => performance.getEntriesByName('regimen-table').length")
            begin = time.perf_counter()
            page.goto(f"{url.partition('/?')[0]}/run/{run}")
            page.wait_for_function(CHART)
            shown.append(time.perf_counter() - begin)
            page.wait_for_function("() => !document.body.innerText.includes('reading all')")
            whole.append(time.perf_counter() - begin)
            zooms += [page.evaluate(ZOOM, part) for part in ([40, 41], [40.2, 40.4], [10, 60], [70, 70.1])]
            page.context.close()
    return shown, whole, zooms


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("outputs/benchmark-ui.json"))
    args = parser.parse_args()
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        make(folder, args.runs)
        large = large_run(folder, args.points)
        time.sleep(2.5)  # what was written just now is not remembered
        subprocess.run([sys.executable, *RUNS], cwd=folder, check=True, capture_output=True)  # a warm index
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
        found["start to page served (s)"] = start_times(folder, args.repeats)
        with server(folder) as (url, process, _):
            found["first visit: first paint (s)"], found["first visit: rows of the table (s)"] = paints(
                browser, url, args.repeats, first_visit=True
            )
            found["first paint (s)"], found["rows of the table (s)"] = paints(
                browser, url, args.repeats, first_visit=False
            )
            page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
            page.goto(url)
            page.wait_for_function("() => performance.getEntriesByName('regimen-table').length")
            found["filter typed to shown (s)"] = filters(page, 4 * args.repeats)
            found["memory of the server (MiB)"] = [process.memory_info().rss / 2**20]
        shown = curves(folder, large, browser, args.repeats)
        found |= dict(
            zip(("1 M points: curve shown (s)", "1 M points: all of them read (s)", "zoom (s)"), shown, strict=True)
        )
        browser.close()
    report_figures(found, args.out)


def report_figures(found: dict[str, list[float]], out: Path) -> None:
    """Print the figures as a table and write them as JSON."""
    show: Callable[[float], str] = lambda value: f"{value:.3g}"  # noqa: E731
    print(f"{'':38}{'median':>8}{'least':>8}{'most':>8}{'reach':>8}")
    rows = {}
    for name, values in found.items():
        middle = statistics.median(values)
        rows[name] = {"median": middle, "least": min(values), "most": max(values), "reach": REACH.get(name)}
        reach = show(REACH[name]) if name in REACH else ""
        print(f"{name:38}{show(middle):>8}{show(min(values)):>8}{show(max(values)):>8}{reach:>8}")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"load": os.getloadavg(), "cores": os.cpu_count(), "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
