"""A task in another process or on another machine: server and client."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.remote.client import RemoteEnv
    from regimen.envs.remote.config import RemoteEnvCfg

__all__ = ["RemoteEnv", "RemoteEnvCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "RemoteEnv": "regimen.envs.remote.client",
        "RemoteEnvCfg": "regimen.envs.remote.config",
    },
)
