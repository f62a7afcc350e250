"""Pictures are written, whole and of a sensible size, from ordinary and from damaged metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
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
    train, rewards, loss = figures._panels(rows)
    assert [train.title, loss.title] == ["return", "x"]
    assert rewards.title.startswith("rewards")
    assert rewards.names == ["Episode_Reward/a", "Episode_Reward/b"]
    assert [panel.shared for panel in (train, rewards, loss)] == [False, True, False]


def test_rewards_and_penalties_have_panels_of_their_own() -> None:
    rows = [{"step": 1, "Episode_Reward/walk": 2.0, "Episode_Reward/torque": -0.01, "Episode_Reward/idle": 0.0}]
    rewards, penalties = figures._panels(rows)
    assert rewards.names == ["Episode_Reward/walk"] and rewards.shared, "a lone reward still needs its name"
    assert penalties.names == ["Episode_Reward/idle", "Episode_Reward/torque"]


def test_a_panel_keeps_the_largest_lines_and_counts_the_others() -> None:
    rows = [{"step": 1} | {f"Episode_Reward/r{k:02d}": float(k + 1) for k in range(11)}]
    [panel] = figures._panels(rows)
    assert panel.names == [f"Episode_Reward/r{k:02d}" for k in range(3, 11)]
    assert panel.left_out == 3


def test_what_is_not_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    monkeypatch.setattr(figures, "save", lambda figure, out: texts.extend(t.get_text() for t in figure.findobj(Text)))
    row = {f"Episode_Reward/r{k:02d}": k + 1.0 for k in range(11)} | {f"Loss/x{k:02d}": 1.0 for k in range(16)}
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": k} | row) + "\n" for k in range(3)))
    figures.learning_curve(path, tmp_path / "curve.png")
    assert "and 3 smaller, not drawn" in texts
    assert any("not drawn, see metrics.jsonl: x14, x15" in text for text in texts)


def test_a_long_curve_is_drawn_under_its_running_mean(tmp_path: Path) -> None:
    from matplotlib.figure import Figure as Sheet

    ax = Sheet().subplots()
    points = np.column_stack((np.arange(200.0), np.arange(200.0) % 2))
    figures._curve(ax, points, "k", "x", window=10)
    raw, mean = ax.lines
    assert raw.get_alpha() == 0.3 and np.array_equal(raw.get_ydata(), points[:, 1])
    np.testing.assert_allclose(mean.get_ydata()[10:-10], 0.5)


def test_no_metrics_give_an_empty_sheet(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("")
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_evaluation_draws_intervals_and_survival(tmp_path: Path) -> None:
    speeds = [Figure(0.0, -0.1, 0.1), Figure(0.9, 0.8, 1.0)]
    times = np.linspace(0, 10, 50)
    curves = [np.ones(50), np.linspace(1, 0.5, 50)]
    out = tmp_path / "evaluation.png"
    figures.evaluation(out, ["0", "1"], {"forward_speed": speeds}, times, curves, wanted={"forward_speed": [0.0, 1.0]})
    with Image.open(out) as image:
        assert image.size[0] > 400
