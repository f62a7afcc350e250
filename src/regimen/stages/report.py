"""Stage `report`: compare the results of several runs, `runs=[…]`, on one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.runs.run import Run


@dataclass
class ReportCfg:
    """Write `report/report.html` of `runs`, with figures and numbers beside it.

    Fault evaluations, detectors and datasets give the report of a fault study, with a video if `video=true`;
    evaluations without faults give a comparison of the policies and their trainings, for a task with motion clips with
    the distance of each body from them, and with `video=true` pictures of each policy beside the nearest clip.

    Attributes:
        title: heading of the page; null: derived from the content.
        video_seconds: length in s of the video: two policies with the same faulty joint, or policies beside a clip.
    """

    TAKES: ClassVar[tuple[str, ...]] = ("runs",)
    _target_: str = "regimen.stages.report.Report"
    title: str | None = None
    video_seconds: float = 10.0

    def problems(self, config: PlainConfig) -> list[str]:
        """Return the problems of this stage with the run's plain `config`, one line each."""
        lines = [] if config.get("runs") else ["stage=report needs runs: runs=[<run reference>,…]."]
        if self.video_seconds <= 0:
            lines.append(f"video_seconds={self.video_seconds:g}: expected more than 0 s.")
        return lines

    def num_envs(self, config: PlainConfig) -> int:
        """Return the number of envs that are open at once."""
        return 1


class Report:
    """Write one report; see `ReportCfg`."""

    def __init__(self, cfg: ReportCfg) -> None:
        """Store the config of the stage."""
        self.cfg = cfg

    def __call__(self, run: Run, config: Config) -> None:
        """Read the runs, draw figures, record the video of `video=true`, and write the page.

        Raises:
            ConfigError: no run has a reportable result, or the results are not comparable.
        """
        from regimen.stages.reports import fault_report, policy_report
        from regimen.stages.reports.sources import Sources

        sources = Sources.read([Path(path) for path in config.runs])
        if any((sources.fault_evaluations, sources.detectors, sources.datasets)):
            report = fault_report.FaultReport(run, sources, self.cfg.title or fault_report.TITLE)
            if config.video:
                report.record_video(self.cfg.video_seconds)
            run.finish(report.headline(), report.write())
        elif sources.evaluations:
            comparison = policy_report.PolicyReport(run, sources, self.cfg.title)
            if config.video:
                comparison.record_video(self.cfg.video_seconds)
            run.finish(comparison.headline(), comparison.write())
        else:
            raise ConfigError(
                "runs: none of them is an evaluation (stage=evaluate, with or without stage.faults=true), a detector "
                "(stage=distill, or its evaluation) or a dataset (stage=collect)."
            )
