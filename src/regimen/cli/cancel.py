"""`regimen cancel`: cancel runs; a running one saves a checkpoint first."""

from __future__ import annotations

import argparse

from regimen.display.formatting import visible
from regimen.orchestration.slurm.cancellation import cancel_named


def cancel_verb(argv: list[str]) -> int:
    """Cancel runs: `regimen cancel <run|sweep|pipeline|all> ...`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen cancel", description="Cancel jobs, and runs of this machine.")
    parser.add_argument("what", nargs="+", help="runs, sweeps or pipelines; `all` for all jobs of schedulers")
    for line in cancel_named(parser.parse_args(argv).what):
        print(visible(line))
    return 0
