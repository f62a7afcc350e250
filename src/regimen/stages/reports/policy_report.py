"""Report that compares policies: metrics by command, over the checkpoints of their trainings, and cost of these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regimen.data.episodes.lengths import SUCCESS
from regimen.display.figures import COLORS, MOST_ROWS, error_bars, limits, save, sheet, title_of
from regimen.display.formatting import duration
from regimen.display.intervals import Figure, iqm, iqm_interval
from regimen.runs.history.curves import MetricColumns, peaks
from regimen.runs.history.groups import grouped
from regimen.runs.history.run_view import open_view_dir
from regimen.stages.evaluation.metrics import SUCCESS_TIME, EvaluationResult, command_label, read_figures
from regimen.stages.playback.motion_comparison import BY_BODY
from regimen.stages.reports import html, sections
from regimen.stages.reports.html import report_dir, write_report
from regimen.stages.reports.sources import COMMANDS, Source, Sources
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

SHOWN = ("speed_error", "lin_vel_error", "distance", "survival", "return")
"""Metrics in tables and figures, if the task has them; one with successes has these, their time and its failures."""
SHOWN_OF_MOTION = ("forward_speed", "dtw_body_cm", "dtw_joint", "power")
"""Further ones of a task with motion clips, before those of its section `metrics`."""

RETURN = "Train/return"
"""Column of the log of a training with the mean return of its last episodes."""

NOTE = "dot: value with 95 % interval over the episodes of one policy; one dot per seed"


@dataclass
class PolicyGroup:
    """Evaluations of policies whose trainings differ only in the seed.

    Attributes:
        label: name of the group.
        every: all evaluations of these policies.
        color: in figures.
    """

    label: str
    every: list[Source]
    color: str

    @cached_property
    def evaluations(self) -> list[Source]:
        """Evaluations of the last one of the evaluated checkpoints of each training."""
        runs = [source.input("policy") for source in self.every]
        steps = [source.evaluation.policy.step for source in self.every]
        last: dict[str, int] = {}
        for run, step in zip(runs, steps, strict=True):
            if run is not None:
                last[run.id] = max(step or 0, last.get(run.id, 0))
        kept = zip(self.every, runs, steps, strict=True)
        return [source for source, run, step in kept if run is None or (step or 0) == last[run.id]]

    @cached_property
    def by_transitions(self) -> dict[int, list[Source]]:
        """Transitions of the training, ascending -> evaluations of the checkpoint that it had then."""
        known = [(source.transitions, source) for source in self.every]
        counts = sorted({count for count, _ in known if count is not None})
        return {count: [source for other, source in known if other == count] for count in counts}

    @cached_property
    def has_curve(self) -> bool:
        """Whether several checkpoints of one training are evaluated: those of several seeds are no curve."""
        seen: dict[str, set[int]] = {}
        for source in self.every:
            run = source.input("policy")
            if run is not None and source.transitions is not None:
                seen.setdefault(run.id, set()).add(source.transitions)
        return any(len(counts) > 1 for counts in seen.values())

    @cached_property
    def trainings(self) -> list[Source]:
        """Trainings of the policies, if present."""
        return [run for source in self.evaluations if (run := source.input("policy")) is not None]

    @cached_property
    def curves(self) -> list[np.ndarray]:
        """Log of each training, (k, 3): seconds, samples, mean return."""
        return [_curve(training) for training in self.trainings]

    def overall(self, name: str) -> Figure | None:
        """Return a metric over all commands, see `over_seeds`."""
        return over_seeds(self.evaluations, name)

    def body_distance(self, body: str) -> Figure:
        """Return the distance of a body from the motion clips in cm; the interquartile mean over several seeds."""
        return _middle([read_figures(source.result[BY_BODY])[body] for source in self.evaluations])


def over_seeds(evaluations: list[Source], name: str) -> Figure | None:
    """Return a metric over all commands: the interquartile mean over several seeds; None where none has it."""
    known = [source.evaluation.overall.figures.get(name) for source in evaluations]
    figures = [figure for figure in known if figure is not None]
    return _middle(figures) if figures else None


def _middle(figures: list[Figure]) -> Figure:
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
        overall = [source.evaluation.overall for source in sources.evaluations]
        wanted = (*SHOWN, *(SHOWN_OF_MOTION if self.bodies else ()), *_own_metrics(sources.evaluations[0]))
        self.names = [name for name in dict.fromkeys(wanted) if all(name in row.figures for row in overall)]
        self.main = "return"
        if all(SUCCESS in row.figures for row in overall):
            self.main = SUCCESS
            failures = dict.fromkeys(name for row in overall for name in row.failures)
            for source in sources.evaluations:
                for row in (source.evaluation.overall, *source.evaluation.commands):
                    row.add_failures(failures)
            self.names = [SUCCESS, SUCCESS_TIME, *failures]
        self.drawn: str | None = None

    def headline(self) -> dict[str, float]:
        """Return the success of each group for run.json, or the return of a task without successes."""
        figures = {group.label: group.overall(self.main) for group in self.groups}
        return {f"{self.main}_{label}": figure.value for label, figure in figures.items() if figure is not None}

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
            html.Section("Policies", list(self._policies())),
            html.Section("Checkpoints", list(self._by_checkpoint())),
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

    def _policies(self) -> Iterator[str]:
        """Yield the table over all commands, how the policies were evaluated, and what the figures are."""
        yield html.table(*self._all_commands())
        labels: dict[str, dict[str, None]] = {}
        for group in self.groups:
            for source in group.every:
                labels.setdefault(_conditions(source.evaluation), {})[group.label] = None
        for conditions, evaluated in labels.items():
            which = "Each policy" if len(labels) == 1 else ", ".join(evaluated)
            yield html.paragraph(f"{which}: {conditions}.", "quiet")
        yield html.paragraph(self._notes(), "quiet")

    def _notes(self) -> str:
        text = (
            "Second line: 95 % interval; for one seed over its episodes, for several seeds the bootstrap of the "
            "interquartile mean over seeds (for two seeds, their range)."
        )
        if self.main == SUCCESS:
            text += " Success time, or cycle time: of the episodes that ended in success, from their begin."
        if any(len(group.every) > len(group.evaluations) for group in self.groups):
            text += " Of several checkpoints of a training this is the last one."
        return text

    def _all_commands(self) -> tuple[list[str], list[list[str]]]:
        """Return head and rows of the table over all commands."""
        rows = []
        for group in self.groups:
            cells = [sections.number(group.overall(name)) for name in self.names]
            falls = ", ".join(str(source.evaluation.overall.falls) for source in group.evaluations)
            ends = [] if self.main == SUCCESS else [falls]
            rows.append([group.label, str(len(group.evaluations)), *cells, *ends, *_cost(group)])
        ends = [] if self.main == SUCCESS else ["falls of each seed"]
        head = ["policy", "seeds", *map(title_of, self.names), *ends, "wall time", "CPU time", "samples"]
        return head, rows

    def _by_checkpoint(self) -> Iterator[str]:
        """Yield figure and table of the main metric over transitions, where a training has several checkpoints."""
        curves = [group for group in self.groups if group.has_curve]
        if not curves:
            return
        yield html.image(self._draw_checkpoints(curves), f"{self.main.capitalize()} over transitions of the training.")
        counts = sorted({count for group in curves for count in group.by_transitions})
        rows = [
            [str(count), *(sections.number(over_seeds(g.by_transitions.get(count, []), self.main)) for g in curves)]
            for count in counts
        ]
        yield html.table(["transitions", *(group.label for group in curves)], rows)
        yield html.paragraph(
            "Neighbouring checkpoints differ by chance, too: the best of several is better than it will be again.",
            "quiet",
        )

    def _draw_checkpoints(self, curves: list[PolicyGroup]) -> Path:
        figure, (ax,) = sheet(1, 1, (6.0, 3.5))
        highest = 0.0
        for group in self.groups:
            if group in curves:
                known = {x: over_seeds(sources, self.main) for x, sources in group.by_transitions.items()}
                points = {x: y for x, y in known.items() if y is not None}
                error_bars(ax, list(points), [*points.values()], fmt="o-", color=group.color, label=group.label)
            elif (level := group.overall(self.main)) is not None:
                points = {0: level}
                ax.axhline(level.value, color=group.color, linestyle="--", linewidth=1.2, label=group.label)
                ax.axhspan(level.low, level.high, color=group.color, alpha=0.12, linewidth=0)
            else:
                continue
            highest = max(highest, *(point.high for point in points.values()))
        limits(ax, self.main, highest)
        ax.set_xlim(left=0)
        ax.set_xlabel("transitions of the training", fontsize=8)
        ax.set_title(title_of(self.main), fontsize=10)
        ax.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4)
        note = "dot: one checkpoint; dashed: a policy without a curve; bars and bands: 95 % intervals"
        figure.supxlabel(note, fontsize=7, color="#666666")
        save(figure, self.folder / "checkpoints.png")
        return self.folder / "checkpoints.png"

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
            cells = [sections.number(overall.figures.get(name)) for name in self.names]
            falls = f"{overall.falls} of {overall.episodes}"
            rows.append([f"{group.label}\nseed {source.training_seed}", *cells, falls])
        yield html.table(["policy", *map(title_of, self.names), "falls"], rows)
        yield html.paragraph(
            "Second line: 95 % interval over episodes; of survival, success and each failure that of Wilson.", "quiet"
        )

    def _by_command(self) -> Iterator[str]:
        """Yield a figure of all metrics by command, and a table for each command, of a task with commands."""
        if not any(self.commands):
            return
        yield html.image(self._draw_commands(), "By command, one dot per seed.")
        for number, command in enumerate(self.commands):
            rows = []
            for group, source in self._every():
                row = source.evaluation.commands[number]
                cells = [sections.number(row.figures.get(name)) for name in self.names]
                falls = f"{row.falls} of {row.episodes}"
                rows.append([f"{group.label}\nseed {source.training_seed}", *cells, falls])
            head = ["policy", *map(title_of, self.names), "falls"]
            yield html.details(f"command {command_label(command)}", html.table(head, rows))

    def _draw_commands(self) -> Path:
        every = self._every()
        rows = [row for _, source in every for row in source.evaluation.commands]
        names = [name for name in self.names if all(name in row.figures for row in rows)]
        figure, axes = sheet(len(names), columns=2)
        for ax, name in zip(axes, names, strict=False):
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
                "overall": {name: f.to_dict() for name in self.names if (f := group.overall(name)) is not None},
                "ends": [source.evaluation.overall.ends for source in group.evaluations],
                "checkpoints": [
                    {"transitions": count, self.main: figure.to_dict(), "runs": [source.id for source in sources]}
                    for count, sources in group.by_transitions.items()
                    if (figure := over_seeds(sources, self.main)) is not None
                ],
                "commands": [source.result[COMMANDS] for source in group.evaluations],
            }
            | ({BY_BODY: {b: group.body_distance(b).to_dict() for b in self.bodies}} if self.bodies else {})
            for group in self.groups
        ]
        return {"format": 1, "task": self.sources.evaluations[0].evaluation.task, "policies": rows}


def _conditions(result: EvaluationResult) -> str:
    """Return in words how a policy was evaluated."""
    episodes = (result.commands or [result.overall])[0].episodes  # older results have the number asked for
    disturbances, noise = ("with" if on else "without" for on in (result.disturbances, result.observation_noise))
    return (
        f"{len(result.commands) or 1} commands, {episodes} episodes of {result.episode_length_s:g} s for each, "
        f"{disturbances} disturbances, {noise} noise of the observations"
    )


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
    by_label = grouped([open_view_dir(source.folder) for source in evaluations], by_file=False)
    groups = [(label, [by_folder[str(seen.dir)] for seen in members]) for label, members in by_label.items()]
    names = _distinct([{_step(source) for source in found} for _, found in groups])
    names = names or _distinct([{_name((s.input("policy") or s).record.name) for s in found} for _, found in groups])
    for _ in ("pipeline", "step"):
        rests = [name.partition(".")[2] for name in names]
        if len({name.partition(".")[0] for name in names}) == 1 and all(rest[:1].isalpha() for rest in rests):
            names = rests
    for chosen in ("experiment_", "agent_", "task_"):
        if all(name.startswith(chosen) for name in names):
            names = [name.removeprefix(chosen) for name in names]
    for number, (label, members) in enumerate(groups):
        yield PolicyGroup(names[number] if names else label, members, COLORS[number % len(COLORS)])


def _distinct(names: list[set[str | None]]) -> list[str]:
    """Return the one name of each group, or none if a group has several or two groups have the same."""
    one = [next(iter(found)) for found in names if len(found) == 1]
    known = [name for name in one if name]
    return known if len(set(known)) == len(names) else []


def _name(name: str | None) -> str | None:
    """Return the name of a run without its seed, which the name of a run of a pipeline may have."""
    return name and re.sub(r"\.seed_\d+", "", name)


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
    """Return the log of a training, (k, 3): seconds of work of all attempts, samples, mean return."""
    log = MetricColumns(training.folder)
    log.refresh()
    samples = log.steps(RETURN) * training.config["env"].get("num_envs", 1)
    points = np.column_stack([log.seconds(RETURN), samples, log.column(RETURN)])
    points = points[np.isfinite(points).all(1)]
    return points[peaks(points[:, 2], MOST_ROWS // 2)]
