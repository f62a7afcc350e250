"""Report that compares policies: metrics by command and cost of the trainings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.display.figures import COLORS, MOST_ROWS, error_bars, limits, save, sheet, title_of
from regimen.display.formatting import duration
from regimen.display.intervals import Figure, iqm, iqm_interval
from regimen.runs.history.groups import grouped
from regimen.runs.history.run_view import open_view_dir
from regimen.stages.evaluation.metrics import command_label, read_figures
from regimen.stages.playback.motion_comparison import BY_BODY
from regimen.stages.reports import html, sections
from regimen.stages.reports.html import report_dir, write_report
from regimen.stages.reports.sources import COMMANDS, Source, Sources
from regimen.system.errors import ConfigError
from regimen.system.json_lines import number_of, thinned

if TYPE_CHECKING:
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

SHOWN = ("speed_error", "lin_vel_error", "distance", "survival", "return")
"""Metrics in tables and figures, if the task has them."""
SHOWN_OF_MOTION = ("forward_speed", "dtw_body_cm", "dtw_joint", "power")
"""Further ones of a task with motion clips, before those of its section `metrics`."""

NOTE = "dot: value with 95 % interval over the episodes of one policy; one dot per seed"


@dataclass
class PolicyGroup:
    """Evaluations of policies whose trainings differ only in the seed.

    Attributes:
        label: name of the group.
        evaluations: of these policies.
        color: in figures.
    """

    label: str
    evaluations: list[Source]
    color: str

    @cached_property
    def trainings(self) -> list[Source]:
        """Trainings of the policies, if present."""
        return [run for source in self.evaluations if (run := source.input("policy")) is not None]

    @cached_property
    def curves(self) -> list[np.ndarray]:
        """Log of each training, (k, 3): seconds, samples, mean return."""
        return [_curve(training) for training in self.trainings]

    def overall(self, name: str) -> Figure:
        """Return a metric over all commands; the interquartile mean over several seeds."""
        return self._over_seeds([source.evaluation.overall.figures[name] for source in self.evaluations])

    def body_distance(self, body: str) -> Figure:
        """Return the distance of a body from the motion clips in cm; the interquartile mean over several seeds."""
        return self._over_seeds([read_figures(source.result[BY_BODY])[body] for source in self.evaluations])

    @staticmethod
    def _over_seeds(figures: list[Figure]) -> Figure:
        values = np.array([figure.value for figure in figures])
        ends = iqm_interval(values)
        return figures[0] if ends is None else Figure(float(iqm(values)), float(ends[0]), float(ends[1]))


class PolicyReport:
    """Report that compares policies.

    Attributes:
        groups: policies grouped by training.
        commands: common commands of all evaluations.
    """

    def __init__(self, run: Run, sources: Sources, title: str | None) -> None:
        """Group the evaluations by the trainings of their policies.

        Raises:
            ConfigError: the evaluations differ in task or commands.
        """
        self.run, self.sources, self.folder = run, sources, report_dir(run)
        task = _one("task", {s.id: str(s.evaluation.task) for s in sources.evaluations})
        commands = {s.id: str([row.command for row in s.evaluation.commands]) for s in sources.evaluations}
        _one("list of commands", commands)
        self.commands = [row.command for row in sources.evaluations[0].evaluation.commands]
        self.groups = list(_groups(sources.evaluations))
        labels = [group.label for group in self.groups]
        self.title = title or f"{task}: " + (" and ".join(labels) if len(labels) < 4 else f"{len(labels)} policies")
        self.bodies = _common_bodies(sources.evaluations)
        wanted = (*SHOWN, *(SHOWN_OF_MOTION if self.bodies else ()), *_own_metrics(sources.evaluations[0]))
        self.names = [
            name
            for name in dict.fromkeys(wanted)
            if all(name in source.evaluation.overall.figures for source in sources.evaluations)
        ]
        self.drawn: str | None = None

    def headline(self) -> dict[str, float]:
        """Return the return of each group for run.json."""
        return {f"return_{group.label}": group.overall("return").value for group in self.groups}

    def record_video(self, seconds: float) -> None:
        """Draw the first seed of each group beside the nearest motion clip; without clips only warn.

        Args:
            seconds: length of the film in s.
        """
        if not self.bodies:
            self.run.warn("no video: these evaluations have no motion clips to compare the policies with")
            return
        from regimen.stages.reports import motion_pictures

        motions = []
        for group in self.groups:
            self.run.progress(note=f"recording {group.label}")
            stop = lambda: self.run.check_stop(0, lambda: None)  # noqa: E731
            motions.append(motion_pictures.record(group.evaluations[0], group.label, seconds, stop))
        self.drawn = motion_pictures.draw(self.groups[0].evaluations[0], motions, seconds, self.folder)

    def write(self) -> Json:
        """Draw the figures, write the page and the numbers; return the result."""
        self.run.progress(note="drawing")
        lineage = sections.draw_lineage(self.run, self.folder / "lineage.png")
        page = [
            html.Section("Policies", [html.table(*self._all_commands()), html.paragraph(self._conditions(), "quiet")]),
            html.Section("Motion", list(self._motion())),
            html.Section("Commands", list(self._by_command())),
            html.Section("Seeds", list(self._seeds())),
            html.Section("Trainings", list(self._trainings())),
            html.Section("Lineage", list(sections.lineage(self.run, lineage))),
            html.Section("Runs", [sections.runs(self.sources)]),
        ]
        return write_report(self.run, self.title, [], page, self._numbers())

    def _every(self) -> list[tuple[PolicyGroup, Source]]:
        return [(group, source) for group in self.groups for source in group.evaluations]

    def _conditions(self) -> str:
        first = self.sources.evaluations[0].evaluation
        return (
            f"Each policy: {len(self.commands) or 1} commands, {first.envs_per_command} episodes of "
            f"{first.episode_length_s:g} s for each, {'with' if first.disturbances else 'without'} disturbances. "
            "Second line: 95 % interval; for one seed over its episodes, for several seeds the bootstrap of the "
            "interquartile mean over seeds (for two seeds, their range)."
        )

    def _all_commands(self) -> tuple[list[str], list[list[str]]]:
        """Return head and rows of the table over all commands."""
        rows = []
        for group in self.groups:
            cells = [sections.number(group.overall(name)) for name in self.names]
            falls = ", ".join(str(source.evaluation.overall.falls) for source in group.evaluations)
            rows.append([group.label, str(len(group.evaluations)), *cells, falls, *_cost(group)])
        head = ["policy", "seeds", *map(title_of, self.names), "falls of each seed", "wall time", "CPU time", "samples"]
        return head, rows

    def _motion(self) -> Iterator[str]:
        """Yield the pictures of `record_video`, and the distance of each body from the clips."""
        if not self.bodies:
            return
        if self.drawn is not None:
            same = f"From above: {self.drawn}; then the first seed of each policy with the largest command"
            yield html.image(self.folder / "strip.png", f"{same}, at the same times of the cycle.", wide=True)
            yield html.image(self.folder / "film.gif", "The same as a film in real time; film.mp4 is longer.")
        yield html.image(self._draw_bodies(), "Distance of each body from the clips after time warping, base frame.")
        rows = [
            [group.label, *(sections.number(group.body_distance(body)) for body in self.bodies)]
            for group in self.groups
        ]
        yield html.details("as a table, cm", html.table(["policy", *self.bodies], rows))

    def _draw_bodies(self) -> Path:
        figure, (ax,) = sheet(1, 1, (max(6.0, 0.55 * len(self.bodies) + 1.0), 3.5))
        for number, group in enumerate(self.groups):
            shift = 0.6 * (number - (len(self.groups) - 1) / 2) / len(self.groups)
            points = [group.body_distance(body) for body in self.bodies]
            error_bars(ax, shift + np.arange(len(points)), points, color=group.color, label=group.label)
        ax.set_xticks(range(len(self.bodies)), self.bodies, fontsize=7, rotation=40, ha="right")
        ax.set_title("distance from the motion clips (cm)", fontsize=10)
        ax.set_ylim(bottom=0.0)
        ax.legend(fontsize=8, frameon=False)
        save(figure, self.folder / "bodies.png")
        return self.folder / "bodies.png"

    def _seeds(self) -> Iterator[str]:
        """Yield a table with the figures of each seed over all commands, if a policy has several."""
        if all(len(group.evaluations) == 1 for group in self.groups):
            return
        rows = []
        for group, source in self._every():
            overall = source.evaluation.overall
            cells = [sections.number(overall.figures[name]) for name in self.names]
            falls = f"{overall.falls} of {overall.episodes}"
            rows.append([f"{group.label}\nseed {source.training_seed}", *cells, falls])
        yield html.table(["policy", *map(title_of, self.names), "falls"], rows)
        yield html.paragraph("Second line: 95 % interval over episodes; of survival that of Wilson.", "quiet")

    def _by_command(self) -> Iterator[str]:
        """Yield a figure of all metrics by command, and a table for each command."""
        if not self.commands:
            return
        yield html.image(self._draw_commands(), "By command, one dot per seed.")
        for number, command in enumerate(self.commands):
            rows = []
            for group, source in self._every():
                row = source.evaluation.commands[number]
                cells = [sections.number(row.figures[name]) for name in self.names]
                falls = f"{row.falls} of {row.episodes}"
                rows.append([f"{group.label}\nseed {source.training_seed}", *cells, falls])
            head = ["policy", *map(title_of, self.names), "falls"]
            yield html.details(f"command {command_label(command)}", html.table(head, rows))

    def _draw_commands(self) -> Path:
        figure, axes = sheet(len(self.names), columns=2)
        every = self._every()
        for ax, name in zip(axes, self.names, strict=False):
            for number, (group, source) in enumerate(every):
                shift = 0.6 * (number - (len(every) - 1) / 2) / len(every)
                first = source is group.evaluations[0]
                points = [row.figures[name] for row in source.evaluation.commands]
                label = group.label if first else None
                error_bars(ax, shift + np.arange(len(points)), points, markersize=3, color=group.color, label=label)
            ax.set_xticks(range(len(self.commands)), [command_label(c) for c in self.commands], fontsize=7)
            ax.set_title(title_of(name), fontsize=10)
            limits(ax, name, max(row.figures[name].high for _, source in every for row in source.evaluation.commands))
        axes[0].legend(fontsize=8, frameon=False)
        figure.supxlabel(NOTE, fontsize=8)
        save(figure, self.folder / "commands.png")
        return self.folder / "commands.png"

    def _trainings(self) -> Iterator[str]:
        """Yield the learning curves over wall time and over samples, if there are any."""
        curves = [(group, curve) for group in self.groups for curve in group.curves if curve.size]
        if not curves:
            return
        figure, (left, right) = sheet(2, columns=2)
        for number, (group, curve) in enumerate(curves):
            label = group.label if group not in [g for g, _ in curves[:number]] else None
            left.plot(curve[:, 0] / 60, curve[:, 2], color=group.color, linewidth=1.2, label=label)
            right.plot(curve[:, 1] / 1e6, curve[:, 2], color=group.color, linewidth=1.2)
        for ax, label in ((left, "wall time (min)"), (right, "samples (million)")):
            ax.set_xlabel(label, fontsize=8)
            ax.set_title("return of the last episodes in training", fontsize=10)
        left.legend(fontsize=8, frameon=False)
        save(figure, self.folder / "trainings.png")
        yield html.image(self.folder / "trainings.png", "Learning curves, one line per training.")

    def _numbers(self) -> Json:
        rows = [
            {
                "policy": group.label,
                "runs": [source.id for source in group.evaluations],
                "seeds": [source.training_seed for source in group.evaluations],
                "trainings": [{"run": run.id, "wall_s": run.wall_s, "cpu_s": run.cpu_s} for run in group.trainings],
                "overall": {name: group.overall(name).to_dict() for name in self.names},
                "commands": [source.result[COMMANDS] for source in group.evaluations],
            }
            | ({BY_BODY: {b: group.body_distance(b).to_dict() for b in self.bodies}} if self.bodies else {})
            for group in self.groups
        ]
        return {"format": 1, "task": self.sources.evaluations[0].evaluation.task, "policies": rows}


def _one(name: str, values: dict[str, str]) -> str:
    """Return the common value of all runs.

    Raises:
        ConfigError: two runs differ; the message names them.
    """
    run_of = {value: run for run, value in values.items()}
    if len(run_of) > 1:
        differing = ", ".join(f"{run}: {value}" for value, run in list(run_of.items())[:2])
        raise ConfigError(f"runs: the evaluations differ in {name}; {differing}. Remove some of the runs.")
    return next(iter(run_of))


def _common_bodies(evaluations: list[Source]) -> list[str]:
    """Return the bodies whose distance from motion clips every evaluation has; none for a task without clips."""
    first, *others = [list(source.result.get(BY_BODY) or {}) for source in evaluations]
    return [body for body in first if all(body in bodies for bodies in others)]


def _own_metrics(source: Source) -> list[str]:
    """Return the names of the section `metrics` of the task."""
    return [name for name, term in (source.config.get("env", {}).get("metrics") or {}).items() if term]


def _step(source: Source) -> str | None:
    """Return the step of a pipeline that trained a policy, in words, whatever its seed."""
    step = (source.input("policy") or source).record.pipeline
    return step.step.partition(".")[0].replace("_", " ") if step and step.step else None


def _groups(evaluations: list[Source]) -> Iterator[PolicyGroup]:
    """Yield the groups of evaluations; a common name, or step, of all trainings of a group is its label."""
    by_folder = {str(source.folder): source for source in evaluations}
    by_label = grouped([open_view_dir(source.folder) for source in evaluations])
    groups = [(label, [by_folder[str(seen.dir)] for seen in members]) for label, members in by_label.items()]
    names = _distinct([{_step(source) for source in found} for _, found in groups])
    names = names or _distinct(
        [{(source.input("policy") or source).record.name for source in found} for _, found in groups]
    )
    for number, (label, members) in enumerate(groups):
        yield PolicyGroup(names[number] if names else label, members, COLORS[number % len(COLORS)])


def _distinct(names: list[set[str | None]]) -> list[str]:
    """Return the one name of each group, or none if a group has several or two groups have the same."""
    one = [next(iter(found)) for found in names if len(found) == 1]
    known = [name for name in one if name]
    return known if len(set(known)) == len(names) else []


def _cost(group: PolicyGroup) -> list[str]:
    """Return wall time, CPU time and samples of each training of a group."""
    trainings = group.trainings
    samples = [f"{curve[-1, 1] / 1e6:.3g} M" if curve.size else "–" for curve in group.curves]
    cells = [
        [duration(source.wall_s) for source in trainings],
        [duration(source.cpu_s) for source in trainings],
        samples,
    ]
    return [", ".join(each) or "–" for each in cells]


def _curve(training: Source) -> np.ndarray:
    """Return the log of a training, (k, 3): seconds, samples, mean return."""
    rows, _ = thinned(training.folder / "metrics.jsonl", MOST_ROWS, "Train/return")
    envs = training.config["env"].get("num_envs", 1)
    points = [[number_of(row, name) for name in ("time_s", "step", "Train/return")] for row in rows]
    known = np.array([point for point in points if None not in point], dtype=float).reshape(-1, 3)
    return known * [1, envs, 1]
