"""Assembly tasks: a part held by a robot's hand is put onto, or into, a fixture."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.assembly.config import AssemblyEnvCfg
    from regimen.envs.assembly.env import AssemblyEnv

__all__ = ["AssemblyEnv", "AssemblyEnvCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "AssemblyEnv": "regimen.envs.assembly.env",
        "AssemblyEnvCfg": "regimen.envs.assembly.config",
    },
)
