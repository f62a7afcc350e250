"""`regimen compare`: interquartile means with intervals, and learning curves, of groups of seeds."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.cli.lineage import require_figure_path
from regimen.display.formatting import figure, table
from regimen.runs.history import filters as query
from regimen.runs.history.groups import grouped, same_seeds
from regimen.runs.history.run_view import RunView, open_view, open_view_dir
from regimen.runs.index.index import Index
from regimen.runs.record import Status
from regimen.system import files
from regimen.system.errors import ConfigError, RunReferenceError, did_you_mean

if TYPE_CHECKING:
    import numpy as np

METRIC = "Train/return"


def compare_verb(argv: list[str]) -> int:
    """Compare runs of one task: `regimen compare A B C … [name=… sweep=…] [--metric Train/return] [--out file.png]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen compare", description="Groups of seeds: IQM, intervals, curves.")
    parser.add_argument("runs", nargs="+", help="run references, and filters as of `regimen runs`, such as sweep=<id>")
    parser.add_argument("--metric", default=METRIC, help=f"metric of the learning curves (default {METRIC})")
    parser.add_argument(
        "--out", type=Path, help="figure to write, .png, .svg or .pdf (default outputs/compare-<task>-<hash>.png)"
    )
    args = parser.parse_args(argv)
    require_figure_path(args.out)
    runs, left_out = select(args.runs)
    groups = grouped(runs)
    curves = {label: _curves(members, args.metric) for label, members in groups.items()}
    if args.metric != METRIC and not any(curves.values()):
        raise ConfigError(f"No run logged `{args.metric}`. {did_you_mean(args.metric, _metrics(runs))}")
    print("\n".join(report(runs, groups, left_out)))
    out = args.out or Path("outputs") / f"compare-{runs[0].choices.get('task')}-{_digest(runs)}.png"
    from regimen.cli.compare_figure import draw

    differing, _ = _split(runs)
    figures = {
        label: {k: v for k, v in headlines(members).items() if k in differing} for label, members in groups.items()
    }
    if not differing and not any(curves.values()):
        print("\nno figure: the metrics are equal in all runs, and no run logged a curve")
        return 0
    draw(out, args.metric, {k: v for k, v in curves.items() if v}, figures)
    print(f"\n{out}")
    return 0


def select(words: Sequence[str]) -> tuple[list[RunView], list[RunView]]:
    """Return the finished runs that match references and filters, and the matching runs that did not finish.

    Args:
        words: run references, and filters `key=value` that must all match.

    Raises:
        RunReferenceError: no finished run matches, or the runs have several tasks or stages.
    """
    filters = [word for word in words if "=" in word and not Path(word).exists()]
    found = [open_view(word) for word in words if word not in filters]
    if filters:
        rows = query.select(query.parse(filters), Index().rows())
        found += [open_view_dir(row.dir) for row in rows if row.unreadable is None]
    runs = list({run.dir: run for run in found}.values())
    finished = sorted((run for run in runs if run.status == Status.FINISHED), key=lambda run: run.id)
    if not finished:
        states = ", ".join(f"{run.id} {run.status}" for run in runs[:5]) or "no run matches"
        raise RunReferenceError(f"no finished run to compare: {states}.")
    for group in ("task", "stage"):
        options = {str(run.choices.get(group)): run.id for run in finished}
        if len(options) > 1:
            named = ", ".join(f"{option} ({run_id})" for option, run_id in options.items())
            raise RunReferenceError(
                f"Metrics of different {group}s cannot be compared: {named}. Name runs of one {group}, for example "
                f"with {group}={next(iter(options))}."
            )
    return finished, [run for run in runs if run.status != Status.FINISHED]


def report(runs: Sequence[RunView], groups: Mapping[str, list[RunView]], left_out: Sequence[RunView]) -> Iterator[str]:
    """Yield the table of headline metrics, and cautions.

    Args:
        runs: all compared runs.
        groups: label -> runs.
        left_out: matching runs that did not finish.
    """
    from regimen.display import intervals

    choices = runs[0].choices
    yield f"{choices.get('stage')} of {choices.get('task')}: {len(runs)} runs, {len(groups)} groups"
    yield ""
    rows = [("figure", "group", "n", "IQM", "95 % interval", "min … max")]
    differing, same = _split(runs)
    for name in differing:
        for label, members in groups.items():
            values = headlines(members).get(name)
            if values is not None:
                ends = intervals.iqm_interval(values)
                between = f"{figure(float(ends[0]))} … {figure(float(ends[1]))}" if ends else "–"
                extent = f"{figure(float(values.min()))} … {figure(float(values.max()))}"
                middle = figure(float(intervals.iqm(values)))
                rows.append((name, label, str(len(values)), middle, between, extent))
    yield from table(rows) if differing else []
    if same:
        yield f"\nthe same in all runs: {', '.join(f'{name} {figure(value)}' for name, value in same.items())}"
    yield from _cautions(groups, left_out, intervals.FEW_RUNS)


def _split(runs: Sequence[RunView]) -> tuple[list[str], dict[str, float]]:
    """Return the headline metrics that differ between runs, and the values of those that are equal."""
    values = headlines(runs)
    same = {name: float(v[0]) for name, v in values.items() if len(v) == len(runs) > 1 and (v == v[0]).all()}
    return [name for name in values if name not in same], same


def _cautions(groups: Mapping[str, list[RunView]], left_out: Sequence[RunView], few: int) -> Iterator[str]:
    small = [label for label, members in groups.items() if len(members) < few]
    if small:
        yield f"\nfewer than {few} seeds, so that an interval means little: {'; '.join(small)}"
    for label, members in groups.items():
        if seeds := same_seeds(members):
            yield f"\nthe same seed more than once, counted as if independent: {label}: {', '.join(map(str, seeds))}"
    if left_out:
        yield f"\nleft out, not finished: {', '.join(f'{run.id} ({run.status})' for run in left_out)}"


def headlines(runs: Sequence[RunView]) -> dict[str, np.ndarray]:
    """Return headline metric -> (n,) values of the runs that have it."""
    import numpy as np

    names = dict.fromkeys(name for run in runs for name in run.headline)
    values = {name: [run.headline[name] for run in runs if run.headline.get(name) is not None] for name in names}
    return {name: np.array(numbers, dtype=float) for name, numbers in values.items() if numbers}


def _curves(runs: Sequence[RunView], metric: str) -> list[np.ndarray]:
    """Return (k, 2) step and value for each run that logged the metric."""
    import numpy as np

    found = []
    for run in runs:
        rows = files.read_jsonl(run.dir / "metrics.jsonl")
        points = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
        found += [np.array(points, dtype=float)] if points else []
    return found


def _metrics(runs: Sequence[RunView]) -> set[str]:
    """Return the names of all metrics that the runs logged."""
    rows = [row for run in runs for row in files.read_jsonl(run.dir / "metrics.jsonl")]
    return {name for row in rows for name in row} - {"step", "time_s"}


def _digest(runs: Sequence[RunView]) -> str:
    return hashlib.sha256("\n".join(run.id for run in runs).encode()).hexdigest()[:6]
