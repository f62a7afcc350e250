"""Data of the report of a fault study, read by its sections."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.stages.reports.sources import Sources
from regimen.stages.reports.survival import Comparison, Study, compare
from regimen.stages.reports.variants import HEALTHY, ORACLE

if TYPE_CHECKING:
    from regimen.runs.run import Run


@dataclass
class FaultStudy:
    """Runs of a fault study and their comparison.

    Attributes:
        run: the run of the report.
        sources: the runs that the report reads.
        study: the evaluated policies among them.
        comparisons: each kind of policy compared with the healthy one.
        videos: video files of two policies side by side; empty without `video=true`.
    """

    run: Run
    sources: Sources
    study: Study
    comparisons: list[Comparison]
    videos: list[Path] = field(default_factory=list)

    @classmethod
    def of(cls, run: Run, sources: Sources) -> FaultStudy:
        """Sort the policies of `sources` by kind and compare each kind with the healthy policy."""
        study = Study.of(sources.fault_evaluations)
        return cls(run, sources, study, compare(study, HEALTHY, ORACLE))
