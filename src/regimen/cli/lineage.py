"""`regimen lineage`: the parents and children of a run, as a text tree and as a figure."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from regimen.display.formatting import visible
from regimen.runs.history.lineage import Lineage
from regimen.runs.history.lineage_text import tree
from regimen.runs.history.run_view import open_view
from regimen.system.errors import ConfigError

FIGURE_SUFFIXES = (".svg", ".png", ".pdf")


def require_figure_path(out: Path | None) -> None:
    """Raise unless a figure can be written to a path.

    Args:
        out: value of `--out`, None without one.

    Raises:
        ConfigError: the suffix is not supported, or the folder is not writable.
    """
    if out is None:
        return
    if out.suffix not in FIGURE_SUFFIXES:
        raise ConfigError(f"--out {out}: expected a file ending in {', '.join(FIGURE_SUFFIXES)}.")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if out.is_dir() or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"--out {out}: no write permission. Name a file in a folder of yours.")


def lineage_verb(argv: list[str]) -> int:
    """Print or draw the parents and children of a run: `regimen lineage <run> [--out lineage.svg]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen lineage", description="Print the parents and children of a run.")
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--out", type=Path, help="also draw a figure: a file ending in .svg, .png or .pdf")
    args = parser.parse_args(argv)
    require_figure_path(args.out)
    run = open_view(args.run).row
    relatives, links = Lineage.known().graph(run)
    print("\n".join(map(visible, tree(run, relatives, links))))
    if args.out:
        from regimen.runs.history.lineage import draw

        draw(args.out, run, relatives, links)
        print(f"\n{args.out}")
    return 0
