"""`regimen list`: the options of a config group, components in the manner of rl_games, or the tasks of a library."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from regimen.agents.runner import components
from regimen.config.groups import GROUPS, MULTI_GROUPS, config_home, table
from regimen.config.yaml_io import read_yaml
from regimen.display import formatting
from regimen.envs.foreign import installed
from regimen.envs.foreign.catalogue import Catalogue
from regimen.envs.foreign.library import Library
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.mjlab.library import MJLAB
from regimen.system import host
from regimen.system.errors import PreflightError

COMPONENTS = "components"
LIBRARIES = {library.name: library for library in (ISAAC_LAB, MJLAB)}
"""Verb -> library whose tasks it lists."""


def list_verb(argv: list[str]) -> int:
    """List the options of a group, all components, or a library's tasks: `regimen list tasks`, `regimen list isaaclab`.

    Args:
        argv: the arguments after the verb.
    """
    groups = (*GROUPS, *MULTI_GROUPS, "pipeline")
    plurals = {g if g == "hardware" else f"{g}s": g for g in groups}
    parser = argparse.ArgumentParser(prog="regimen list", description="List the options of a group, or components.")
    words = sorted([*plurals, COMPONENTS, *LIBRARIES])
    of = ", ".join(f"{name} (tasks of {library.title})" for name, library in LIBRARIES.items())
    parser.add_argument("what", choices=words, help=f"group, components, {of}")
    parser.add_argument("task", nargs="?", help="a task of a library: list its configuration")
    parser.add_argument("--python", help="interpreter with the library, where `make <library>` has not made one")
    parser.add_argument("--config-dir", type=Path, action="append", default=[], help="a folder of your own options")
    args = parser.parse_args(argv)
    if args.task is not None and args.what not in LIBRARIES:
        parser.error(f"{args.what} takes no further word")
    if args.what in LIBRARIES:
        print(_of_library(LIBRARIES[args.what], args.python, args.task))
        return 0
    folders = [config_home(), *args.config_dir]
    print(_components(folders) if args.what == COMPONENTS else table(plurals[args.what], folders))
    return 0


def _of_library(library: Library, python: str | None, task: str | None) -> str:
    """Return one line for each task of a library, or for each value of one task's configuration.

    Raises:
        PreflightError: the interpreter does not have the library in a version that fits.
    """
    python = python or host.made_interpreter(library.name) or sys.executable
    if lines := list(installed.problems(library, python)):
        raise PreflightError(" ".join(lines))
    catalogue = Catalogue(library, python)
    if task is None:
        rows = [(name, f"agents: {', '.join(entry['agents']) or 'none'}") for name, entry in catalogue.tasks().items()]
        return "\n".join(formatting.table(rows))
    described = catalogue.description(task)
    presets = [f"presets: {', '.join(described.presets)}"] if described.presets else []
    return "\n".join([*presets, *formatting.table(list(described.rows()))])


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
