"""`make demo`: train a Go2 to walk, evaluate it with a video, and print results, files and next commands."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from regimen.display.console import print_in_any_encoding
from regimen.display.formatting import table
from regimen.envs.sims import render
from regimen.runs import references
from regimen.runs.run import Run
from regimen.system import files
from regimen.system.errors import PreflightError

ROOT = files.repository_root() or Path.cwd()
"""Where the demo runs: in the checkout, where there is one."""

LAUNCH = ("launch.py",) if files.repository_root() else ("-m", "regimen.cli.main", "launch")
"""What Python is started with for a launch."""


def main() -> int:
    """Run the two launches and print the table; return the exit code of the first that fails."""
    print_in_any_encoding()
    started = time.monotonic()
    name = f"demo-{datetime.now():%Y%m%d-%H%M%S}"
    launches = {
        "1/2 training a Go2 quadruped to walk": ["experiment=go2_demo", f"name={name}"],
        "2/2 evaluating it on fixed commands, and filming it": [
            *("task=go2_flat", "stage=evaluate", f"policy={name}", f"name={name}-evaluation"),
            *("stage.episode_length_s=10", *_video()),
        ],
    }
    for what, arguments in launches.items():
        command = [*LAUNCH, *arguments]
        print(f"demo {what}\n     python {' '.join(command)}", flush=True)
        code = _run([sys.executable, *command])
        if code != 0:
            print(f"demo: stopped: that launch ended with exit code {code}; see its last lines.")
            return code
    roots = [ROOT / root for root in references.ROOTS]
    trained, judged = references.resolve_run(name, roots), references.resolve_run(f"{name}-evaluation", roots)
    print("\n".join(report(trained, judged, time.monotonic() - started)))
    return 0


def _video() -> list[str]:
    """Return the argument for a video; without a renderer print a note before the training starts."""
    try:
        render.pick_backend()
    except PreflightError as error:
        print(f"demo: there will be no video. {error}", flush=True)
        return []
    return ["video=true"]


def _run(command: list[str]) -> int:
    """Run a launch; return its exit code.

    Ctrl-C reaches the launch itself, which then saves. SIG_IGN here would be inherited by it, so a handler is set.
    """
    before = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        return subprocess.Popen(command, cwd=ROOT).wait()
    finally:
        signal.signal(signal.SIGINT, before)


def report(trained: Path, judged: Path, wall_s: float) -> list[str]:
    """Return the lines of the closing table.

    Args:
        trained: run directory of the training.
        judged: run directory of the evaluation.
        wall_s: duration of the demo in s.
    """
    record = Run(trained).record
    result = files.read_json(judged / "result.json") or {}
    samples = (record.headline["samples"] or 0.0) / 1e6
    rows = [
        ("trained", f"Go2 on flat ground, {samples:.1f} M samples in {record.wall_s / 60:.1f} min"),
        *map(_command_row, result["commands"]),
    ]
    for what, path in _files(trained, judged).items():
        rows.append((what, str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)))
    commands = [
        ". .venv/bin/activate",
        f"python launch.py task=go2_flat stage=evaluate policy={trained.name} seed=1",
        "python launch.py experiment=h1_healthy",
        "tensorboard --logdir outputs",
        "regimen list tasks",
    ]
    following = [("next" if number == 0 else "", command) for number, command in enumerate(commands)]
    return [f"demo: done in {wall_s / 60:.1f} min", *table([*rows, *following], indent="  ")]


def _command_row(row: dict[str, Any]) -> tuple[str, str]:
    """Return label and result of one evaluated command in result.json."""
    forward, _, turn = row["command"]
    name, unit, verb = ("turning_rate", "rad/s", "turns") if turn and not forward else ("forward_speed", "m/s", "walks")
    got = row[name]
    done = f"{verb} {got['value']:.2f} {unit} [{got['low']:.2f}, {got['high']:.2f}]"
    return f"asked: {forward or turn:g} {unit}", f"{done}, falls in {row['falls']} of {row['episodes']} episodes"


def _files(trained: Path, judged: Path) -> dict[str, Path]:
    """Return label -> path of the existing result files."""
    files = {
        "video": judged / "video" / "eval.mp4",
        "evaluation": judged / "figures" / "evaluation.png",
        "learning curves": trained / "figures" / "learning_curve.png",
        "policy": trained / "checkpoints" / "best.pt",
        "training run": trained,
        "evaluation run": judged,
    }
    return {what: path for what, path in files.items() if path.exists()}


if __name__ == "__main__":
    sys.exit(main())
