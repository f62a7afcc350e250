"""The parts of the page of a study of joint failures: each a heading with tables, pictures and words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.display.formatting import duration
from regimen.display.intervals import Figure
from regimen.stages.reports import detection, html
from regimen.stages.reports.fault_study import FaultStudy
from regimen.stages.reports.figures import PLACES
from regimen.stages.reports.html import Section
from regimen.stages.reports.sources import Source, Sources
from regimen.stages.reports.survival import Arm, Study
from regimen.stages.reports.variants import TOLERANT
from regimen.system import files

if TYPE_CHECKING:
    from regimen.runs.run import Run

BASELINES = {
    "detector": "detector",
    "majority": "majority class",
    "one_frame": "one-frame network",
    "torque_threshold": "torque threshold",
}


def all_sections(data: FaultStudy, drawn: Mapping[str, Path]) -> list[Section]:
    """Return the sections in reading order.

    Args:
        data: runs of the study and their comparison.
        drawn: name -> picture.
    """
    return [
        Section("Comparison", list(_comparison(data))),
        Section("Survival", list(_survival(data.study, drawn))),
        Section("Film", list(_film(data))),
        Section("Walking", list(_walking(data.study, drawn))),
        Section("Detector", list(_detector(data.sources.detectors))),
        Section("Data", [part for source in data.sources.datasets for part in _dataset(source)]),
        Section("Not in this study", list(_missing(data.study))),
        Section("Lineage", list(lineage(data.run, drawn["lineage"]))),
        Section("Runs", [runs(data.sources)]),
    ]


def summary(data: FaultStudy) -> Iterator[str]:
    """Yield the answer in a few sentences."""
    tolerant = next((c for c in data.comparisons if c.variant is TOLERANT), None)
    arm, healthy = data.study.arm(TOLERANT), data.study.arms[:1]
    if tolerant is not None and arm is not None:
        mine, base = (_in_words(_percent(a.survival())) for a in (arm, healthy[0]))
        words = (
            f"With one leg joint broken, the tolerant policy stays up to the end of {mine} of the episodes, the "
            f"healthy one of {base}: {_in_words(_points(tolerant.gain))} points."
        )
        words += f" That is {_in_words(_percent(tolerant.share))} of what an oracle gains." if tolerant.share else ""
        yield html.paragraph(words, "lead")
    elif data.study.arms:
        yield html.paragraph("No comparison of a tolerant policy with the healthy one is among these runs.", "lead")
    conditions = {_conditions(source) for source in data.sources.fault_evaluations}
    yield from (html.paragraph(words, "quiet") for words in sorted(conditions))


def _in_words(cell: str) -> str:
    """Return a figure with its interval in brackets, instead of in a line of its own."""
    first, _, second = cell.partition("\n")
    return f"{first} ({second})" if second else first


def _conditions(source: Source) -> str:
    told = source.result
    return (
        f"Episodes of {told['episode_length_s']:g} s, one joint broken from {told['onset_s']:g} s on, command "
        f"{told['command']}; task {told['task']}."
    )


def _comparison(data: FaultStudy) -> Iterator[str]:
    if not data.comparisons:
        return
    rows = []
    for arm in data.study.arms:
        found = next((c for c in data.comparisons if c.variant is arm.variant), None)
        gain, part = (_points(found.gain), _percent(found.share)) if found else ("–", "–")
        seeds = str(len(arm.sources))
        rows.append(
            [
                arm.variant.title,
                arm.variant.told,
                seeds,
                _percent(arm.survival("")),
                _percent(arm.survival()),
                gain,
                part,
            ]
        )
    head = ["policy", "told of faults", "seeds", "none broken", "any broken", "gain, points", "share of oracle's gain"]
    yield html.table(head, rows)
    yield html.paragraph(
        "Survival is the share of episodes without a fall, over all joints and severities. In small: 95 % intervals; "
        "of one seed Wilson's over its episodes, of several the bootstrap of the interquartile mean over seeds. A "
        "share of the oracle's gain is given where that gain is above zero beyond doubt.",
        "quiet",
    )


def _survival(study: Study, drawn: Mapping[str, Path]) -> Iterator[str]:
    if not study.arms:
        return
    yield html.image(drawn["survival"], "Survival by broken joint, over all severities.")
    if "severity" in drawn:
        yield html.image(drawn["severity"], "Survival over severity.")
    head = ["broken", *(arm.variant.title for arm in study.arms)]
    for level in study.levels:
        rows = [
            [
                f"{joint}\n{study.severities[joint][level]:g}",
                *(_percent(arm.survival(joint, level)) for arm in study.arms),
            ]
            for joint in study.joints
        ]
        rows.append(["any", *(_percent(arm.survival(None, level)) for arm in study.arms)])
        yield html.details(f"{study.label(level)}, under each joint what is left of it", html.table(head, rows))


def _film(data: FaultStudy) -> Iterator[str]:
    gif = next((path for path in data.videos if path.suffix == ".gif"), None)
    if gif is not None:
        yield html.image(gif, "The same command, the same seed, the same broken joint. side_by_side.mp4 is sharper.")


def _walking(study: Study, drawn: Mapping[str, Path]) -> Iterator[str]:
    captions = {
        "lin_vel_error": "Error of the velocity from the onset of the fault to the end of the episode.",
        "power": "Mechanical power from the onset of the fault to the end of the episode.",
    }
    yield from (html.image(drawn[name], words) for name, words in captions.items() if name in drawn)
    if study.arms:
        head = ["median time to the fall", *(arm.variant.title for arm in study.arms)]
        rows = [
            [PLACES.get(joint) or str(joint), *(_fall(arm, joint) for arm in study.arms)]
            for joint in (*study.joints, None)
        ]
        yield html.table(head, rows)
        yield html.paragraph("From the onset, of the episodes that ended in a fall.", "quiet")


def _fall(arm: Arm, joint: str | None) -> str:
    seconds = arm.fall_s(joint)
    return "no fall" if seconds is None else f"{seconds:.1f} s"


def _detector(sources: list[Source]) -> Iterator[str]:
    found = list(detection.detector_rows(sources))
    for stage, place in detection.PLACES.items():
        mine = [row for row in found if row.stage == stage]
        if not mine:
            continue
        names = [name for name in detection.COLUMNS if any(name in row.figures for row in mine)]
        rows = [
            [f"{BASELINES.get(row.name, row.name)}\n{row.view}", *(number(row.figures.get(n)) for n in names)]
            for row in mine
        ]
        seeds = max(row.seeds for row in mine)
        yield html.paragraph(f"On {place}; {seeds} {'seed' if seeds == 1 else 'seeds'}")
        yield html.table(["detector", *(detection.COLUMNS[n] for n in names)], rows)
    views: dict[str, str] = next((s.result["views"] for s in sources if s.result.get("views")), {})
    if views:
        yield html.paragraph("; ".join(f"{name}: {words}" for name, words in views.items()), "quiet")
    for source in sources[:1] + [s for s in sources if s.stage == "evaluate"][:1]:
        for path in source.figures():
            yield html.image(path, f"{path.stem.replace('_', ' ')}, {source.name} (seed {source.training_seed})")


def _dataset(source: Source) -> Iterator[str]:
    card = files.read_json(source.folder / "data" / "card.json") or {}
    problems = source.result.get("problems") or []
    episodes = card["episodes"]
    yield html.paragraph(
        f"{source.name}: {card['rows']} frames in {episodes['count']} episodes, {card['healthy_share']:.0%} of the "
        f"frames healthy; {episodes['terminated']} episodes ended in a fall."
    )
    splits: dict[str, Any] = card.get("by_split") or {}
    rows = [
        [name, str(card["episodes_by_class"][name]), *(str(part["episodes"][name]) for part in splits.values())]
        for name in ("healthy", *card["classes"])
    ]
    yield html.table(["class", "episodes", *splits], rows)
    if problems:
        yield html.paragraph("The gates object:")
        yield html.bullet_list(problems)
    else:
        yield html.paragraph("The gates have nothing against it.")
    gate = source.result.get("gate") or {}
    if gate.get("short"):
        short = "; ".join(gate["short"])
        yield html.paragraph(f"Its policy did not pass the task's gate ({short}); taken nevertheless: {gate['accept']}")
    yield from (html.image(path, path.stem.replace("_", " ")) for path in source.figures())


def _missing(study: Study) -> Iterator[str]:
    if study.arms and study.missing:
        yield html.paragraph("Not evaluated in these runs, so nothing is said of them:")
        yield html.bullet_list(f"{variant.title}: told {variant.told}" for variant in study.missing)


def lineage(run: Run, drawn: Path) -> Iterator[str]:
    """Yield what each run was made from, as `draw_lineage` drew it and in words."""
    from regimen.runs.history.lineage import Family
    from regimen.runs.history.lineage_text import tree
    from regimen.runs.index import summary

    yield html.image(drawn, "What each run was made from.", wide=True)
    mine = summary.read(str(run.dir))
    if mine is not None:
        yield html.preformatted("\n".join(tree(mine, *Family.known().graph(mine))))


def draw_lineage(run: Run, out: Path) -> Path:
    """Draw what a report was made from, without itself, to which all would lead; return the picture.

    Args:
        run: the report's own.
        out: PNG to write.
    """
    from regimen.runs.history import lineage_figure
    from regimen.runs.history.lineage import Family
    from regimen.runs.index import summary

    mine = summary.read(str(run.dir))
    assert mine is not None
    relatives, links = Family.known().graph(mine)
    del relatives[mine.id]
    lineage_figure.draw(out, mine, relatives, [link for link in links if link.child != mine.id])
    return out


def runs(sources: Sources) -> str:
    """Return the table of all runs of a report."""
    rows = [
        [source.name, source.id, source.stage, str(source.training_seed), duration(source.wall_s)]
        for source in sources.all
    ]
    return html.table(["run", "id", "stage", "seed", "time worked"], rows)


def _percent(figure: Figure | None) -> str:
    """Return a share in percent, its interval in a second line."""
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
