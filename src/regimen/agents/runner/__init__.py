"""Registries of algorithms, players, models and networks, and the runner that trains and plays them."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.runner.components import ComponentsCfg
    from regimen.agents.runner.registry import Registry
    from regimen.agents.runner.runner import Runner

__all__ = ["ComponentsCfg", "Registry", "Runner"]
__getattr__ = lazy_exports(
    __name__,
    {
        "ComponentsCfg": "regimen.agents.runner.components",
        "Registry": "regimen.agents.runner.registry",
        "Runner": "regimen.agents.runner.runner",
    },
)
