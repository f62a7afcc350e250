"""Environments: the VecEnv contract, the manager-based environment, and its terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.manager_env import ManagerEnv
    from regimen.envs.vec_env import VecEnv


def open_env(config: Config) -> VecEnv:
    """Open the simulator and build the task's environment.

    It is wrapped where an encoder reads its images, unless the agent reads these itself, where the policy observes a
    fault estimate, and where its actions are commands of a low-level policy.

    Args:
        config: the whole configuration; `env._target_` names the class, whose `open` builds the environment. Where the
            dataclass of `sim` declares `OPENS_TASKS: ClassVar[bool] = True`, it is `sim._target_`.

    Returns:
        The environment, watched for values that are not finite, see `regimen.envs.watched_env.WatchedEnv`.
    """
    from regimen.config.targets import resolve
    from regimen.envs.fault_estimate.columns import resolve_mode
    from regimen.envs.watched_env import watch

    opener = config.sim if getattr(config.sim, "OPENS_TASKS", False) else config.env
    env: VecEnv = resolve(opener._target_).open(config)
    if config.encoder is not None and getattr(config.agent, "images", None) is None:
        from regimen.envs.encoded_images.wrapper import EncodedEnv

        env = EncodedEnv.wrap(env, config)
    low_level = getattr(config.env, "low_level", None)
    if low_level is not None and low_level.policy is not None:
        from regimen.envs.low_level.wrapper import CommandingEnv

        return watch(CommandingEnv.wrap(cast("ManagerEnv", env), config), config)
    mode = resolve_mode(getattr(config.env, "estimate", None), config.estimator)
    if mode is None:
        return watch(env, config)
    from regimen.envs.fault_estimate.wrapper import EstimatedEnv

    return watch(EstimatedEnv.wrap(env, config, mode), config)
