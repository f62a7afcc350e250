"""Figures of a fault study: survival and other metrics by joint and over severity, one color per kind of policy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.display.figures import error_bars, save, sheet, title_of
from regimen.display.intervals import Figure as Interval
from regimen.stages.reports.survival import Arm, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = {"": "none broken", None: "any broken"}
"""Labels of the columns without a joint: no fault, and all joints together."""

NOTE = "dot and line: measured, with its 95 % interval"


def survival_by_joint(study: Study, level: int | None, out: Path) -> None:
    """Draw the share of episodes without a fall, for each joint and for all joints together.

    Args:
        study: all evaluations.
        level: level of severity; None for all levels.
        out: PNG to write.
    """
    title = f"survival, {'all severities' if level is None else study.label(level)}"
    _by_joint(study, out, title, lambda arm, joint: arm.survival(joint, level), top=1.05)


def figure_by_joint(study: Study, name: str, out: Path) -> None:
    """Draw a metric such as `lin_vel_error` for each joint and for all joints, over all severities."""
    _by_joint(study, out, title_of(name), lambda arm, joint: arm.mean(name, joint))


def _by_joint(
    study: Study,
    out: Path,
    title: str,
    figure_of: Callable[[Arm, str | None], Interval | None],
    top: float | None = None,
) -> None:
    places: list[str | None] = ["", *study.joints, None]
    figure, (ax,) = sheet(1, 1, (max(6.0, 0.95 * len(places) + 1.0), 3.5))
    width = 0.8 / len(study.arms)
    for number, arm in enumerate(study.arms):
        shift = (number - (len(study.arms) - 1) / 2) * width
        points = [(x + shift, f) for x, joint in enumerate(places) if (f := figure_of(arm, joint)) is not None]
        error_bars(ax, [x for x, _ in points], [f for _, f in points], **_look(arm))
    ax.set_xticks(range(len(places)), [PLACES.get(joint) or str(joint) for joint in places], rotation=30, ha="right")
    for x in (0.5, len(places) - 1.5):
        ax.axvline(x, color="#cccccc", linewidth=0.8)
    ax.set_ylim(0.0 if top is None else -0.03, top)
    _finish(figure, ax, title, out)


def survival_over_severity(study: Study, out: Path) -> None:
    """Draw the survival over all joints by level of severity, the mildest first."""
    figure, (ax,) = sheet(1, 1, (6.0, 3.5))
    for number, arm in enumerate(study.arms):
        shift = 0.06 * (number - (len(study.arms) - 1) / 2)
        points = [(x + shift, f) for x in study.levels if (f := arm.survival(level=x)) is not None]
        ax.plot([x for x, _ in points], [f.value for _, f in points], color=arm.variant.color, linewidth=1.0)
        error_bars(ax, [x for x, _ in points], [f for _, f in points], **_look(arm))
    ax.set_xticks(study.levels, [study.label(level) for level in study.levels])
    ax.set_ylim(-0.03, 1.05)
    _finish(figure, ax, "survival of any broken joint, the mildest severity first", out)


def _finish(figure: Figure, ax: Axes, title: str, out: Path) -> None:
    ax.set_title(title, fontsize=10)
    ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4)
    figure.supxlabel(NOTE, fontsize=7, color="#666666")
    save(figure, out)


def _look(arm: Arm) -> dict[str, str]:
    return {"color": arm.variant.color, "label": arm.variant.title}
