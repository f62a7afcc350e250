"""`regimen gate`: requirements on an evaluation, with exit code 0 or 1 and the evidence, for CI and releases."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from regimen.display.formatting import table, visible, visible_lines
from regimen.runs import outcome
from regimen.stages.evaluation.gate import EXAMPLES, GateResult
from regimen.system import files


def gate_verb(argv: list[str]) -> int:
    """Check an evaluation: `regimen gate <run> [--against <baseline>] --require 'survival>=0.95' … [--out gate.json]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen gate", description="Check an evaluation. Exit code 0: all requirements are met; 1: not."
    )
    parser.add_argument("run", help="reference of a run of stage=evaluate")
    parser.add_argument("--against", metavar="BASELINE", help="evaluation of another policy on the same episodes")
    parser.add_argument(
        "--require", action="append", required=True, metavar="BOUND", help=f"bound on a figure, repeatable: {EXAMPLES}"
    )
    parser.add_argument("--out", type=Path, help="JSON to write: the outcome and the checksums of the evidence")
    parser.add_argument("--json", action="store_true", help="print that JSON")
    args = parser.parse_args(argv)
    result = GateResult.of(args.run, args.require, args.against)
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(args.out, result.to_dict())
    print(json.dumps(result.to_dict(), indent=2) if args.json else "\n".join(map(visible_lines, _lines(result))))
    return 0 if result.passed else outcome.EXIT_FAILED


def _lines(result: GateResult) -> list[str]:
    rows = [("passed" if check.passed else "FAILED", visible(check.require), check.why) for check in result.checks]
    reasons = [f"FAILED  {reason}" for reason in result.reasons]
    return [*table(rows), *reasons, f"gate {'passed' if result.passed else 'FAILED'}"]
