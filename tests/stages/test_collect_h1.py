"""Collecting on the real simulator: a walker passes its gate, and a killed collection equals one that was not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from end_to_end.test_resume import worker_of
from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for
from regimen.data.episodes.reader import EpisodeFile

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    sys.executable, str(ROOT / "launch.py"), "stage=collect", "task=h1_failure", "policy=pretrained:h1_flat",
    "stage.steps=600", "stage.checkpoint_interval=128", "env.num_envs=8", "stage.gate_envs=2", "hardware.threads=1",
]  # fmt: skip


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return popen(words or COMMAND, cwd=folder)


def killed(folder: Path) -> Path:
    """Start a collection, kill its worker after the second checkpoint, and return the run."""
    launched = start(folder)
    run = nth_checkpoint(folder, 2).parents[1]
    os.kill(worker_of(run), signal.SIGKILL)
    launched.communicate()
    assert launched.returncode == 137
    return run


def nth_checkpoint(folder: Path, n: int) -> Path:
    """Wait until a run in `folder` has written its `n`-th checkpoint; each is a new file put in place of the last.

    The checkpoint's own file is watched: progress is written less often than a fast machine makes checkpoints.
    """
    seen: set[int] = set()

    def reached() -> Path | None:
        last: Path | None = next(folder.glob("outputs/*/checkpoints/last.pt"), None)
        if last:
            seen.add(last.stat().st_mtime_ns)
        return last if len(seen) == n else None

    found: Path = wait_for(reached)
    return found


@pytest.mark.slow
def test_a_killed_collection_that_goes_on_equals_one_that_was_not(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    launched = start(tmp_path / "whole")
    out, _ = launched.communicate()
    assert launched.returncode == 0, out
    [whole] = (tmp_path / "whole" / "outputs").glob("*")
    cut = killed(tmp_path / "cut")
    with EpisodeFile(cut / "data" / "episodes.h5") as file:
        assert 256 <= file.steps < 600, "what was written before is readable"
    again = start(tmp_path / "cut", *COMMAND[:2], f"resume={cut.name}")
    out, _ = again.communicate()
    assert again.returncode == 0, out
    with EpisodeFile(whole / "data/episodes.h5") as a, EpisodeFile(cut / "data/episodes.h5") as b:
        assert a.steps == b.steps == 600 and a.attributes.gate == b.attributes.gate and not a.attributes.gate.short
        assert len(a.attributes.classes) == 8 and a.columns["obs/discriminator"] == (90,)
        x, y = a.read(list(a.columns)), b.read(list(b.columns))
    for name in x:
        np.testing.assert_array_equal(x[name], y[name], name)
