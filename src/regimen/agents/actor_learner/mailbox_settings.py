"""Settings of a mailbox and its actors, for one in the process of the learner and for one elsewhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from regimen.agents.actor_learner.agreement import Agreement
from regimen.agents.actor_learner.channel import RowSpec
from regimen.system import wire


@dataclass
class MailboxSettings:
    """The settings of a mailbox and its actors.

    Attributes:
        spec: columns of a row.
        capacity: rows that are kept until the learner takes them.
        agreement: task and agent, which those of an actor must be.
        push_steps: env steps of an actor between two messages.
        kept: rows that an actor keeps.
    """

    spec: RowSpec
    capacity: int
    agreement: Agreement
    push_steps: int
    kept: int

    def greet(self, message: wire.Message) -> wire.Message:
        """Answer the first message of an actor.

        Raises:
            ConfigError: it has another task or agent.
        """
        self.agreement.require(message)
        return {"push_steps": self.push_steps, "kept": self.kept}

    def encoded(self) -> bytes:
        """Return them as the bytes of a message."""
        return wire.to_bytes(asdict(self))

    @classmethod
    def decoded(cls, data: bytes) -> MailboxSettings:
        """Return `encoded`."""
        message = wire.decode(data)
        return cls(**{**message, "agreement": Agreement(**message["agreement"])})
