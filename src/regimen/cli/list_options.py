"""`regimen list`: the options of a config group."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.config.groups import GROUPS, MULTI_GROUPS, config_home, table


def list_verb(argv: list[str]) -> int:
    """List the options of a group: `regimen list tasks`.

    Args:
        argv: the arguments after the verb.
    """
    groups = (*GROUPS, *MULTI_GROUPS, "pipeline")
    plurals = {g if g == "hardware" else f"{g}s": g for g in groups}
    parser = argparse.ArgumentParser(prog="regimen list", description="List the options of a group.")
    parser.add_argument("what", choices=sorted(plurals), help="group")
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of your own options")
    args = parser.parse_args(argv)
    print(table(plurals[args.what], [config_home(), *args.config_dir]))
    return 0
