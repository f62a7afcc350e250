"""Differences between two runs in settings, inputs, packages, host, end and headline metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from regimen.display.formatting import duration
from regimen.runs.history.run_view import RunView, settings

HOST = ("name", "system", "cores", "gpus", "python")


def differences(a: RunView, b: RunView) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return section -> name -> (value in a, value in b) of all differences; None for an absent value."""
    hosts = [{key: getattr(run.record.host, key, None) for key in HOST} for run in (a, b)]
    return {
        "settings": differing(settings(a), settings(b)),
        "inputs": differing(_inputs(a), _inputs(b)),
        "packages": differing(a.record.versions, b.record.versions),
        "host": differing(*hosts),
        "run": differing(_end(a), _end(b)),
        "headline": differing(a.headline, b.headline),
    }


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return key -> (value in a, value in b) where they differ, in the order of `a`, then of `b`."""
    return {key: (a.get(key), b.get(key)) for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key)}


def _inputs(run: RunView) -> dict[str, str]:
    """Return input -> start of its checksum; its path does not matter."""
    return {name: f"sha256 {str(entry.sha256)[:12]}" for name, entry in run.inputs.items()}


def _end(run: RunView) -> dict[str, Any]:
    return {
        "status": run.status,
        "resumed": len(run.record.resumed),
        "duration": duration(run.record.wall_s),
        "peak memory (GiB)": run.record.peak_memory_gib,
    }
