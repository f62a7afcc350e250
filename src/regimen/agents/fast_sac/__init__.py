"""FastSAC."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.fast_sac.agent import FastSac
    from regimen.agents.fast_sac.config import FastSacCfg

__all__ = ["FastSac", "FastSacCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "FastSac": "regimen.agents.fast_sac.agent",
        "FastSacCfg": "regimen.agents.fast_sac.config",
    },
)
