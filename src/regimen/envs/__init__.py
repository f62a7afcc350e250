"""Environments: the VecEnv contract, the manager-based environment, and its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv
    from regimen.schema import Config


def open_env(config: Config) -> VecEnv:
    """Open the simulator and build the task's environment.

    Args:
        config: the whole run; `env._target_` names the environment's class, whose `open` reads what it needs.
    """
    from regimen.resolve import resolve

    env: VecEnv = resolve(config.env._target_).open(config)
    return env
