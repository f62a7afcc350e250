"""Lineage of runs: the parents and children of each run, and the files that connect them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regimen.display.formatting import figure
from regimen.display.graph_figure import BAD, COLORS, QUIET, Arrow, Box
from regimen.display.graph_figure import draw as draw_graph
from regimen.runs.history.run_view import CHANGED, GONE, file_state
from regimen.runs.index import liveness, summary
from regimen.runs.index.index import Index
from regimen.runs.index.summary import RunSummary
from regimen.runs.record import read_record

FILE = "file"
"""State of an input that no run made, such as a pretrained policy; its id is its path."""


@dataclass(frozen=True)
class ParentLink:
    """One thing that a run took from another.

    Attributes:
        parent: id of the run it was taken from, or the path of a file that no run made.
        child: id of the run that took it.
        label: name of the input and the file, such as `policy best.pt`.
        state: of the file, see `seen.file_state`; empty where no file is known.
    """

    parent: str
    child: str
    label: str = ""
    state: str = ""

    @property
    def broken(self) -> bool:
        """Whether the child's input is no longer what it was."""
        return self.state in (CHANGED, GONE)


class Lineage:
    """All runs that are known, by what they were made from."""

    def __init__(self, rows: Sequence[RunSummary]) -> None:
        """Args: rows: all known runs."""
        self._rows = {run.id: run for run in rows}
        self._children: dict[str, list[str]] = {}
        for run in rows:
            for parent in dict.fromkeys([*run.parents, *(_source(run, name) for name in run.inputs)]):
                self._children.setdefault(parent, []).append(run.id)

    @classmethod
    def known(cls) -> Lineage:
        """Return the family of all runs that the index finds."""
        return cls(Index().rows())

    def parents(self, run: RunSummary) -> list[RunSummary]:
        """Return what a run was made from: runs, files of no run, and what is gone."""
        return [self._find(parent, run) for parent in dict.fromkeys(link.parent for link in links_of(run))]

    def children(self, run: RunSummary) -> list[RunSummary]:
        """Return the known runs that were made from a run, oldest first."""
        return [self._rows[child] for child in sorted(self._children.get(run.id, [])) if child != run.id]

    def graph(self, run: RunSummary) -> tuple[dict[str, RunSummary], list[ParentLink]]:
        """Return all ancestors and descendants of a run, itself included, with their links; circles do no harm.

        Args:
            run: whose family it is.
        """
        relatives, links = {run.id: run}, dict[ParentLink, None]()
        todo = [run]
        while todo:  # up
            child = todo.pop()
            links |= dict.fromkeys(links_of(child))
            for parent in self.parents(child):
                if parent.id not in relatives:
                    relatives[parent.id] = parent
                    todo.append(parent)
        below, todo = {run.id}, [run]
        while todo:  # down
            source = todo.pop()
            for relative in self.children(source):
                links |= dict.fromkeys(link for link in links_of(relative) if link.parent == source.id)
                relatives.setdefault(relative.id, relative)
                if relative.id not in below:
                    below.add(relative.id)
                    todo.append(relative)
        return relatives, list(links)

    def _find(self, parent: str, child: RunSummary) -> RunSummary:
        """Return a run by its id, or by the files that `child` took from it, wherever they lie."""
        if parent in self._rows:
            return self._rows[parent]
        for taken in child.inputs.values():
            if taken.path == parent:
                return RunSummary(parent, unreadable=FILE if Path(parent).exists() else GONE)
            folder = next((folder for folder in Path(taken.path).parents if _is_run(folder, parent)), None)
            found = summary.read(str(folder)) if folder else None
            if found is not None:
                found.id = parent
                liveness.judge([found])
                return found
        return RunSummary(parent, unreadable=GONE)


def _is_run(folder: Path, run_id: str) -> bool:
    """Return whether a folder is a run of this id, or was: a pretrained policy stands in a folder of another name."""
    record = read_record(folder)
    return folder.name == run_id or (record is not None and record.id == run_id)


def links_of(run: RunSummary) -> list[ParentLink]:
    """Return what a run took, and from where; parents named without a file come last."""
    found = []
    for name, taken in run.inputs.items():
        path = Path(taken.path)
        now = file_state(path, taken.sha256, run.started)
        found.append(ParentLink(_source(run, name), run.id, f"{name} {path.name}", now))
    for name, reference in run.pending.items():
        folder, _, which = reference.rpartition("@")
        found.append(ParentLink(Path(folder or which).name, run.id, f"{name} @{which}" if folder else name))
    named = {link.parent for link in found}
    return found + [ParentLink(parent, run.id) for parent in run.parents if parent not in named]


def _source(run: RunSummary, name: str) -> str:
    """Return the id of the run that made an input, or its path where no run is known to have made it."""
    taken = run.inputs[name]
    if taken.run:
        return taken.run
    folders = [folder.name for folder in Path(taken.path).parents]
    return next((parent for parent in run.parents if parent in folders), taken.path)


def state(run: RunSummary) -> str:
    """Return the status of a run; `FILE` or `GONE` for a parent that is no run, or no run any more."""
    return run.unreadable if run.unreadable in (FILE, GONE) else run.status


def headline(run: RunSummary) -> str:
    """Return the first headline figure of a run, empty where it has none."""
    return next((f"{name} {figure(value)}" for name, value in run.headline.items() if value is not None), "")


def draw(out: Path, run: RunSummary, relatives: dict[str, RunSummary], links: list[ParentLink]) -> None:
    """Draw the family.

    Args:
        out: file to write; its ending says the format.
        run: whose family it is; its box is filled.
        relatives: id -> run.
        links: between them; those whose file changed or is gone are red.
    """
    draw_graph(out, [_box(relative, run) for relative in relatives.values()], [_arrow(link) for link in links])


def _box(run: RunSummary, chosen: RunSummary) -> Box:
    if state(run) == FILE:
        path = Path(run.id)
        return Box(run.id, path.name, [os.path.relpath(path.parent)], QUIET)
    title = run.name or " ".join(filter(None, [run.stage, run.task])) or GONE
    text = " · ".join(filter(None, [run.stage, state(run), headline(run)]))
    return Box(run.id, title, [run.id, text], COLORS.get(state(run), BAD), run.id == chosen.id, state(run) == GONE)


def _arrow(link: ParentLink) -> Arrow:
    if link.broken:
        return Arrow(link.parent, link.child, f"{link.label}\n{link.state}", BAD)
    return Arrow(link.parent, link.child, link.label)
