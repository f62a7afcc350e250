"""Regimen: one launcher for robot-learning experiments, and what a notebook or a module of your own imports.

    import regimen

    config = regimen.compose(["task=go2_flat", "env.num_envs=64"])
    env = regimen.open_env(config)
    policy = regimen.load_policy("pretrained:go2_flat", env)

Names are imported at first use, so that `import regimen` loads neither torch nor Hydra.
"""

import sys
from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports
from regimen.system.moved_modules import MovedModuleFinder
from regimen.system.version import __version__

if TYPE_CHECKING:
    from regimen.agents.base import Agent, Policy
    from regimen.api import check_env, compose, find_runs, launch, load_policy, open_env, open_run
    from regimen.config.schema import Config
    from regimen.envs.robots.robot import Mirror, Robot
    from regimen.envs.vec_env import ActionSpec, IOSpec, VecEnv
    from regimen.orchestration.launched_run import LaunchedRun
    from regimen.runs.history.run_view import RunView
    from regimen.runs.index.summary import RunSummary
    from regimen.runs.run import Run
    from regimen.stages.base import Stage
    from regimen.system.errors import ConfigError, RegimenError

__all__ = [
    "ActionSpec",
    "Agent",
    "Config",
    "ConfigError",
    "IOSpec",
    "LaunchedRun",
    "Mirror",
    "Policy",
    "RegimenError",
    "Robot",
    "Run",
    "RunSummary",
    "RunView",
    "Stage",
    "VecEnv",
    "__version__",
    "check_env",
    "compose",
    "find_runs",
    "launch",
    "load_policy",
    "open_env",
    "open_run",
]

if not TYPE_CHECKING:  # a type checker accepts the names above, and no others
    __getattr__ = lazy_exports(
        __name__,
        {
            "ActionSpec": "regimen.envs.vec_env",
            "Agent": "regimen.agents.base",
            "Config": "regimen.config.schema",
            "ConfigError": "regimen.system.errors",
            "IOSpec": "regimen.envs.vec_env",
            "LaunchedRun": "regimen.orchestration.launched_run",
            "Mirror": "regimen.envs.robots.robot",
            "Policy": "regimen.agents.base",
            "RegimenError": "regimen.system.errors",
            "Robot": "regimen.envs.robots.robot",
            "Run": "regimen.runs.run",
            "RunSummary": "regimen.runs.index.summary",
            "RunView": "regimen.runs.history.run_view",
            "Stage": "regimen.stages.base",
            "VecEnv": "regimen.envs.vec_env",
            "check_env": "regimen.api",
            "compose": "regimen.api",
            "find_runs": "regimen.api",
            "launch": "regimen.api",
            "load_policy": "regimen.api",
            "open_env": "regimen.api",
            "open_run": "regimen.api",
        },
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not any(isinstance(finder, MovedModuleFinder) for finder in sys.meta_path):
    sys.meta_path.insert(0, MovedModuleFinder())
