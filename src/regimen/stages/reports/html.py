"""The files of a report: a self-contained HTML page, readable on a phone without scripts, and its numbers."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.system import files

if TYPE_CHECKING:
    from regimen.runs.run import Run
    from regimen.system.json_data import Json

TYPES = {".png": "image/png", ".gif": "image/gif", ".svg": "image/svg+xml"}

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 62rem; margin: 0 auto;
  padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
p, li { max-width: 46rem; } .quiet, figcaption { color: #666; font-size: .85rem; }
nav a { margin-right: .9rem; white-space: nowrap; } a { color: #2b5ca8; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e2e2e2; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } td small { color: #666; display: block; }
figure { margin: 1rem 0; } summary { padding: .3rem 0; } img { max-width: 100%; height: auto; }
.wide img { max-width: none; width: 90rem; }
pre { font-size: .8rem; background: #f6f6f6; padding: .7rem; overflow-x: auto; }
.lead { font-size: 1.1rem; }
"""


@dataclass
class Section:
    """Section of the page.

    Attributes:
        title: the heading.
        parts: HTML, in order.
    """

    title: str
    parts: list[str] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """Anchor of links to the section."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


def page(title: str, lead: Iterable[str], sections: Sequence[Section]) -> str:
    """Return the complete page.

    Args:
        title: heading.
        lead: HTML above the sections.
        sections: sections without parts are omitted.
    """
    shown = [section for section in sections if section.parts]
    links = "".join(f'<a href="#{s.anchor}">{escape(s.title)}</a>' for s in shown)
    body = [f"<h1>{escape(title)}</h1>", *lead, f"<nav>{links}</nav>"]
    for section in shown:
        body += [f'<h2 id="{section.anchor}">{escape(section.title)}</h2>', *section.parts]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    content = "\n".join(body)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n'
        f"<body>\n{content}\n</body>\n</html>\n"
    )


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph of plain text; `kind` is a CSS class."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def preformatted(text: str) -> str:
    """Return preformatted text."""
    return f"<pre>{escape(text)}</pre>"


def bullet_list(rows: Iterable[str]) -> str:
    """Return a bullet list of plain texts."""
    items = "".join(f"<li>{escape(row)}</li>" for row in rows)
    return f"<ul>{items}</ul>"


def details(title: str, content: str) -> str:
    """Return collapsed HTML with a summary line."""
    return f"<details><summary>{escape(title)}</summary>{content}</details>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain texts; wide tables scroll, and the second line of a cell is small."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: str) -> str:
    first, _, second = text.partition("\n")
    below = f"<small>{escape(second)}</small>" if second else ""
    return f"<td>{escape(first)}{below}</td>"


def image(path: Path, caption: str, wide: bool = False) -> str:
    """Return an embedded image with a caption; a wide one scrolls on a small screen."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    image = f'<img src="data:{TYPES[path.suffix]};base64,{data}" alt="{escape(caption, quote=True)}">'
    kind = ' class="wide"' if wide else ""
    return f"<figure{kind}>{image}<figcaption>{escape(caption)}</figcaption></figure>"


FOLDER = "report"


KINDS = {".html": "page", ".json": "table", ".png": "figure", ".gif": "figure", ".mp4": "video"}
"""Suffix -> kind of the artifact."""


def report_dir(run: Run) -> Path:
    """Return the directory of the report, created if missing."""
    folder = run.dir / FOLDER
    folder.mkdir(exist_ok=True)
    return folder


def write_report(
    run: Run, title: str, lead: Iterable[str], sections: Sequence[Section], numbers: Mapping[str, Any]
) -> Json:
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
    (folder / "report.html").write_text(page(title, lead, sections), encoding="utf-8")
    files.write_json(folder / "report.json", plain)
    for path in sorted(folder.iterdir()):
        run.artifact(path, KINDS[path.suffix])
    print(f"report: {folder / 'report.html'}", flush=True)
    return {"report": f"{FOLDER}/report.html", **plain}
