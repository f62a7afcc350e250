"""Text of `dry_run=true`: options, resources, inputs, and the source of each value that is not a default."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.provenance import ABSENT, REMOVED
from regimen.config.yaml_io import PlainConfig
from regimen.display.formatting import table
from regimen.orchestration.preflight_report import PreflightReport
from regimen.runs.create import id_words
from regimen.system import host
from regimen.system.files import display_path

WIDTH = 12
GIB = 2**30


def describe(composed: ComposedConfig, report: PreflightReport, where: Path) -> str:
    """Return the text for one run.

    Args:
        composed: checked configuration.
        report: preflight report.
        where: pattern of the run directory.
    """
    hardware, choices = composed.config.hardware, composed.choices
    lines = [_row(group, f"{choices[group]:<14}{display_path(composed.files[group])}") for group in choices]
    lines += [
        _row("device", f"{hardware.device}, {hardware.num_threads()} threads"),
        _row("python", f"{host.interpreter(composed.plain)} -m regimen.runs.worker"),
        _row("directory", str(where)),
        *(_row(name, text) for name, text in _memory(report).items()),
        _row("disk", f"{report.disk_free / 1e9:.1f} GB free"),
    ]
    lines += [_row(name, display_path(path)) for name, path in report.inputs.items()] or [_row("inputs", "none")]
    lines += [_row("warning", text) for text in report.warnings]
    return "\n".join([*lines, "", *changes(composed)])


def describe_sweep(jobs: list[ComposedConfig], reports: list[PreflightReport], where: Path) -> str:
    """Return the text for a sweep: its jobs, then the first of them in full.

    Args:
        jobs: checked configurations.
        reports: preflight report of each job.
        where: pattern of a job's directory.
    """
    shared = set.intersection(*(set(job.overrides) for job in jobs))
    at_once = jobs[0].config.hardware.max_jobs
    largest = max(report.estimate.main_bytes for report in reports) / 2**30
    lines = [f"A sweep of {len(jobs)} jobs, {at_once} at once:"]
    for number, job in enumerate(jobs):
        lines.append(f"  {number:03d}  {' '.join(o for o in job.overrides if o not in shared)}")
    lines += ["", _row("memory", f"about {largest:.2f} GiB for the largest job")]
    return "\n".join([*lines, "", "The first job:", describe(jobs[0], reports[0], where)])


def changes(composed: ComposedConfig) -> list[str]:
    """Return one line for each value that an experiment or an argument sets, with its source."""
    rows = [
        (
            path,
            _value(value) if default is ABSENT else f"{_value(value)}  (was {_value(default)})",
            source.location(path),
        )
        for path, value, source, default in composed.tree.changed()
        if path not in ("dry_run", "choices")
    ]
    if not rows:
        return ["All values are the defaults of the options above."]
    return ["Values that are not the defaults of the options above:", *table(rows, indent="  ")]


def _row(name: str, text: str) -> str:
    return f"{name:<{WIDTH}}{text}"


def _memory(report: PreflightReport) -> dict[str, str]:
    """Return the lines about main memory and GPU memory: name -> text."""
    estimate = report.estimate
    if not estimate.main:
        unknown = f"{report.available / GIB:.1f} GiB available; the use of this task is not known in advance"
        return {"memory": unknown}
    lines = {"memory": _parts(estimate.main, estimate.workers, report.available)}
    if estimate.gpu:
        lines["GPU memory"] = _parts(estimate.gpu, 1, report.gpu_available)
    return lines


def _parts(parts: dict[str, int], workers: int, available: int | None) -> str:
    """Return total, available memory and the parts of one worker as text."""
    total, rows = sum(parts.values()) * workers, table([(name, f"{size / GIB:.2f}") for name, size in parts.items()])
    of = "" if available is None else f" of {available / GIB:.1f} GiB available"
    each = f", in each of {workers} processes" if workers > 1 else ""
    heading = f"about {total / GIB:.2f}{of}; GiB by part{each}:"
    return "\n".join([heading, *(" " * WIDTH + row for row in rows)])


def _value(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= 40 else text[: 40 - 1] + "…"


def _text(value: Any) -> str:
    """Return a value as on the command line, with spaces."""
    if value is REMOVED:
        return "removed"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(below)}' for key, below in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def run_directory(root: Path, config: PlainConfig) -> Path:
    """Return the pattern of the directory under `root` of a run of a resolved configuration."""
    return Path(os.path.relpath(root)) / "-".join(["<time>", *id_words(config), "<4 hex>"])
