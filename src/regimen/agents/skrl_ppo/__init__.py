"""PPO of skrl."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.skrl_ppo.config import SkrlPpoCfg
    from regimen.agents.skrl_ppo.ppo import SkrlPpo

__all__ = ["SkrlPpo", "SkrlPpoCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "SkrlPpo": "regimen.agents.skrl_ppo.ppo",
        "SkrlPpoCfg": "regimen.agents.skrl_ppo.config",
    },
)
