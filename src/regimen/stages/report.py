"""The stage that makes one page of several runs: `runs=[…]`, their results compared, shown and told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.run import Run


@dataclass
class ReportCfg:
    """Make `report/report.html` of `runs`, with its pictures and numbers beside it.

    Evaluations over faults, detectors and datasets give the report of a study of failures, with `video=true` a film,
    too; evaluations without faults a comparison of the policies and of the trainings that made them.

    Attributes:
        title: heading of the page; null: by what is reported.
        video_seconds: length of the film of two policies with the same broken joint.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("runs",)
    _target_: str = "regimen.stages.report.Report"
    title: str | None = None
    video_seconds: float = 10.0

    def problems(self, config: dict[str, Any]) -> list[str]:
        """Return what is wrong with this stage on the run's plain `config`, one line each."""
        lines = [] if config.get("runs") else ["needs runs to read: runs=[<run reference>,…]."]
        if self.video_seconds <= 0:
            lines.append(f"video_seconds={self.video_seconds:g}: expected more than 0 s.")
        return lines

    def num_envs(self, config: dict[str, Any]) -> int:
        """Return how many environments are open at once."""
        return 1


class Report:
    """Makes one report; see `ReportCfg`."""

    def __init__(self, cfg: ReportCfg) -> None:
        """Keep the stage's settings."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Read the runs, draw, film if asked, and write the page.

        Raises:
            ConfigError: none of the runs says anything that could be reported, or what they say cannot be compared.
        """
        from regimen.stages.reports import fault_report, policy_report
        from regimen.stages.reports.sources import Sources

        sources = Sources.read([Path(path) for path in config.runs])
        if any((sources.fault_evaluations, sources.detectors, sources.datasets)):
            report = fault_report.FaultReport(run, sources, self.cfg.title or fault_report.TITLE)
            if config.video:
                report.film(self.cfg.video_seconds)
            run.finish(report.headline(), report.write())
        elif sources.evaluations:
            comparison = policy_report.PolicyReport(run, sources, self.cfg.title)
            run.finish(comparison.headline(), comparison.write())
        else:
            raise ConfigError(
                "runs: none of them is an evaluation (stage=evaluate, with or without stage.faults=true), a detector "
                "(stage=distill, or its evaluation) or a dataset (stage=collect): there is nothing to report."
            )
