"""mjlab's registered tasks and their configurations. Imports mjlab, but starts no simulator."""

from __future__ import annotations

import importlib
from typing import Any

from regimen.system.errors import ConfigError, did_you_mean


def registered(task: str | None = None) -> list[str]:
    """Return the ids of all tasks, those of packages with the entry point `mjlab.tasks` among them.

    Args:
        task: `module:Id` imports a module of the user's first.
    """
    import mjlab.tasks  # noqa: F401  registers
    from mjlab.tasks.registry import list_tasks

    module = (task or "").rpartition(":")[0]
    if module:
        importlib.import_module(module)
    return list(list_tasks())


def load_cfg(task: str) -> Any:
    """Return the configuration of a task for training, free to be changed.

    Raises:
        ConfigError: there is no such task.
    """
    name = _known(task)
    from mjlab.tasks.registry import load_env_cfg

    return load_env_cfg(name)


def load_agent_cfg(task: str) -> Any:
    """Return the configuration of a task's runner of rsl_rl.

    Raises:
        ConfigError: there is no such task.
    """
    name = _known(task)
    from mjlab.tasks.registry import load_rl_cfg

    return load_rl_cfg(name)


def _known(task: str) -> str:
    known, name = registered(task), task.rpartition(":")[2]
    if name not in known:
        raise ConfigError(f"mjlab has no task `{name}`. {did_you_mean(name, known)}")
    return name
