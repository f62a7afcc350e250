"""Screenshots of `regimen ui` for docs/ui.md: `python tools/ui_screenshots.py FOLDER` writes docs/media/ui/.

FOLDER keeps the runs that are shown; they are made there if it is new, which takes some minutes. It needs NiceGUI,
Playwright and a Chromium on the PATH.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "media" / "ui"
LAUNCH = [sys.executable, str(ROOT / "launch.py")]
REGIMEN = [sys.executable, "-m", "regimen.cli"]
MOST_BYTES = 150_000
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
MADE = (
    [*LAUNCH, "task=reach", "name=teacher", "seed=3", "env.num_envs=16", "agent.trainer.timesteps=2400"],
    [*LAUNCH, "task=reach", "name=hasty", "env.num_envs=16", "agent.agent.learning_rate=1e20"],
    [*LAUNCH, "-m", "task=reach", "name=rates", "env.num_envs=16", "agent.trainer.timesteps=480", "seed=0,1,2",
     "agent.agent.learning_rate=0.001,0.003"],
    [*LAUNCH, "task=reach", "stage=evaluate", "policy=teacher@best", "name=judged", "video=true"],
    [*LAUNCH, "task=h1_failure", "stage=collect", "policy=pretrained:h1_flat", "name=recorded", "env.num_envs=8",
     "stage.steps=120", "stage.accept=a short sample"],
    [*REGIMEN, "card", "recorded"],
    [*LAUNCH, "pipeline=reach_study", "agent.trainer.timesteps=240"],
    [*REGIMEN, "note", "teacher", "the reference of the next weeks"],
    [*REGIMEN, "tag", "teacher", "keep", "paper"],
)  # fmt: skip
"""Commands that make the runs; one may fail on purpose."""

LIVE = [*LAUNCH, "task=reach", "name=live", "env.num_envs=16", "agent.trainer.timesteps=200000"]
"""Training that works while the screenshots are taken."""


def environment() -> dict[str, str]:
    """Return the environment of the processes: this checkout, one thread."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}


def make(folder: Path) -> None:
    """Make the runs unless the folder has some."""
    if (folder / "outputs").is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for command in MADE:
        print(" ".join(command[1:]))
        subprocess.run(command, cwd=folder, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)


@contextmanager
def process(folder: Path, command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a command meanwhile; Ctrl-C ends it."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, cwd=folder, env=environment(), **pipes) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGINT)


def addresses(folder: Path) -> dict[str, str]:
    """Return page -> address, for the runs in a folder."""
    runs = {}
    for path in sorted(folder.glob("outputs/*/run.json")):
        runs[json.loads(path.read_text())["name"]] = path.parent.name
    (sweep, *_) = (path.parent.name for path in folder.glob("multirun/*/sweep.json"))
    (pipeline, *_) = (path.parent.name for path in folder.glob("multirun/*/pipeline.json"))
    return {
        "runs": "/",
        "run": f"/run/{runs['teacher']}?smooth=0.6",
        "evaluation": f"/run/{runs['judged']}",
        "compare": f"/compare?filter=sweep%3D{sweep}",
        "lineage": f"/lineage?filter=pipeline%3D{pipeline}",
        "sweep": f"/sweep/{sweep}",
        "pipeline": f"/pipeline/{pipeline}",
        "dataset": f"/dataset/{runs['recorded']}",
    }


def shot(browser: Any, url: str, path: str, width: int, height: int, scheme: str) -> Image.Image:
    """Return a picture of a page."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.goto(url.partition("/?")[0] + path)
    page.wait_for_timeout(5000)
    picture = Image.open(BytesIO(page.screenshot()))
    context.close()
    return picture.convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a picture with as many colours as fit into `MOST_BYTES`."""
    for colors in (256, 192, 128, 96, 64, 32):
        few = picture.quantize(colors, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            break
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:.0f} kB")


def beside(pictures: list[Image.Image], height: int, gap: int = 16) -> Image.Image:
    """Return pictures beside each other, scaled to one height."""
    scaled = [p.resize((round(p.width * height / p.height), height), Image.Resampling.LANCZOS) for p in pictures]
    sheet = Image.new("RGB", (sum(p.width + gap for p in scaled) - gap, height), "#808080")
    place = 0
    for picture in scaled:
        sheet.paste(picture, (place, 0))
        place += picture.width + gap
    return sheet


def main() -> None:
    """Make the runs, serve them, take the pictures."""
    folder = Path(sys.argv[1]).resolve()
    make(folder)
    OUT.mkdir(parents=True, exist_ok=True)
    with process(folder, LIVE), process(folder, [*REGIMEN, "ui", "--port", "0", "--no-browser"]) as server:
        found = re.search(r"http://\S+", (server.stdout and server.stdout.readline()) or "")
        assert found, "the server printed no address"
        time.sleep(15)  # the training has reported its progress
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))
            for name, path in addresses(folder).items():
                save(shot(browser, found[0], path, 1300, 820, "light"), OUT / f"{name}.png")
                others = [
                    shot(browser, found[0], path, 1300, 820, "dark"),
                    *(shot(browser, found[0], path, 390, 820, scheme) for scheme in ("light", "dark")),
                ]
                save(beside(others, 620), OUT / f"{name}_dark_phone.png")
            browser.close()


if __name__ == "__main__":
    main()
