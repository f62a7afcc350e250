"""Import the objects that dotted names of the configuration refer to."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from regimen.config.groups import config_home
from regimen.config.static_modules import locate, split_target
from regimen.config.yaml_io import read_yaml
from regimen.system.errors import CheckpointError, ConfigError, did_you_mean

PACKAGE = "regimen"

_option_folders: list[Path] = []


def use_options(folders: list[Path]) -> None:
    """Take the agents in folders of options as code of the user, see `require_declared`.

    Args:
        folders: as named on the command line, each with `agent/*.yaml`.
    """
    _option_folders.extend(folder.resolve() for folder in folders if folder.resolve() not in _option_folders)


def declared_agents() -> Iterator[tuple[str, str]]:
    """Yield name and `_target_` of the agents in the folders of options."""
    for folder in dict.fromkeys([config_home(), *_option_folders]):
        for file in sorted((folder / "agent").glob("*.yaml")):
            with suppress(ConfigError, OSError, yaml.YAMLError):  # a file that is not in use may be unfinished
                section = read_yaml(file)
                if isinstance(section, dict) and section.get("_target_"):
                    yield file.stem, str(section["_target_"])


def require_declared(target: str, file: Path) -> None:
    """Raise if a file names a class that the user has not named: its module is not to be imported.

    Args:
        target: `_target_` of an agent, as a checkpoint holds it.
        file: the checkpoint, for the message.

    Raises:
        CheckpointError: the class is neither Regimen's, nor in a module that is imported already, nor an agent of
            `conf/` or of a folder of options.
    """
    module, _ = split_target(target)
    is_known = module.partition(".")[0] == PACKAGE or module in sys.modules
    if not is_known and target not in {declared for _, declared in declared_agents()}:
        raise CheckpointError(
            f"{file} names the agent `{target}`, code that no option here names, so it is not imported. If it is "
            "yours, add --config-dir <folder whose agent/*.yaml has this _target_>, or import its module first."
        )


def resolve(target: str) -> Any:
    """Import and return `pkg.mod.Class` or `pkg.mod:name`.

    Raises:
        ConfigError: if the module or the name does not exist. A module that exists but fails to import raises its own
            error, with its traceback.
    """
    module, name = split_target(target)
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            locate(module)
        raise
    try:
        return getattr(imported, name)
    except AttributeError:
        public = [n for n in vars(imported) if not n.startswith("_")]
        raise ConfigError(f"`{module}` has no `{name}`. {did_you_mean(name, public)}") from None
