"""Import the objects that dotted names of the configuration refer to."""

from __future__ import annotations

import importlib
from typing import Any

from regimen.config.static_modules import locate, split_target
from regimen.system.errors import ConfigError, did_you_mean


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
