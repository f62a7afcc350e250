"""The picture and the table of a sweep."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from regimen.orchestration.sweep import report
from regimen.orchestration.sweep.record import Job, swept_keys
from regimen.orchestration.sweep.report import table


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    figures: list[Figure] = []
    original = Figure.savefig

    def savefig(figure: Figure, *args: object, **kwargs: object) -> None:
        figures.append(figure)
        original(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def job(number: int, *overrides: str, value: float | None = None, status: str = "finished") -> Job:
    return Job(f"s.{number:03d}", ["task=reach", *overrides], status, 0, {} if value is None else {"score": value})


def labels(figure: Figure) -> list[tuple[str, str]]:
    return [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes if ax.get_visible()]


def test_one_number_is_a_line_of_means_over_the_seeds(tmp_path: Path, drawn: list[Figure]) -> None:
    pairs = [(lr, seed) for lr in (0.001, 0.01, 0.1) for seed in (0, 1, 2)]
    jobs = [job(i, f"agent.lr={lr}", f"seed={s}", value=lr * 10 + s) for i, (lr, s) in enumerate(pairs)]
    jobs.append(job(9, "agent.lr=0.5", "seed=0", status="failed"))
    assert swept_keys(jobs) == ["agent.lr", "seed"]
    assert report.draw(jobs, swept_keys(jobs), tmp_path / "sweep.png")
    (ax,) = drawn[0].axes
    assert (ax.get_xlabel(), ax.get_xscale()) == ("agent.lr", "log")
    assert list(ax.lines[0].get_ydata()) == pytest.approx([1.01, 1.1, 2.0])
    assert sum(len(c.get_offsets()) for c in ax.collections if hasattr(c, "get_sizes") and len(c.get_sizes())) == 9
    assert re.findall(r"\d+", drawn[0].get_supxlabel()) == ["9", "1"], "so many runs, so many without a figure"
    assert imread(tmp_path / "sweep.png").std() > 0


def test_names_are_bars_and_seeds_alone_are_a_line(tmp_path: Path, drawn: list[Figure]) -> None:
    jobs = [job(i, f"task={t}", f"seed={s}", value=i) for i, (t, s) in enumerate([("a", 0), ("b", 0), ("b", 1)])]
    report.draw(jobs, swept_keys(jobs), tmp_path / "a.png")
    assert [t.get_text() for t in drawn[0].axes[0].get_xticklabels()] == ["a", "b"]
    assert [p.get_height() for p in drawn[0].axes[0].patches] == [0.0, 1.5]
    seeds = [job(i, f"seed={i}", value=i) for i in range(3)]
    report.draw(seeds, swept_keys(seeds), tmp_path / "b.png")
    assert labels(drawn[1]) == [("seed", "score")]


def test_two_keys_have_a_panel_each_and_a_map_unless_they_advance_together(tmp_path: Path, drawn: list[Figure]) -> None:
    crossed = [job(2 * a + b, f"x={a}", f"y={b}", value=a + b) for a in (0, 1) for b in (0, 1)]
    report.draw(crossed, swept_keys(crossed), tmp_path / "a.png")
    assert labels(drawn[0])[:3] == [("x", "score"), ("y", "score"), ("x", "y")]
    assert drawn[0].axes[2].images[0].get_array().tolist() == [[0.0, 1.0], [1.0, 2.0]]
    paired = [job(a, f"x={a}", f"y={a}", value=a) for a in range(3)]
    report.draw(paired, swept_keys(paired), tmp_path / "b.png")
    assert labels(drawn[1]) == [("x", "score"), ("y", "score")]


def test_the_figure_drawn_is_the_one_most_jobs_have() -> None:
    jobs = [job(0, "task=a", value=1.0), job(1, "task=b"), job(2, "task=b")]
    for other in jobs[1:]:
        other.headline = {"speed": 1.0, "score": None}
    assert report.headline_of(jobs) == "score"
    jobs[0].headline = {"distance": 1.0}
    assert report.headline_of(jobs) == "speed"


def test_without_a_result_or_a_choice_there_is_no_picture(tmp_path: Path) -> None:
    failed = [job(i, f"x={i}", status="failed") for i in range(2)]
    assert not report.draw(failed, swept_keys(failed), tmp_path / "a.png")
    assert not report.draw([job(0, "x=1", value=1.0)], [], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_the_table_has_every_job_and_metric() -> None:
    jobs = [job(0, "x='a,b'", value=1.5), job(1, "x=c", status="failed")]
    jobs[0].headline["other"] = None
    rows = list(csv.DictReader(table(jobs, swept_keys(jobs)).splitlines()))
    assert [(r["run"], r["status"], r["x"], r["score"]) for r in rows] == [
        ("s.000", "finished", "a,b", "1.5"), ("s.001", "failed", "c", "")
    ]  # fmt: skip
