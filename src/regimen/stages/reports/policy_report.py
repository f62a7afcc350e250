"""The report that compares policies: how each does each command, and what its training took."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from regimen.display.figures import COLORS, limits, read_rows, save, sheet, title_of
from regimen.display.formatting import duration
from regimen.display.interquartile import interval, iqm
from regimen.display.intervals import Figure
from regimen.runs.history.groups import grouped
from regimen.runs.history.run_view import see_dir
from regimen.stages.evaluation.table import command_label
from regimen.stages.reports import html, sections
from regimen.stages.reports.sources import COMMANDS, Source, Sources
from regimen.stages.reports.write_report import report_dir, write_report
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from regimen.runs.run import Run

SHOWN = ("speed_error", "lin_vel_error", "distance", "survival", "return")
"""Figures that are told and drawn, as far as the task has them."""
NOTE = "dot: measured, with its 95 % interval over the episodes of one policy; each seed apart"


@dataclass
class PolicyGroup:
    """Evaluations of policies that were trained alike, apart from the seed.

    Attributes:
        label: what tells it from the others.
        evaluations: of these policies.
        color: of its curves.
    """

    label: str
    evaluations: list[Source]
    color: str

    @cached_property
    def trainings(self) -> list[Source]:
        """The runs that made the policies, as far as they are here."""
        return [made for source in self.evaluations if (made := source.input("policy")) is not None]

    @cached_property
    def curves(self) -> list[np.ndarray]:
        """Seconds, samples and mean return that each training logged, (k, 3) each."""
        return [_curve(made) for made in self.trainings]

    def overall(self, name: str) -> Figure:
        """Return a figure over all commands: of one seed as it was judged, of several their interquartile mean."""
        found = [Figure(**source.result["overall"][name]) for source in self.evaluations]
        values = np.array([figure.value for figure in found])
        ends = interval(values)
        return found[0] if ends is None else Figure(float(iqm(values)), float(ends[0]), float(ends[1]))


class PolicyReport:
    """One report.

    Attributes:
        groups: the policies, by how they were trained.
        commands: all were judged by the same.
    """

    def __init__(self, run: Run, sources: Sources, title: str | None) -> None:
        """Sort the evaluations by how their policies were trained.

        Raises:
            ConfigError: they are of several tasks, or of several lists of commands.
        """
        self.run, self.sources, self.folder = run, sources, report_dir(run)
        task = _one("task", {s.id: str(s.result["task"]) for s in sources.evaluations})
        told = {s.id: str([row["command"] for row in s.result[COMMANDS]]) for s in sources.evaluations}
        _one("list of commands", told)
        self.commands = [row["command"] for row in sources.evaluations[0].result[COMMANDS]]
        self.groups = list(_groups(sources.evaluations))
        labels = [group.label for group in self.groups]
        self.title = title or f"{task}: " + (" and ".join(labels) if len(labels) < 4 else f"{len(labels)} policies")
        self.names = [name for name in SHOWN if all(name in source.result["overall"] for source in sources.evaluations)]

    def headline(self) -> dict[str, float]:
        """Return the return of each group for run.json: the mean of the middle half of its seeds."""
        return {f"return_{group.label}": group.overall("return").value for group in self.groups}

    def write(self) -> dict[str, Any]:
        """Draw the pictures, write the page and the numbers; return what is written to result.json."""
        self.run.progress(note="drawing")
        lineage = sections.draw_lineage(self.run, self.folder / "lineage.png")
        told = [
            html.Section("Policies", [html.table(*self._all_commands()), html.paragraph(self._conditions(), "quiet")]),
            html.Section("Commands", list(self._by_command())),
            html.Section("Trainings", list(self._trainings())),
            html.Section("Lineage", list(sections.lineage(self.run, lineage))),
            html.Section("Runs", [sections.runs(self.sources)]),
        ]
        return write_report(self.run, self.title, [], told, self._told())

    def _every(self) -> list[tuple[PolicyGroup, Source]]:
        return [(group, source) for group in self.groups for source in group.evaluations]

    def _conditions(self) -> str:
        first = self.sources.evaluations[0].result
        return (
            f"Each policy: {len(self.commands) or 1} commands, {first['envs_per_command']} episodes of "
            f"{first['episode_length_s']:g} s for each, {'with' if first['disturbances'] else 'without'} disturbances. "
            "In small: 95 % intervals; of one seed over its episodes, of several the bootstrap of the interquartile "
            "mean over seeds, which of two is no more than their range."
        )

    def _all_commands(self) -> tuple[list[str], list[list[str]]]:
        """Return head and rows of the table over all commands."""
        rows = []
        for group in self.groups:
            cells = [sections.number(group.overall(name)) for name in self.names]
            falls = ", ".join(str(source.result["overall"]["falls"]) for source in group.evaluations)
            rows.append([group.label, str(len(group.evaluations)), *cells, falls, *_cost(group)])
        head = ["policy", "seeds", *map(title_of, self.names), "falls of each seed", "wall time", "CPU time", "samples"]
        return head, rows

    def _by_command(self) -> Iterator[str]:
        """Yield a picture of all figures by command, and a table for each command."""
        if not self.commands:
            return
        yield html.image(self._draw_commands(), "By command, each seed apart.")
        for number, command in enumerate(self.commands):
            rows = []
            for group, source in self._every():
                found = source.result[COMMANDS][number]
                cells = [sections.number(Figure(**found[name])) for name in self.names]
                falls = f"{found['falls']} of {found['episodes']}"
                rows.append([f"{group.label}\nseed {source.training_seed}", *cells, falls])
            head = ["policy", *map(title_of, self.names), "falls"]
            yield html.details(f"command {command_label(command)}", html.table(head, rows))

    def _draw_commands(self) -> Path:
        picture, axes = sheet(len(self.names), columns=2)
        every = self._every()
        for ax, name in zip(axes, self.names, strict=False):
            for number, (group, source) in enumerate(every):
                shift = 0.6 * (number - (len(every) - 1) / 2) / len(every)
                first = source is group.evaluations[0]
                _points(ax, shift, source, name, group.color, group.label if first else None)
            ax.set_xticks(range(len(self.commands)), [command_label(c) for c in self.commands], fontsize=7)
            ax.set_title(title_of(name), fontsize=10)
            limits(ax, name, max(row[name]["high"] for _, source in every for row in source.result[COMMANDS]))
        axes[0].legend(fontsize=8, frameon=False)
        picture.supxlabel(NOTE, fontsize=8)
        save(picture, self.folder / "commands.png")
        return self.folder / "commands.png"

    def _trainings(self) -> Iterator[str]:
        """Yield the curves of the trainings, where there are any, over samples and over wall time."""
        curves = [(group, curve) for group in self.groups for curve in group.curves if curve.size]
        if not curves:
            return
        picture, (left, right) = sheet(2, columns=2)
        for number, (group, curve) in enumerate(curves):
            label = group.label if group not in [g for g, _ in curves[:number]] else None
            left.plot(curve[:, 0] / 60, curve[:, 2], color=group.color, linewidth=1.2, label=label)
            right.plot(curve[:, 1] / 1e6, curve[:, 2], color=group.color, linewidth=1.2)
        for ax, what in ((left, "wall time (min)"), (right, "samples (million)")):
            ax.set_xlabel(what, fontsize=8)
            ax.set_title("return of the last episodes in training", fontsize=10)
        left.legend(fontsize=8, frameon=False)
        save(picture, self.folder / "trainings.png")
        yield html.image(self.folder / "trainings.png", "Each training a line: what it had reached, and when.")

    def _told(self) -> dict[str, Any]:
        rows = [
            {
                "policy": group.label,
                "runs": [source.id for source in group.evaluations],
                "seeds": [source.training_seed for source in group.evaluations],
                "trainings": [{"run": made.id, "wall_s": made.wall_s, "cpu_s": made.cpu_s} for made in group.trainings],
                "overall": {name: group.overall(name).to_dict() for name in self.names},
                "commands": [source.result[COMMANDS] for source in group.evaluations],
            }
            for group in self.groups
        ]
        return {"format": 1, "task": self.sources.evaluations[0].result["task"], "policies": rows}


def _one(what: str, values: dict[str, str]) -> str:
    """Return the value that all runs share.

    Raises:
        ConfigError: naming two runs that differ in it.
    """
    found = {value: run for run, value in values.items()}
    if len(found) > 1:
        told = ", ".join(f"{run}: {value}" for value, run in list(found.items())[:2])
        raise ConfigError(f"runs: policies are compared on one {what}; {told}. Take some of the runs away.")
    return next(iter(found))


def _groups(judged: list[Source]) -> Iterator[PolicyGroup]:
    """Yield the groups of policies trained alike; a name that all trainings of a group share is its label."""
    by_folder = {str(source.folder): source for source in judged}
    found = grouped([see_dir(source.folder) for source in judged])
    groups = [(label, [by_folder[str(seen.dir)] for seen in members]) for label, members in found.items()]
    names = [{(source.input("policy") or source).info.get("name") for source in members} for _, members in groups]
    shared = [next(iter(known)) if len(known) == 1 else None for known in names]
    own = None not in shared and len(set(shared)) == len(shared)
    for number, (label, members) in enumerate(groups):
        yield PolicyGroup(str(shared[number]) if own else label, members, COLORS[number % len(COLORS)])


def _cost(group: PolicyGroup) -> list[str]:
    """Return wall time, CPU time and samples of each training of a group."""
    made = group.trainings
    samples = [f"{curve[-1, 1] / 1e6:.3g} M" if curve.size else "–" for curve in group.curves]
    cells = [[duration(source.wall_s) for source in made], [duration(source.cpu_s) for source in made], samples]
    return [", ".join(each) or "–" for each in cells]


def _points(ax: Axes, shift: float, source: Source, name: str, color: str, label: str | None) -> None:
    rows = [row[name] for row in source.result[COMMANDS]]
    middle, places = np.array([row["value"] for row in rows]), shift + np.arange(len(rows))
    ends = np.array([[row["value"] - row["low"] for row in rows], [row["high"] - row["value"] for row in rows]])
    ax.errorbar(places, middle, ends.clip(min=0), fmt="o", ms=3, capsize=2, color=color, label=label)


def _curve(made: Source) -> np.ndarray:
    """Return (k, 3): seconds, samples and mean return of a training's log."""
    log = made.folder / "metrics.jsonl"
    rows = read_rows(log) if log.is_file() else []
    envs = made.config["env"].get("num_envs", 1)
    found = [(r["time_s"], r["step"] * envs, r["Train/return"]) for r in rows if r.get("Train/return") is not None]
    return np.array(found, dtype=float).reshape(-1, 3)
