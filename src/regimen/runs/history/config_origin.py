"""Origins of the values of a frozen configuration, as far as the present option files can show them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regimen.config.yaml_io import flatten
from regimen.runs.history.run_view import RunView
from regimen.runs.resume_check import config_dirs
from regimen.system.errors import RegimenError

_composing = threading.Lock()
"""Hydra keeps state of the process: one composition at a time."""


@dataclass(frozen=True)
class SettingOrigin:
    """One value of a frozen configuration.

    Attributes:
        key: dotted key.
        value: as frozen.
        origin: argument, file with line, or default that sets it; empty where the present files give another value.
        is_changed: whether an argument or an experiment sets it.
        now: value that the present files and the same arguments give, where it differs; None where it does not.
    """

    key: str
    value: Any
    origin: str = ""
    is_changed: bool = False
    now: Any = None


def setting_origins(run: RunView, homes: Sequence[Path] = ()) -> tuple[list[SettingOrigin], str]:
    """Return the settings of a run in the order of its file, and why their origins are unknown, if they are.

    The arguments of the run are composed again with the option files as they are now. A value that comes out the same
    has the origin that it has there; for another one the file of then is gone.

    Args:
        run: the run.
        homes: folder of config.yaml, then others; by default that of the current folder and those of the command line.
    """
    frozen = [(key, value) for key, value in flatten(run.config) if key.split(".")[0] not in ("choices", "resume")]
    try:
        present = _compose(run, homes)
    except (RegimenError, OSError) as error:
        problem = str(error).splitlines()[0] if str(error) else type(error).__name__
        return [_by_argument(run, key, value) for key, value in frozen], problem
    composed = dict(flatten(present.plain))
    found = []
    for key, value in frozen:
        if composed.get(key) != value or key not in composed:
            known = _by_argument(run, key, value)
            other = composed.get(key)
            found.append(known if known.origin else SettingOrigin(key, value, now="null" if other is None else other))
            continue
        source = present.tree.source_of(key)
        changed = source.kind in ("experiment", "argument")
        found.append(SettingOrigin(key, value, source.location(key), changed))
    return found, ""


def _compose(run: RunView, homes: Sequence[Path]) -> Any:
    from regimen.config.compose import compose
    from regimen.config.groups import config_home

    folders = list(homes)
    if not folders:
        words = config_dirs(list(run.record.argv[1:]))
        own = [word.partition("=")[2] if "=" in word else word for word in words if not word.startswith("-cd")]
        folders = [config_home(), *(Path(word) for word in own if word not in ("--config-dir", "-cd"))]
    with _composing:
        return compose(list(run.record.overrides), folders, sweep=True)


def _by_argument(run: RunView, key: str, value: Any) -> SettingOrigin:
    """Return the setting with the argument of the run that sets it, if one does."""
    for override in run.record.overrides:
        name = override.lstrip("+").partition("=")[0]
        if name == key or key.startswith(f"{name}."):
            return SettingOrigin(key, value, f"argument `{override}`", True)
    return SettingOrigin(key, value)
