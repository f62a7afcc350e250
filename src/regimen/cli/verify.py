"""`regimen verify`: make the figures of an evaluation again from its episodes, then repeat the evaluation."""

from __future__ import annotations

import argparse

from regimen.cli import rerun
from regimen.display.console import say
from regimen.orchestration import repeated_run
from regimen.runs import outcome
from regimen.runs.history.run_view import open_view, open_view_dir
from regimen.runs.status import Status
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.repetition import Agreement, compare_repetition
from regimen.system import signals

MOST = 12


def verify_verb(argv: list[str]) -> int:
    """Verify an evaluation: `regimen verify <run> [--record]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen verify",
        description="Make the figures of an evaluation again from its episodes, and repeat it. Exit code 1: different.",
    )
    parser.add_argument("run", help="reference of a run of stage=evaluate")
    parser.add_argument("--record", action="store_true", help="start nothing; only make the figures again")
    args = parser.parse_args(argv)
    evaluated = Evaluated.open(open_view(args.run))
    code = _verify_record(evaluated)
    if args.record:
        return code
    run = evaluated.run
    for line in repeated_run.cautions(run):
        say(f"warning: {line}")
    with signals.handled(signals.leave):
        again = repeated_run.create(run, ["regimen", "verify", *argv])
        if failed := rerun.start(again, run.config):
            return failed
    repeated = open_view_dir(again.dir)
    if repeated.status != Status.FINISHED:
        say(f"not compared: {repeated.id} is {repeated.status}; after its end: regimen compare --paired")
        return code
    result = compare_repetition(evaluated, Evaluated.open(repeated))
    say(f"{result.agreement}: {repeated.id} against {run.id}{result.summary}")
    _list(result.lines)
    return outcome.EXIT_FAILED if result.agreement is Agreement.DIFFERENT else code


def _verify_record(evaluated: Evaluated) -> int:
    """Print how result.json stands to the episodes, and what has changed since; return the exit code."""
    lines = [*evaluated.changes(), *(f"result.json: {line}" for line in evaluated.differences())]
    episodes, figures = len(evaluated.episodes.fell), len(evaluated.all_figures())
    if not lines:
        say(f"record: equal: result.json agrees with its {episodes} episodes in {figures} figures, bit for bit")
        return 0
    say(f"record: different: {evaluated.run.id} is not what its {episodes} episodes and its record give")
    _list(lines)
    return outcome.EXIT_FAILED


def _list(lines: list[str]) -> None:
    for line in lines[:MOST]:
        say(f"  {line}")
    if len(lines) > MOST:
        say(f"  … and {len(lines) - MOST} more")
