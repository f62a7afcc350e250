"""Report of the checks before the start of a run, with the resources and files that they find."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from regimen.envs.robots.robot import Robot
from regimen.orchestration.resources import Resources


@dataclass
class PreflightReport:
    """Result of the checks.

    Attributes:
        memory: part -> estimated bytes of one worker.
        available: free memory in bytes.
        disk_free: free bytes on the disk of the run.
        warnings: problems that do not prevent the start.
        inputs: name of an input -> resolved file.
        parents: ids of the runs that the inputs come from.
        references: name of an input -> reference, as typed.
        pending: name of an input -> reference that can be resolved only after another run has finished.
    """

    memory: dict[str, int]
    available: int
    disk_free: int
    warnings: list[str] = field(default_factory=list)
    inputs: dict[str, Path] = field(default_factory=dict)
    parents: list[str] = field(default_factory=list)
    references: dict[str, str] = field(default_factory=dict)
    pending: dict[str, str] = field(default_factory=dict)


@dataclass
class PreflightContext:
    """Values that one check of a run leaves for later ones.

    Attributes:
        root: folder of the run directory.
        resources: of this machine, or requested from a scheduler.
        report: the report, filled in by the checks.
        robot: robot of the task; None for a task without one, or whose robot cannot be loaded.
        patterns_match: whether all patterns of joints, bodies and rewards in the task have a match.
    """

    root: Path
    resources: Resources
    report: PreflightReport
    robot: Robot | None = None
    patterns_match: bool = True
