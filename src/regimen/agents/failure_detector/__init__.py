"""The failure detector: a GRU over observations and actions."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.failure_detector.agent import FailureGru, FailureGruCfg

__all__ = ["FailureGru", "FailureGruCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "FailureGru": "regimen.agents.failure_detector.agent",
        "FailureGruCfg": "regimen.agents.failure_detector.agent",
    },
)
