"""Isaac Lab in an interpreter of its own: its tasks behind the `VecEnv` contract, and its scene as a `World`."""

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
