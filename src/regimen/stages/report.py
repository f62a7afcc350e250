"""The stage that makes one page of several runs: `runs=[…]`, their results compared, shown and told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from regimen.run import Run
    from regimen.schema import Config


@dataclass
class ReportCfg:
    """Make `report/report.html` of `runs`, with its pictures and numbers beside it; with `video=true` a film, too.

    Attributes:
        title: heading of the page.
        video_seconds: length of the film of two policies with the same broken joint.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("runs",)
    _target_: str = "regimen.stages.report.Report"
    title: str = "Joint failures: who survives, and what it takes"
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
        """Read the runs, draw, film if asked, and write the page."""
        from regimen.reports.faults import FaultReport

        report = FaultReport(run, config, self.cfg.title)
        if config.video:
            report.film(self.cfg.video_seconds)
        run.finish(report.headline(), report.write())
