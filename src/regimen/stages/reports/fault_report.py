"""Report of a fault study: comparison, figures, video and HTML page of its runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.display.intervals import Figure
from regimen.stages.reports import detection, figures, sections
from regimen.stages.reports.figures import PLACES
from regimen.stages.reports.html import report_dir, write_report
from regimen.stages.reports.sources import HEALTHY, ORACLE, TOLERANT, Sources
from regimen.stages.reports.survival import Arm, Comparison, FaultStudy, Study

if TYPE_CHECKING:
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

TITLE = "Joint failures: survival by policy, and its cost"
FIGURES = ("lin_vel_error", "power")
"""Metrics drawn by joint beside survival, if measured."""


class FaultReport:
    """Report of a fault study.

    Attributes:
        data: runs of the study and their comparison.
        folder: directory of the report.
    """

    def __init__(self, run: Run, sources: Sources, title: str) -> None:
        """Sort the policies of `sources` by kind; `title` is the heading of the page."""
        self.run, self.title = run, title
        self.data = FaultStudy.of(run, sources)
        self.folder = report_dir(run)

    def headline(self) -> dict[str, float]:
        """Return the headline numbers for run.json."""
        numbers = {f"survival_{arm.variant.key}": _value(arm) for arm in self.data.study.arms}
        numbers |= {f"gain_{c.variant.key}": c.gain.value for c in self.data.comparisons if c.variant is TOLERANT}
        return numbers

    def record_video(self, seconds: float) -> None:
        """Record the healthy policy beside the tolerant one, or beside the oracle; `seconds` is the length."""
        from regimen.stages.reports import side_by_side_video

        healthy, other = self.data.study.arm(HEALTHY), self.data.study.arm(TOLERANT) or self.data.study.arm(ORACLE)
        if healthy is None or other is None:
            self.run.warn("no video: it needs evaluations of a healthy policy and of a tolerant one or an oracle")
            return
        fault = side_by_side_video.fault_of(other.sources[0])
        clips = []
        for arm in (healthy, other):
            self.run.progress(note=f"recording {arm.variant.title}")
            stop = lambda: self.run.check_stop(0, lambda: None)  # noqa: E731
            clips.append(side_by_side_video.record_clip(arm.sources[0], arm.variant.title, fault, seconds, stop))
        self.data.videos = [self.folder / "side_by_side.mp4", self.folder / "side_by_side.gif"]
        side_by_side_video.write(clips, fault, *self.data.videos)

    def write(self) -> Json:
        """Draw all figures, write the page and the numbers; return the result."""
        self.run.progress(note="drawing")
        figure_files = dict(self._draw())
        return write_report(
            self.run,
            self.title,
            sections.summary(self.data),
            sections.all_sections(self.data, figure_files),
            self._numbers(),
        )

    def _draw(self) -> Iterator[tuple[str, Path]]:
        """Draw the figures; yield name and file of each."""
        if self.data.study.arms:
            yield from self._draw_study()
        yield "lineage", sections.draw_lineage(self.run, self.folder / "lineage.png")

    def _draw_study(self) -> Iterator[tuple[str, Path]]:
        study = self.data.study
        figures.survival_by_joint(study, None, self.folder / "survival.png")
        yield "survival", self.folder / "survival.png"
        if len(study.levels) > 1:
            figures.survival_over_severity(study, self.folder / "severity.png")
            yield "severity", self.folder / "severity.png"
            for level in study.levels:
                path = self.folder / f"survival_{level + 1}.png"
                figures.survival_by_joint(study, level, path)
                yield path.stem, path
        for name in FIGURES:
            if any(arm.mean(name) for arm in study.arms):
                path = self.folder / f"{name}.png"
                figures.figure_by_joint(study, name, path)
                yield name, path

    def _numbers(self) -> Json:
        """Return all measured values as plain data for report.json."""
        study = self.data.study
        arms = {
            arm.variant.key: {
                "title": arm.variant.title,
                "runs": [source.id for source in arm.sources],
                "seeds": [source.training_seed for source in arm.sources],
                "survival": list(_survival(arm, study)),
                **{name: _plain(arm.mean(name)) for name in FIGURES},
            }
            for arm in study.arms
        }
        return {
            "format": 1,
            "runs": [source.id for source in self.data.sources.all],
            "policies": arms,
            "comparison": [_comparison(c) for c in self.data.comparisons],
            "not_evaluated": [variant.key for variant in study.missing],
            "detectors": [asdict(row) for row in detection.detector_rows(self.data.sources.detectors)],
        }


def _value(arm: Arm) -> float:
    figure = arm.survival()
    return figure.value if figure else 0.0


def _survival(arm: Arm, study: Study) -> Iterator[Json]:
    for level in (None, *study.levels):
        for joint in (None, "", *study.joints) if level is None else (None, *study.joints):
            if (figure := arm.survival(joint, level)) is not None:
                severity = study.severities[joint][level] if joint and level is not None else None
                fields: Json = {"joint": PLACES.get(joint) or joint, "level": level, "severity": severity}
                if level is None:
                    fields["fall_s"] = arm.fall_s(joint)
                elif joint is not None:  # of all joints at one level no evaluation has the median
                    fields["fall_s"] = arm.fall_s_at(joint, level)
                yield fields | figure.to_dict()


def _comparison(compared: Comparison) -> Json:
    return {
        "policy": compared.variant.key,
        "gain_points": _plain(compared.gain),
        "share_of_oracle": _plain(compared.share),
    }


def _plain(figure: Figure | None) -> dict[str, float] | None:
    return None if figure is None else figure.to_dict()
