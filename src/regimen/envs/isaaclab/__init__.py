"""Tasks of Isaac Lab: its own configurations and managers behind the `VecEnv` contract, in their own interpreter."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.isaaclab.config import IsaacLabEnvCfg
    from regimen.envs.isaaclab.env import IsaacLabEnv

__all__ = ["IsaacLabEnv", "IsaacLabEnvCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "IsaacLabEnv": "regimen.envs.isaaclab.env",
        "IsaacLabEnvCfg": "regimen.envs.isaaclab.config",
    },
)
