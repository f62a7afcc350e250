"""Environments: the VecEnv contract, the manager-based environment, and its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv


def open_env(config: Config) -> VecEnv:
    """Open the simulator and build the task's environment; wrap it where the policy is told of faults.

    Args:
        config: the whole run; `env._target_` names the environment's class, whose `open` reads what it needs.
    """
    from regimen.config.targets import resolve
    from regimen.envs.fault_estimate.columns import resolve_mode

    env: VecEnv = resolve(config.env._target_).open(config)
    mode = resolve_mode(getattr(config.env, "estimate", None), config.estimator)
    if mode is None:
        return env
    from regimen.envs.fault_estimate.wrapper import EstimatedEnv

    return EstimatedEnv.wrap(env, config, mode)
