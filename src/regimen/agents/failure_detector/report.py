"""The report of an evaluated detector: headline, result.json, a printed table, figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.agents.base import FitResult
from regimen.display.figures import COLORS, save, sheet
from regimen.display.text_tables import TextTable, print_tables

if TYPE_CHECKING:
    from regimen.agents.failure_detector.metrics import Verdicts
    from regimen.runs.run import Run

COMPARED = ("macro_f1", "balanced_accuracy", "accuracy", "delay_steps", "false_alarms_per_hour", "wrong_joint")


def _draw_confusion_matrix(out: Path, verdicts: Verdicts) -> None:
    """Draw the confusion matrix: share of the frames of each true class by predicted class, with counts.

    Args:
        out: PNG to write.
        verdicts: the figures.
    """
    counts, names = verdicts.counts, [name.replace("_", " ") for name in verdicts.classes]
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, (ax,) = sheet(1, columns=1, size=(7.2, 6.2))
    ax.grid(visible=False)
    ax.imshow(share, cmap="Blues", vmin=0.0, vmax=1.0)
    for row, column in np.ndindex(*counts.shape):
        if counts[row, column]:
            dark = share[row, column] > 0.6
            text = f"{share[row, column]:.0%}\n{counts[row, column]:,}"
            ax.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "#222222")
    ax.set_xticks(range(len(names)), names, rotation=40, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set_xlabel("predicted", fontsize=9)
    ax.set_ylabel("true", fontsize=9)
    ax.set_title(f"frames by class, macro-F1 {verdicts.figures['macro_f1'].value:.3f}", fontsize=10)
    save(figure, out)


def _draw_reliability(out: Path, verdicts: Verdicts) -> None:
    """Draw the reliability diagram: accuracy over the probability of the most likely class.

    Args:
        out: PNG to write.
        verdicts: the figures.
    """
    bins = verdicts.calibration
    filled = bins.frames > 0
    figure, (ax, below) = sheet(2, columns=1)
    ax.plot([0, 1], [0, 1], color="#999999", linewidth=0.8, linestyle="--", label="calibrated")
    ax.plot(bins.confidence[filled], bins.accuracy[filled], marker="o", markersize=4, color=COLORS[0], label="detector")
    ax.set_title(f"share of hits over probability, calibration error {bins.error:.3f}", fontsize=10)
    ax.legend(fontsize=8, frameon=False)
    edges = np.linspace(0.0, 1.0, len(bins.frames) + 1)
    below.stairs(bins.frames, edges, fill=True, color=COLORS[0], alpha=0.7)
    below.set_yscale("symlog")
    below.set_title("frames", fontsize=10)
    below.set_xlabel("probability of the most likely class", fontsize=8)
    for axes in (ax, below):
        axes.set_xlim(0.0, 1.0)
    save(figure, out)


def _draw_delays(out: Path, verdicts: Verdicts) -> None:
    """Draw a histogram of the detection delays.

    Args:
        out: PNG to write.
        verdicts: the figures.
    """
    steps, median = verdicts.delays, verdicts.figures["delay_steps"].value
    figure, (ax,) = sheet(1, columns=1)
    if len(steps):
        ax.hist(steps.clip(max=100), bins=list(range(0, 104, 4)), color=COLORS[0], alpha=0.8)
    if np.isfinite(median):
        ax.axvline(median, color=COLORS[1], linewidth=1.4, label=f"median of all faults: {median:g}")
        ax.legend(fontsize=8, frameon=False)
    named = verdicts.figures["detected"].value
    ax.set_title(f"delay of the verdict; {named:.0%} of the faults were named", fontsize=10)
    ax.set_xlabel("steps after the fault began (100: and more)", fontsize=8)
    ax.set_ylabel("faults", fontsize=8)
    save(figure, out)


def _draw_comparison(out: Path, judged: dict[str, dict[str, Verdicts]]) -> None:
    """Draw detector and baselines with their intervals.

    Args:
        out: PNG to write.
        judged: name -> view -> figures.
    """
    figure, axes = sheet(len(COMPARED), columns=3)
    labels = [name.replace("_", " ") for name in judged]
    for ax, name in zip(axes, COMPARED, strict=True):
        for number, (view, color) in enumerate((("all", COLORS[0]), ("active", COLORS[1]))):
            values = [views[view].figures[name] for views in judged.values()]
            for place, figure_ in enumerate(values):
                if not np.isfinite(figure_.value):
                    continue
                ends = [max(figure_.value - figure_.low, 0.0), max(figure_.high - figure_.value, 0.0)]
                bars = np.nan_to_num(np.array(ends), posinf=0.0)[:, None]
                x = place + 0.16 * (number - 0.5)
                ax.errorbar([x], [figure_.value], yerr=bars, fmt="o", markersize=4, capsize=4, color=color)
            ax.plot([], [], "o", color=color, label=f"{view} faulty frames")
        ax.set_xticks(range(len(labels)), labels, rotation=25, ha="right")
        ax.set_title(name.replace("_", " "), fontsize=10)
        ax.margins(x=0.15, y=0.15)
    axes[0].legend(fontsize=8, frameon=False)
    save(figure, out)


def _draw_training(out: Path, history: list[dict[str, float]]) -> None:
    """Draw loss and macro-F1 over the epochs.

    Args:
        out: PNG to write.
        history: rows with `epoch`, `loss`, `val_loss`, `val_macro_f1`.
    """
    figure, (losses, score) = sheet(2, columns=2)
    epochs = [row["epoch"] for row in history]
    for name, color, label in (("loss", COLORS[0], "training"), ("val_loss", COLORS[1], "validation")):
        losses.plot(epochs, [row[name] for row in history], color=color, marker=".", label=label)
    losses.set_title("weighted cross-entropy", fontsize=10)
    losses.legend(fontsize=8, frameon=False)
    values = [row["val_macro_f1"] for row in history]
    score.plot(epochs, values, color=COLORS[1], marker=".")
    best = int(np.argmax(values))
    score.plot(epochs[best], values[best], "o", color=COLORS[2], label=f"kept: {values[best]:.3f}")
    score.set_title("macro-F1 on validation", fontsize=10)
    score.legend(fontsize=8, frameon=False)
    for ax in (losses, score):
        ax.set_xlabel("epoch", fontsize=8)
    save(figure, out)


HEADLINE = ("macro_f1", "delay_steps", "false_alarms_per_hour")
SHOWN = (
    "macro_f1", "accuracy", "delay_steps", "detected", "alarmed_before", "wrong_joint", "fell_first",
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
    overall = judged["detector"]["all"].figures
    headline = {name: overall[name].value for name in HEADLINE if abs(overall[name].value) < float("inf")}
    plain = {name: {view: v.to_dict() for view, v in views.items()} for name, views in judged.items()}
    intervals = "95 %: bootstrap over environments"
    baselines = {name: value for name, value in plain.items() if name != "detector"}
    shared = {"views": VIEWS, "intervals": intervals, **more}
    return FitResult(headline, {**shared, "detector": plain["detector"], "baselines": baselines})


def draw(run: Run, judged: Judged, history: list[dict[str, float]]) -> None:
    """Draw the evaluation, and the learning curve if there is a `history`; print a table.

    Args:
        run: receives the pictures.
        judged: see `outcome`.
        history: rows of the training, see `Training`.
    """
    folder, verdicts = run.dir / "figures", judged["detector"]["all"]
    _draw_confusion_matrix(folder / "confusion.png", verdicts)
    _draw_reliability(folder / "calibration.png", verdicts)
    _draw_delays(folder / "delays.png", verdicts)
    _draw_comparison(folder / "baselines.png", judged)
    if history:
        _draw_training(folder / "learning_curve.png", history)
    for path in sorted(folder.glob("*.png")):
        run.artifact(path, "figure")
    print_table(judged)


def print_table(judged: Judged) -> None:
    """Print one line per detector and view."""
    title = "failure detection, with 95 % intervals over environments"
    heads = ["detector", "faulty\nframes", *(name.replace("_", "\n") for name in SHOWN)]
    rows = [
        (name.replace("_", "\n"), view, *(verdicts.figures[n].two_lines() for n in SHOWN))
        for name, views in judged.items()
        for view, verdicts in views.items()
    ]
    print_tables([TextTable(title, heads, rows)])
