"""A policy that learns from another one, which sees more: DAgger, with a feed-forward or a recurrent network."""

from typing import TYPE_CHECKING

from regimen.system.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from regimen.agents.student.agent import Student
    from regimen.agents.student.config import StudentCfg

__all__ = ["Student", "StudentCfg"]
__getattr__ = lazy_exports(
    __name__,
    {
        "Student": "regimen.agents.student.agent",
        "StudentCfg": "regimen.agents.student.config",
    },
)
