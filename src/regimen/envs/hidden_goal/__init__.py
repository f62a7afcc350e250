"""Tasks whose goal is hidden from the policy."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.envs.hidden_goal.dark_room import DarkRoom, DarkRoomCfg
    from regimen.envs.hidden_goal.point_goal import PointGoal, PointGoalCfg

__all__ = ["DarkRoom", "DarkRoomCfg", "PointGoal", "PointGoalCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "DarkRoom": "regimen.envs.hidden_goal.dark_room",
        "DarkRoomCfg": "regimen.envs.hidden_goal.dark_room",
        "PointGoal": "regimen.envs.hidden_goal.point_goal",
        "PointGoalCfg": "regimen.envs.hidden_goal.point_goal",
    },
)
