"""The report of an evaluated detector: headline, result.json, a printed table, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from regimen.agents.base import FitResult
from regimen.agents.failure_detector import figures
from regimen.display.text_tables import TextTable, print_tables

if TYPE_CHECKING:
    from regimen.agents.failure_detector.metrics import Verdicts
    from regimen.runs.run import Run

HEADLINE = ("macro_f1", "delay_steps", "false_alarms_per_hour")
SHOWN = (
    "macro_f1", "accuracy", "balanced_accuracy", "delay_steps", "detected", "wrong_joint", "fell_first",
    "false_alarms_per_hour",
)  # fmt: skip
VIEWS = {"all": "all faulty frames", "active": "faulty frames since the joint first reached its limit"}

Judged = dict[str, dict[str, "Verdicts"]]
"""Name of the detector or baseline -> view -> figures."""


def outcome(judged: Judged, more: Mapping[str, object]) -> FitResult:
    """Return headline and result.

    Args:
        judged: figures of `detector` and of the baselines.
        more: what else belongs into result.json.
    """
    found = judged["detector"]["all"].figures
    headline = {name: found[name].value for name in HEADLINE if abs(found[name].value) < float("inf")}
    told = {name: {view: v.to_dict() for view, v in views.items()} for name, views in judged.items()}
    intervals = "95 %: bootstrap over environments"
    baselines = {name: value for name, value in told.items() if name != "detector"}
    known = {"views": VIEWS, "intervals": intervals, **more}
    return FitResult(headline, {**known, "detector": told["detector"], "baselines": baselines})


def draw(run: Run, judged: Judged, history: list[dict[str, float]]) -> None:
    """Draw what was judged, and how it was learnt if `history` says so; print a table.

    Args:
        run: receives the pictures.
        judged: see `outcome`.
        history: rows of the training, see `Training`.
    """
    folder, mine = run.dir / "figures", judged["detector"]["all"]
    figures.confusion_matrix(folder / "confusion.png", mine)
    figures.reliability(folder / "calibration.png", mine)
    figures.delays(folder / "delays.png", mine)
    figures.comparison(folder / "baselines.png", judged)
    if history:
        figures.training(folder / "learning_curve.png", history)
    for path in sorted(folder.glob("*.png")):
        run.artifact(path, "figure")
    print_table(judged)


def print_table(judged: Judged) -> None:
    """Print one line per detector and view."""
    title = "failure detection, with 95 % intervals over environments"
    heads = ["detector", "faulty\nframes", *(name.replace("_", "\n") for name in SHOWN)]
    rows = [
        (name.replace("_", "\n"), view, *(found.figures[n].two_lines() for n in SHOWN))
        for name, views in judged.items()
        for view, found in views.items()
    ]
    print_tables([TextTable(title, heads, rows)])
