"""`regimen show`: configuration, result, files and reasons for doubt of one run, on one screen."""

from __future__ import annotations

import argparse
import json

from regimen.runs.history.run_report import describe, gather
from regimen.runs.history.run_view import open_view
from regimen.system import files


def show_verb(argv: list[str]) -> int:
    """Print one run: `regimen show <run> [--verify] [--json]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen show", description="Print configuration, result and files of one run."
    )
    parser.add_argument("run", help="run reference: id, beginning of an id, name, latest, or directory")
    parser.add_argument("--verify", action="store_true", help="read every input and artifact and compare its checksum")
    parser.add_argument("--json", action="store_true", help="everything as JSON")
    args = parser.parse_args(argv)
    run = open_view(args.run)
    report = gather(run, args.verify)
    print(json.dumps(files.plain(report), indent=2) if args.json else describe(run, report))
    return 0
