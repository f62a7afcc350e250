"""Agreement of an actor with its learner on task, agent and sizes, compared before the first row."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regimen.config.structured import to_plain
from regimen.envs.remote.config import RemoteEnvCfg, greeting, require_same
from regimen.envs.vec_env import IOSpec
from regimen.system import wire
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config

OF_ONE_SIDE = {
    "env": ("num_envs", "evaluation"),
    "sim": ("url", "token", "certificate", "timeout_s", "reconnect_s", "device", "viewer", "cache"),
}
"""Keys that do not change what an actor observes, or are compared by themselves."""

REMOTE = RemoteEnvCfg._target_


@dataclass(frozen=True)
class Agreement:
    """Task and agent of one side.

    Attributes:
        task: option of the group `task`.
        env: the plain section `env`, without the keys of one side.
        sim: the plain section `sim`, likewise.
        agent: the plain section `agent`.
        io: observations and actions, see `IOSpec.to_dict`.
        num_envs: environments of an actor.
    """

    task: str | None
    env: dict[str, Any]
    sim: dict[str, Any]
    agent: dict[str, Any]
    io: dict[str, Any]
    num_envs: int

    @classmethod
    def of(cls, config: Config, io: IOSpec) -> Agreement:
        """Return that of a configuration and its open task."""
        sections = {"env": to_plain(config.env), "sim": to_plain(config.sim) or {}}
        env, sim = (
            {key: value for key, value in section.items() if key not in OF_ONE_SIDE[name]}
            for name, section in sections.items()
        )
        return cls(config.choices.get("task"), env, sim, to_plain(config.agent), io.to_dict(), config.env.num_envs)

    def message(self) -> wire.Message:
        """Return the first message of an actor."""
        sections = {"env": self.env, "sim": self.sim, "agent": self.agent}
        return {**greeting(self.task), **sections, "io": self.io, "num_envs": self.num_envs}

    def require(self, message: wire.Message) -> None:
        """Raise unless an actor's first message agrees with this learner.

        Raises:
            ConfigError: naming each key that differs, with the value to type.
            IOMismatchError: its message is that of another version.
        """
        require_same(message, self.task)
        env, sim, agent = (wire.require_plain(message, name, dict) for name in ("env", "sim", "agent"))
        lines = _differences(self.env, env, "env")
        own_sim = self.sim
        if (own_sim.get("_target_") == REMOTE) != (sim.get("_target_") == REMOTE):  # the server has the simulator
            common = own_sim.keys() & sim.keys() - {"_target_"}
            own_sim, sim = ({key: section[key] for key in sorted(common)} for section in (own_sim, sim))
        lines += _differences(own_sim, sim, "sim")
        lines += _differences(self.agent, agent, "agent")
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
