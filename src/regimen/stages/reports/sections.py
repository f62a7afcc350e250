"""Sections of the page of a fault study: tables, figures and text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.data.episodes.card_schema import HEALTHY
from regimen.display.formatting import duration
from regimen.display.intervals import Figure
from regimen.stages.recording.config import CollectResult
from regimen.stages.reports import detection, html
from regimen.stages.reports.figures import PLACES
from regimen.stages.reports.html import Section
from regimen.stages.reports.sources import TOLERANT, Source, Sources
from regimen.stages.reports.survival import Arm, FaultStudy, Study

if TYPE_CHECKING:
    from regimen.runs.run import Run

BASELINES = {
    "detector": "detector",
    "majority": "majority class",
    "one_frame": "one-frame network",
    "torque_threshold": "torque threshold",
}


def all_sections(data: FaultStudy, figure_files: Mapping[str, Path]) -> list[Section]:
    """Return the sections in reading order.

    Args:
        data: runs of the study and their comparison.
        figure_files: name -> figure file.
    """
    return [
        Section("Comparison", list(_comparison(data))),
        Section("Survival", list(_survival(data.study, figure_files))),
        Section("Video", list(_video(data))),
        Section("Walking", list(_walking(data.study, figure_files))),
        Section("Detector", list(_detector(data.sources.detectors))),
        Section("Data", [part for source in data.sources.datasets for part in _dataset(source)]),
        Section("Not in this study", list(_missing(data.study))),
        Section("Lineage", list(lineage(data.run, figure_files["lineage"]))),
        Section("Runs", [runs(data.sources)]),
    ]


def summary(data: FaultStudy) -> Iterator[str]:
    """Yield the main result in a few sentences."""
    tolerant = next((c for c in data.comparisons if c.variant is TOLERANT), None)
    arm, healthy = data.study.arm(TOLERANT), data.study.arms[:1]
    if tolerant is not None and arm is not None:
        survival, base = (_in_words(_percent(a.survival())) for a in (arm, healthy[0]))
        text = (
            f"With one faulty leg joint, the tolerant policy survives {survival} of the episodes, the healthy policy "
            f"{base}: {_in_words(_points(tolerant.gain))} points."
        )
        text += f" This is {_in_words(_percent(tolerant.share))} of the oracle's gain." if tolerant.share else ""
        yield html.paragraph(text, "lead")
    elif data.study.arms:
        yield html.paragraph("These runs contain no comparison of a tolerant policy with the healthy one.", "lead")
    conditions = {_conditions(source) for source in data.sources.fault_evaluations}
    yield from (html.paragraph(text, "quiet") for text in sorted(conditions))


def _in_words(cell: str) -> str:
    """Return a cell with its interval in parentheses instead of in a second line."""
    first, _, second = cell.partition("\n")
    return f"{first} ({second})" if second else first


def _conditions(source: Source) -> str:
    result = source.fault_evaluation
    return (
        f"Episodes of {result.episode_length_s:g} s, fault of one joint from {result.onset_s:g} s on, command "
        f"{result.command}; task {result.task}."
    )


def _comparison(data: FaultStudy) -> Iterator[str]:
    if not data.comparisons:
        return
    rows = []
    for arm in data.study.arms:
        compared = next((c for c in data.comparisons if c.variant is arm.variant), None)
        gain, part = (_points(compared.gain), _percent(compared.share)) if compared else ("–", "–")
        seeds = str(len(arm.sources))
        rows.append(
            [
                arm.variant.title,
                arm.variant.fault_info,
                seeds,
                _percent(arm.survival("")),
                _percent(arm.survival()),
                gain,
                part,
            ]
        )
    head = [
        "policy",
        "fault information",
        "seeds",
        "none broken",
        "any broken",
        "gain, points",
        "share of oracle's gain",
    ]
    yield html.table(head, rows)
    yield html.paragraph(
        "Survival is the share of episodes without a fall, over all joints and severities. Second line: 95 % interval; "
        "for one seed Wilson over its episodes, for several seeds the bootstrap of the interquartile mean over seeds. "
        "The share of the oracle's gain is given if the interval of that gain is above zero.",
        "quiet",
    )


def _survival(study: Study, figure_files: Mapping[str, Path]) -> Iterator[str]:
    if not study.arms:
        return
    yield html.image(figure_files["survival"], "Survival by faulty joint, over all severities.")
    if "severity" in figure_files:
        yield html.image(figure_files["severity"], "Survival over severity.")
    head = ["faulty joint", *(arm.variant.title for arm in study.arms)]
    for level in study.levels:
        rows = [
            [
                f"{joint}\n{study.severities[joint][level]:g}",
                *(_percent(arm.survival(joint, level)) for arm in study.arms),
            ]
            for joint in study.joints
        ]
        rows.append(["any", *(_percent(arm.survival(None, level)) for arm in study.arms)])
        yield html.details(f"{study.label(level)}, with the severity below each joint", html.table(head, rows))


def _video(data: FaultStudy) -> Iterator[str]:
    gif = next((path for path in data.videos if path.suffix == ".gif"), None)
    if gif is not None:
        yield html.image(gif, "Same command, seed and faulty joint. side_by_side.mp4 has a higher resolution.")


def _walking(study: Study, figure_files: Mapping[str, Path]) -> Iterator[str]:
    captions = {
        "lin_vel_error": "Error of the velocity from the onset of the fault to the end of the episode.",
        "power": "Mechanical power from the onset of the fault to the end of the episode.",
    }
    yield from (html.image(figure_files[name], caption) for name, caption in captions.items() if name in figure_files)
    if study.arms:
        head = ["median time to the fall", *(arm.variant.title for arm in study.arms)]
        rows = [
            [PLACES.get(joint) or str(joint), *(_fall(arm, joint) for arm in study.arms)]
            for joint in (*study.joints, None)
        ]
        yield html.table(head, rows)
        text = "From the onset, over the episodes that ended in a fall; of several seeds the median of theirs."
        yield html.paragraph(text, "quiet")


def _fall(arm: Arm, joint: str | None) -> str:
    seconds = arm.fall_s(joint)
    return "no fall" if seconds is None else f"{seconds:.1f} s"


def _detector(sources: list[Source]) -> Iterator[str]:
    all_rows = list(detection.detector_rows(sources))
    for stage, place in detection.PLACES.items():
        stage_rows = [row for row in all_rows if row.stage == stage]
        if not stage_rows:
            continue
        names = [name for name in detection.COLUMNS if any(name in row.figures for row in stage_rows)]
        rows = [
            [f"{BASELINES.get(row.name, row.name)}\n{row.view}", *(number(row.figures.get(n)) for n in names)]
            for row in stage_rows
        ]
        seeds = max(row.seeds for row in stage_rows)
        yield html.paragraph(f"On {place}; {seeds} {'seed' if seeds == 1 else 'seeds'}")
        yield html.table(["detector", *(detection.COLUMNS[n] for n in names)], rows)
    views: dict[str, str] = next((s.result["views"] for s in sources if s.result.get("views")), {})
    if views:
        yield html.paragraph("; ".join(f"{name}: {meaning}" for name, meaning in views.items()), "quiet")
    for source in sources[:1] + [s for s in sources if s.stage == "evaluate"][:1]:
        for path in source.figures():
            yield html.image(path, f"{path.stem.replace('_', ' ')}, {source.name} (seed {source.training_seed})")


def _dataset(source: Source) -> Iterator[str]:
    card, result = source.card, CollectResult.from_dict(source.result)
    yield html.paragraph(
        f"{source.name}: {card.rows} frames in {card.episodes.count} episodes, {card.healthy_share:.0%} of the "
        f"frames healthy; {card.episodes.terminated} episodes ended in a fall."
    )
    splits = card.by_split or {}
    rows = [
        [name, str(card.episodes_by_class[name]), *(str(part.episodes[name]) for part in splits.values())]
        for name in (HEALTHY, *card.classes)
    ]
    yield html.table(["class", "episodes", *splits], rows)
    if result.problems:
        yield html.paragraph("Failed quality checks:")
        yield html.bullet_list(result.problems)
    else:
        yield html.paragraph("All quality checks passed.")
    gate = result.gate
    if gate is not None and gate.short:
        short = "; ".join(gate.short)
        yield html.paragraph(f"Its policy failed the task's policy check ({short}); accepted: {gate.accept}")
    yield from (html.image(path, path.stem.replace("_", " ")) for path in source.figures())


def _missing(study: Study) -> Iterator[str]:
    if study.arms and study.missing:
        yield html.paragraph("Not evaluated in these runs:")
        yield html.bullet_list(f"{variant.title}: {variant.fault_info}" for variant in study.missing)


def lineage(run: Run, figure_file: Path) -> Iterator[str]:
    """Yield the lineage of the runs as a figure and as text."""
    from regimen.runs.history.lineage import Lineage
    from regimen.runs.history.lineage_text import tree
    from regimen.runs.index import summary

    yield html.image(figure_file, "Lineage of the runs.", wide=True)
    own = summary.read(str(run.dir))
    if own is not None:
        yield html.preformatted("\n".join(tree(own, *Lineage.known().graph(own))))


def draw_lineage(run: Run, out: Path) -> Path:
    """Draw the lineage of the runs of a report, without the report itself; return the figure file.

    Args:
        run: the run of the report.
        out: PNG to write.
    """
    from regimen.runs.history import lineage
    from regimen.runs.history.lineage import Lineage
    from regimen.runs.index import summary

    own = summary.read(str(run.dir))
    assert own is not None
    relatives, links = Lineage.known().graph(own)
    del relatives[own.id]
    lineage.draw(out, own, relatives, [link for link in links if link.child != own.id])
    return out


def runs(sources: Sources) -> str:
    """Return the table of all runs of a report."""
    rows = [
        [source.name, source.id, source.stage, str(source.training_seed), duration(source.wall_s)]
        for source in sources.all
    ]
    return html.table(["run", "id", "stage", "seed", "wall time"], rows)


def _percent(figure: Figure | None) -> str:
    """Return a share in percent, with its interval in a second line."""
    if figure is None:
        return "–"
    return f"{figure.value:.0%}\n{figure.low:.0%} … {figure.high:.0%}"


def _points(figure: Figure) -> str:
    return f"{figure.value:+.0f}\n{figure.low:+.0f} … {figure.high:+.0f}"


def number(figure: Figure | None) -> str:
    """Return a figure with its interval in a second line."""
    if figure is None:
        return "–"
    return f"{figure.value:.3g}\n{figure.low:.3g} … {figure.high:.3g}"
