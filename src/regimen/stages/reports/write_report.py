"""Write the page and the numbers of a report, and record them as artifacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regimen.stages.reports import html
from regimen.system import files

if TYPE_CHECKING:
    from pathlib import Path

    from regimen.runs.run import Run

FOLDER = "report"
KINDS = {".html": "page", ".json": "table", ".png": "figure", ".gif": "figure", ".mp4": "video"}
"""Suffix -> kind of the artifact."""


def report_dir(run: Run) -> Path:
    """Return the directory of the report, created if missing."""
    folder = run.dir / FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def write_report(
    run: Run, title: str, lead: Iterable[str], sections: Sequence[html.Section], numbers: Mapping[str, Any]
) -> dict[str, Any]:
    """Write `report.html` and `report.json` beside the figures; return the result.

    Args:
        run: the run of the report.
        title: heading of the page.
        lead: HTML above the sections.
        sections: of the page.
        numbers: content of report.json.
    """
    folder = report_dir(run)
    plain = dict(files.plain(numbers))
    (folder / "report.html").write_text(html.page(title, lead, sections), encoding="utf-8")
    files.write_json(folder / "report.json", plain)
    for path in sorted(folder.iterdir()):
        run.artifact(path, KINDS[path.suffix])
    print(f"report: {folder / 'report.html'}", flush=True)
    return {"report": f"{FOLDER}/report.html", **plain}
