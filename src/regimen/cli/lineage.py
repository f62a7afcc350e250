"""`regimen lineage`: the parents and children of a run, as a text tree and as a figure."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from regimen.runs.history.lineage import Family
from regimen.runs.history.lineage_text import tree
from regimen.runs.history.run_view import see
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
