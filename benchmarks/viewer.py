"""Pictures a second of the page of `stage.viewer=browser` in headless Chromium on loopback, at real-time speed.

    python benchmarks/viewer.py

A picture counts where the page has received a new state and drawn it: the smaller of the states that arrive and the
frames that the browser draws, each over `--seconds`. Without a GPU the browser computes the pictures itself, on the
cores that also simulate and act; `bytes` are those of the page's connection, which is what goes over SSH.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import threading
import time
from typing import Any

import torch
from measure import RESULTS, machine

from regimen.agents.policy_file import load_bundle, load_policy
from regimen.config.compose import compose_config
from regimen.envs import open_env
from regimen.runs.references import resolve_policy
from regimen.stages.playback.browser_page import BrowserPage
from regimen.stages.playback.browser_viewer import play
from regimen.stages.playback.options import PORT

FLAGS = "--headless --no-sandbox --no-first-run --disable-background-networking --use-angle=swiftshader"
COUNT = """
seconds => new Promise(done => {
  let frames = 0; const begin = performance.now();
  const tick = () => { frames += 1; performance.now() - begin < 1000 * seconds ? requestAnimationFrame(tick)
    : done(1000 * frames / (performance.now() - begin)); };
  requestAnimationFrame(tick);
})
"""


def measure(task: str, policy: str, envs: int, seconds: float, size: tuple[int, int]) -> dict[str, Any]:
    """Return rates of one task with `envs` robots."""
    from playwright.sync_api import sync_playwright

    config = compose_config([f"task={task}", f"env.num_envs={envs}"])
    env = open_env(config)
    page = BrowserPage(env, task, PORT)
    page.add_interventions()
    acting = load_policy(load_bundle(str(resolve_policy(policy))), env, 0)
    player = threading.Thread(target=play, args=(env, page, acting, lambda: False))
    player.start()
    received = {"messages": 0, "bytes": 0}

    def count(payload: Any) -> None:
        received["messages"] += 1
        received["bytes"] += len(payload)

    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS.split())
            shown = browser.new_page(viewport={"width": size[0], "height": size[1]})
            shown.on("websocket", lambda socket: socket.on("framereceived", count))
            shown.goto(page.address)
            shown.wait_for_function("document.body.innerText.includes('Reward per second')")
            time.sleep(2.0)
            before, drawn, started = dict(received), page.pictures, time.perf_counter()
            frames = shown.evaluate(COUNT, seconds)
            took = time.perf_counter() - started
            states = (page.pictures - drawn) / took
            traffic = (received["bytes"] - before["bytes"]) / took
            browser.close()
    finally:
        page.controls.ended = True
        player.join()
        page.close()
        env.close()
    row = {"task": task, "robots": envs, "states/s": states, "frames/s": frames, "pictures/s": min(states, frames)}
    return row | {"kB/s": traffic / 1e3}


def main() -> None:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 720), help="of the window, in pixels")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"load {os.getloadavg()[0]:.1f}, window {args.size[0]}x{args.size[1]}")
    rows = []
    for envs in (1, 64):
        rows.append(measure("h1_flat", "pretrained:h1_flat", envs, args.seconds, tuple(args.size)))
        print(
            "  ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}" for k, v in rows[-1].items()), flush=True
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "viewer.json").write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
