"""Vintix: a transformer that learns in context."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.vintix.agent import Vintix, VintixCfg

__all__ = ["Vintix", "VintixCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "Vintix": "regimen.agents.vintix.agent",
        "VintixCfg": "regimen.agents.vintix.agent",
    },
)
