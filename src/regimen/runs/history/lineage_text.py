"""Parents and children of a run as a text tree."""

from __future__ import annotations

import os
from collections.abc import Iterator

from regimen.runs.history.lineage import FILE, ParentLink, headline, state
from regimen.runs.index.summary import RunSummary


def tree(run: RunSummary, relatives: dict[str, RunSummary], links: list[ParentLink]) -> Iterator[str]:
    """Yield the lines of two trees, upwards and downwards from `run`.

    Args:
        run: the run.
        relatives: id -> its ancestors and descendants, itself included.
        links: between them.
    """
    yield describe(run)
    for title, up in (("made from", True), ("went into", False)):
        lines = list(_branches(run.id, relatives, links, up, "", set()))
        yield ""
        yield title if lines else f"{title}: nothing"
        yield from lines


def describe(run: RunSummary) -> str:
    """Return a run in one line: name, id, stage, status and its first headline figure; a file by its path."""
    if state(run) == FILE:
        return os.path.relpath(run.id)
    named = f"{run.name} ({run.id})" if run.name else run.id
    return "  ".join(filter(None, [named, run.stage, state(run), headline(run)]))


def _branches(
    node: str, relatives: dict[str, RunSummary], links: list[ParentLink], up: bool, indent: str, shown: set[str]
) -> Iterator[str]:
    """Yield the lines below a node; what was shown before is not unfolded again, so that circles end."""
    shown.add(node)
    ends = _ends(node, links, up)
    for number, (far, through) in enumerate(ends.items(), 1):
        last = number == len(ends)
        again = "  (see above)" if far in shown and _ends(far, links, up) else ""
        yield f"{indent}{'└─' if last else '├─'} {_through(through)}{describe(relatives[far])}{again}"
        if not again:
            yield from _branches(far, relatives, links, up, indent + ("   " if last else "│  "), shown)


def _ends(node: str, links: list[ParentLink], up: bool) -> dict[str, list[ParentLink]]:
    """Return what a node is linked with in one direction, and through what."""
    ends: dict[str, list[ParentLink]] = {}
    for link in links:
        near, far = (link.child, link.parent) if up else (link.parent, link.child)
        if near == node:
            ends.setdefault(far, []).append(link)
    return ends


def _through(links: list[ParentLink]) -> str:
    """Return the inputs that connect two runs, with what happened to their files."""
    parts = [f"{link.label}{f' [{link.state}]' if link.broken else ''}" for link in links if link.label]
    return f"{', '.join(parts)}: " if parts else ""
