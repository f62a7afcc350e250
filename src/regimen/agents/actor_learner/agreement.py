"""Agreement of an actor with its learner on task, agent and sizes, compared before the first row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regimen.config.structured import to_plain
from regimen.envs.remote.config import greeting, require_same
from regimen.envs.vec_env import IOSpec
from regimen.system import wire
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config


@dataclass(frozen=True)
class Agreement:
    """Task and agent of one side.

    Attributes:
        task: option of the group `task`.
        agent: the plain section `agent`.
        io: observations and actions, see `IOSpec.to_dict`.
        num_envs: environments of an actor.
    """

    task: str | None
    agent: dict[str, Any]
    io: dict[str, Any]
    num_envs: int

    @classmethod
    def of(cls, config: Config, io: IOSpec) -> Agreement:
        """Return that of a configuration and its open task."""
        return cls(config.choices.get("task"), to_plain(config.agent), io.to_dict(), config.env.num_envs)

    def message(self) -> wire.Message:
        """Return the first message of an actor."""
        return {**greeting(self.task), "agent": self.agent, "io": self.io, "num_envs": self.num_envs}

    def require(self, message: wire.Message) -> None:
        """Raise unless an actor's first message agrees with this learner.

        Raises:
            ConfigError: naming each key that differs, with the value to type.
            IOMismatchError: its message is that of another version.
        """
        require_same(message, self.task)
        agent = wire.require_plain(message, "agent", dict)
        lines = _differences(self.agent, agent, "agent")
        if (count := message.get("num_envs")) != self.num_envs:
            lines.append(f"env.num_envs={count}: the learner has {self.num_envs}. Type env.num_envs={self.num_envs}.")
        own, theirs = (IOSpec.from_dict(io) for io in (self.io, wire.require_plain(message, "io", dict)))
        groups = tuple(dict.fromkeys([*own.observations, *own.images, *theirs.observations, *theirs.images]))
        lines += [line.replace("policy ", "learner ") for line in own.differences(theirs, groups)]
        if lines:
            raise ConfigError("The actor does not fit its learner:\n  " + "\n  ".join(lines))


def _differences(own: Any, given: Any, path: str) -> list[str]:
    if isinstance(own, dict) and isinstance(given, dict):
        keys = dict.fromkeys([*own, *given])
        return [line for key in keys for line in _differences(own.get(key), given.get(key), f"{path}.{key}")]
    if own == given:
        return []
    shown = "null" if own is None else own
    return [f"{path}={'null' if given is None else given}: the learner has {shown}. Type {path}={shown}."]


def seed_of(seed: int, actor: str) -> int:
    """Return the seed of an actor: that of the run and its name give it, another one for each process."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{actor}".encode()).digest()[:4]) % 2**31
