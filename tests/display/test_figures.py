"""Pictures are written, and show what they should, from ordinary and from damaged metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet
from matplotlib.text import Text
from PIL import Image

from helpers.messages import assert_names, missing_names
from regimen.display import figures
from regimen.display.intervals import Figure

Draw = Callable[[Sequence[dict[str, Any]]], list[Axes]]


def write_metrics(path: Path) -> None:
    rows = [
        {"step": 24 * k, "time_s": k, "Train/return": -1 / (k + 1), "Episode_Reward/a": k, "Episode_Reward/b": None}
        for k in range(10)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 3')


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Sheet]:
    """Return the list to which every figure is added that is saved."""
    made: list[Sheet] = []
    save = figures.save

    def keep(figure: Sheet, out: Path) -> None:
        made.append(figure)
        save(figure, out)

    monkeypatch.setattr(figures, "save", keep)
    return made


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Return what draws the learning curve of rows of metrics, and returns its panels; no file is written."""
    sheets: list[Sheet] = []
    monkeypatch.setattr(figures, "save", lambda figure, out: sheets.append(figure))

    def drawn(rows: Sequence[dict[str, Any]]) -> list[Axes]:
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        figures.learning_curve(path, tmp_path / "curve.png")
        return panels(sheets[-1])

    return drawn


def panels(sheet: Sheet) -> list[Axes]:
    return [ax for ax in sheet.axes if ax.get_visible()]


def legend(ax: Axes) -> list[str] | None:
    """Return the names in the legend of a panel, None if it has no legend."""
    found = ax.get_legend()
    return found and [text.get_text() for text in found.get_texts()]


def test_learning_curve_draws_what_was_logged(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.jsonl")
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "figures" / "curve.png")
    with Image.open(tmp_path / "figures" / "curve.png") as image:
        picture = np.asarray(image.convert("RGB"))
    assert (np.abs(picture.astype(int) - [0x3B, 0x6F, 0xB6]).sum(-1) < 12).any()


def test_the_points_of_a_curve_are_those_logged_before_a_line_cut_short(tmp_path: Path, sheets: list[Sheet]) -> None:
    write_metrics(tmp_path / "metrics.jsonl")
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    [line] = panels(sheets[0])[0].lines
    np.testing.assert_allclose(line.get_xydata(), [(24 * k, -1 / (k + 1)) for k in range(10)])


def test_panels_put_learning_first_and_rewards_together(draw: Draw) -> None:
    row = {"step": 1, "Loss/x": 1.0, "Episode_Reward/a": 1, "Episode_Reward/b": 2, "Train/return": 0.5}
    train, rewards, loss = draw([row, row | {"step": 2}])
    assert [train.get_title(), loss.get_title()] == ["return", "x"]
    assert_names(rewards.get_title(), "rewards")
    assert [legend(ax) for ax in (train, rewards, loss)] == [None, ["a", "b"], None]


def test_rewards_and_penalties_have_panels_of_their_own(draw: Draw) -> None:
    row = {"step": 1, "Episode_Reward/walk": 2.0, "Episode_Reward/torque": -0.01, "Episode_Reward/idle": 0.0}
    rewards, penalties = draw([row, row | {"step": 2}])
    assert legend(rewards) == ["walk"], "a lone reward still needs its name"
    assert legend(penalties) == ["idle", "torque"]


def test_a_panel_keeps_the_largest_lines_and_counts_the_others(draw: Draw) -> None:
    row = {f"Episode_Reward/r{k:02d}": float(k + 1) for k in range(11)}
    [panel] = draw([{"step": 1} | row, {"step": 2} | row])
    *kept, others = legend(panel) or []
    assert kept == [f"r{k:02d}" for k in range(3, 11)]
    assert_names(others, 3)


def test_panels_that_are_not_drawn_are_named(draw: Draw) -> None:
    row = {f"Loss/x{k:02d}": 1.0 for k in range(17)}
    drawn = draw([{"step": k} | row for k in range(3)])
    assert [ax.get_title() for ax in drawn] == [f"x{k:02d}" for k in range(15)]
    texts = [text.get_text() for text in drawn[0].figure.findobj(Text)]
    [note] = [text for text in texts if not missing_names(text, "metrics.jsonl")]
    assert_names(note, "x15", "x16")
    assert missing_names(note, "x14") == ["x14"]


def test_a_long_curve_is_drawn_under_its_running_mean(draw: Draw) -> None:
    values = np.arange(400) % 2
    [panel] = draw([{"step": k, "Train/return": value} for k, value in enumerate(values.tolist())])
    raw, mean = panel.lines
    assert raw.get_alpha() == 0.3 and np.array_equal(raw.get_ydata(), values)
    np.testing.assert_allclose(np.asarray(mean.get_ydata())[10:-10], 0.5)


@pytest.mark.parametrize("rows", ["", '{"step": 24, "Train/return": 1.0}\n'])
def test_fewer_than_two_rows_of_metrics_have_no_curve(tmp_path: Path, rows: str) -> None:
    (tmp_path / "metrics.jsonl").write_text(rows)
    figures.learning_curve(tmp_path / "metrics.jsonl", tmp_path / "curve.png")
    assert not (tmp_path / "curve.png").exists()


def test_evaluation_draws_intervals_and_survival(tmp_path: Path, sheets: list[Sheet]) -> None:
    speeds = [Figure(0.0, -0.1, 0.1), Figure(0.9, 0.8, 1.0)]
    times = np.linspace(0, 10, 50)
    curves = [np.ones(50), np.linspace(1, 0.5, 50)]
    out = tmp_path / "evaluation.png"
    figures.evaluation(out, ["0", "1"], {"forward_speed": speeds}, times, curves, wanted={"forward_speed": [0.0, 1.0]})
    bars, survival = panels(sheets[0])
    assert bars.get_title() == "forward speed (m/s)"
    [(measured, caps, _)] = bars.containers
    np.testing.assert_array_equal(measured.get_ydata(), [0.0, 0.9])
    np.testing.assert_allclose([cap.get_ydata() for cap in caps], [[-0.1, 0.8], [0.1, 1.0]])
    assert any(np.array_equal(marks.get_offsets(), [(0, 0), (1, 1)]) for marks in bars.collections), (
        "what was asked for"
    )
    np.testing.assert_array_equal([line.get_ydata() for line in survival.lines], curves)
    with Image.open(out) as image:
        assert image.format == "PNG"


@pytest.mark.slow
def test_panels_legends_and_footnote_of_a_learning_curve_do_not_overlap(tmp_path: Path, sheets: list[Sheet]) -> None:
    names = ["Train/return", *(f"Loss/loss_{k}" for k in range(30)), *(f"Episode_Reward/term_{k}" for k in range(12))]
    rows = [{"step": k} | {name: 1e-3 * k for name in names} for k in range(3)]
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    figures.learning_curve(metrics, tmp_path / "curve.png")
    (sheet,) = sheets
    footnote = next(text for text in sheet.texts if text.get_text())
    boxes = [ax.get_tightbbox() for ax in sheet.axes] + [footnote.get_window_extent()]
    for number, box in enumerate(boxes):
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= sheet.bbox.x1 and box.y1 <= sheet.bbox.y1
        assert not any(box.overlaps(other) for other in boxes[:number])
