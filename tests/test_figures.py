"""Pictures are written, whole and of a sensible size, from ordinary and from damaged metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from regimen import figures
from regimen.statistics import Figure


def write_metrics(path: Path) -> None:
    rows = [
        {"step": 24 * k, "time_s": k, "Train/return": -1 / (k + 1), "Episode_Reward/a": k, "Episode_Reward/b": None}
        for k in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3')


def test_learning_curve_draws_what_was_logged(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.jsonl")
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "figures" / "curve.png")
    with Image.open(tmp_path / "figures" / "curve.png") as image:
        picture = np.asarray(image.convert("RGB"))
    assert picture.shape[0] > 200 and picture.shape[1] > 600
    assert (np.abs(picture.astype(int) - [0x3B, 0x6F, 0xB6]).sum(-1) < 12).any()


def test_panels_put_learning_first_and_rewards_together() -> None:
    rows = [{"step": 1, "Loss/x": 1.0, "Episode_Reward/a": 1, "Episode_Reward/b": 2, "Train/return": 0.5}]
    panels = figures._panels(rows)
    assert list(panels) == ["Train/return", "Episode_Reward", "Loss/x"]
    assert panels["Episode_Reward"] == ["Episode_Reward/a", "Episode_Reward/b"]


def test_no_metrics_give_an_empty_sheet(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_evaluation_draws_intervals_and_survival(tmp_path: Path) -> None:
    speeds = [Figure(0.0, -0.1, 0.1), Figure(0.9, 0.8, 1.0)]
    times = np.linspace(0, 10, 50)
    curves = [np.ones(50), np.linspace(1, 0.5, 50)]
    out = tmp_path / "evaluation.png"
    figures.evaluation(out, ["0", "1"], {"forward_speed": speeds}, times, curves, wanted=[0.0, 1.0])
    with Image.open(out) as image:
        assert image.size[0] > 400
