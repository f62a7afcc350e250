"""Tasks of mjlab: its own configurations and managers behind the `VecEnv` contract, in their own interpreter."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.mjlab.config import MjlabEnvCfg
    from regimen.envs.mjlab.env import MjlabEnv

__all__ = ["MjlabEnv", "MjlabEnvCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "MjlabEnv": "regimen.envs.mjlab.env",
        "MjlabEnvCfg": "regimen.envs.mjlab.config",
    },
)
