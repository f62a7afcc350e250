"""PPO of rsl_rl."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.rsl_rl.config import RslRlPpoCfg
    from regimen.agents.rsl_rl.ppo import RslRlPpo

__all__ = ["RslRlPpo", "RslRlPpoCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "RslRlPpo": "regimen.agents.rsl_rl.ppo",
        "RslRlPpoCfg": "regimen.agents.rsl_rl.config",
    },
)
