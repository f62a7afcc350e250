"""`regimen lineage`: what a run was made from, and what was made from it, as a tree and as a picture."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from regimen.display.formatting import figure
from regimen.runs.history.lineage import FILE, Family, Link
from regimen.runs.history.run_view import see
from regimen.runs.index.summary import RunSummary
from regimen.system.errors import ConfigError

PICTURES = (".svg", ".png", ".pdf")


def require_picture(out: Path | None) -> None:
    """Refuse a file that no picture can be written to, before the work that it would take.

    Args:
        out: as typed, None where nothing was.

    Raises:
        ConfigError: it has another ending, or stands where nothing may be written.
    """
    if out is None:
        return
    if out.suffix not in PICTURES:
        raise ConfigError(f"--out {out}: expected a file ending in {', '.join(PICTURES)}.")
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if out.is_dir() or not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: cannot be written there. Name a file in a folder of yours.")


def lineage_verb(argv: list[str]) -> int:
    """Print the family of a run, or draw it: `regimen lineage <run> [--out lineage.svg]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen lineage", description="What a run was made from, and led to.")
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--out", type=Path, help="draw it, too: a file ending in .svg, .png or .pdf")
    args = parser.parse_args(argv)
    require_picture(args.out)
    run = see(args.run).row
    relatives, links = Family.known().graph(run)
    print("\n".join(tree(run, relatives, links)))
    if args.out:
        from regimen.runs.history.lineage_figure import draw

        draw(args.out, run, relatives, links)
        print(f"\n{args.out}")
    return 0


def tree(run: RunSummary, relatives: dict[str, RunSummary], links: list[Link]) -> Iterator[str]:
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
    if run.status == FILE:
        return os.path.relpath(run.id)
    named = f"{run.name} ({run.id})" if run.name else run.id
    return "  ".join(filter(None, [named, run.stage, run.status, headline(run)]))


def headline(run: RunSummary) -> str:
    """Return the first headline figure of a run, empty where it has none."""
    return next((f"{name} {figure(value)}" for name, value in run.headline.items() if value is not None), "")


def _branches(
    node: str, relatives: dict[str, RunSummary], links: list[Link], up: bool, indent: str, shown: set[str]
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


def _ends(node: str, links: list[Link], up: bool) -> dict[str, list[Link]]:
    """Return what a node is linked with in one direction, and through what."""
    ends: dict[str, list[Link]] = {}
    for link in links:
        near, far = (link.child, link.parent) if up else (link.parent, link.child)
        if near == node:
            ends.setdefault(far, []).append(link)
    return ends


def _through(links: list[Link]) -> str:
    """Return the inputs that connect two runs, with what happened to their files."""
    parts = [f"{link.label}{f' [{link.state}]' if link.broken else ''}" for link in links if link.label]
    return f"{', '.join(parts)}: " if parts else ""
