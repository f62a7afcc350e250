"""`regimen list`: the options of a config group, or the components of agents in the manner of rl_games."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.agents.runner import components
from regimen.config.groups import GROUPS, MULTI_GROUPS, config_home, table
from regimen.config.yaml_io import read_yaml
from regimen.display import formatting

COMPONENTS = "components"


def list_verb(argv: list[str]) -> int:
    """List the options of a group, or all components: `regimen list tasks`, `regimen list components`.

    Args:
        argv: the arguments after the verb.
    """
    groups = (*GROUPS, *MULTI_GROUPS, "pipeline")
    plurals = {g if g == "hardware" else f"{g}s": g for g in groups}
    parser = argparse.ArgumentParser(prog="regimen list", description="List the options of a group, or components.")
    parser.add_argument("what", choices=sorted([*plurals, COMPONENTS]), help="group, or components")
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of your own options")
    args = parser.parse_args(argv)
    folders = [config_home(), *args.config_dir]
    print(_components(folders) if args.what == COMPONENTS else table(plurals[args.what], folders))
    return 0


def _components(folders: list[Path]) -> str:
    """Return one line for each algorithm, player, model and network, of rl_games and of the agents in folders."""
    own: dict[str, components.ComponentsCfg] = {}
    for file in sorted(file for folder in folders for file in (folder / "agent").glob("*.yaml")):
        section = read_yaml(file)
        named = section.get("components") if isinstance(section, dict) else None
        if isinstance(named, dict):
            kinds = {kind: dict(named.get(kind) or {}) for kind in components.KINDS}
            own.setdefault(file.stem, components.ComponentsCfg(**kinds))
    rows = list(components.table_rows(own))
    width = max(len(kind) for kind, _, _ in rows)
    return "\n".join(formatting.table([(f"{kind:{width}}  {name}", text) for kind, name, text in rows]))
