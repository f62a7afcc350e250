"""RLPD."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.rlpd.agent import Rlpd
    from regimen.agents.rlpd.config import RlpdCfg

__all__ = ["Rlpd", "RlpdCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "Rlpd": "regimen.agents.rlpd.agent",
        "RlpdCfg": "regimen.agents.rlpd.config",
    },
)
