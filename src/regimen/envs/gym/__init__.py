"""Gymnasium tasks as a VecEnv."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.gym.env import GymEnv, GymEnvCfg

__all__ = ["GymEnv", "GymEnvCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "GymEnv": "regimen.envs.gym.env",
        "GymEnvCfg": "regimen.envs.gym.env",
    },
)
