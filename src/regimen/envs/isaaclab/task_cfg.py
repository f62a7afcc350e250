"""Isaac Lab's registered tasks and their configurations. Imports Isaac Lab, but starts no simulator."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from importlib import metadata
from typing import Any

from regimen.system.errors import ConfigError, did_you_mean

ENV_CFG = "env_cfg_entry_point"
AGENT_CFG = "_cfg_entry_point"
"""Ends of the keys under which a registration names its configurations."""


def registered(task: str | None = None) -> dict[str, Any]:
    """Return id -> registration of all tasks with a configuration of Isaac Lab.

    Args:
        task: `module:Id` imports a module of the user's first. Packages with the entry point `isaaclab.tasks` are
            imported as Isaac Lab's own command does.
    """
    import gymnasium
    import isaaclab_tasks  # noqa: F401  registers

    for entry in metadata.entry_points(group="isaaclab.tasks"):
        entry.load()
    module = (task or "").rpartition(":")[0]
    if module:
        importlib.import_module(module)
    return {name: spec for name, spec in gymnasium.registry.items() if ENV_CFG in spec.kwargs}


def load_cfg(task: str, presets: Iterable[str] = ()) -> Any:
    """Return the configuration of a task with its presets chosen.

    Args:
        task: its id, registered.
        presets: names of presets; where none of them applies, the task's default does.
    """
    from isaaclab_tasks.utils.hydra import resolve_presets
    from isaaclab_tasks.utils.parse_cfg import load_cfg_from_registry

    return resolve_presets(load_cfg_from_registry(task.rpartition(":")[2], ENV_CFG), tuple(presets))


def load_registered(task: str) -> str:
    """Import what registers a task; return its id for `gymnasium.make`.

    Raises:
        ConfigError: there is no such task.
    """
    known = registered(task)
    name = task.rpartition(":")[2]
    if name not in known:
        raise ConfigError(f"Isaac Lab has no task `{name}`. {did_you_mean(name, known)}")
    return name
