"""Algorithms of rl_games, and a user's own written for it."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.rl_games.agent import RlGames
    from regimen.agents.rl_games.config import RlGamesCfg

__all__ = ["RlGames", "RlGamesCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "RlGames": "regimen.agents.rl_games.agent",
        "RlGamesCfg": "regimen.agents.rl_games.config",
    },
)
