"""An actor of another task, agent or size is refused by the keys that differ; each actor draws other numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from agents.rlpd.touch import TouchEnv, touch_config
from helpers.messages import raises_naming
from regimen.agents.actor_learner.agreement import Agreement, seed_of
from regimen.envs.remote.config import RemoteEnvCfg
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.envs.vec_env import IOSpec
from regimen.system import wire
from regimen.system.errors import ConfigError


def agreement(**changes: Any) -> Agreement:
    return Agreement.of(touch_config(2, **changes), TouchEnv(2).io)


def received(message: wire.Message) -> wire.Message:
    return wire.decode(wire.to_bytes(message))


def test_the_same_configuration_is_taken() -> None:
    agreement().require(received(agreement().message()))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"gamma": 0.9}, ["agent.gamma=0.97"]),
        ({"interventions": {"patience": 9}}, ["agent.interventions.patience=5"]),
        ({"hidden": [8]}, ["agent.hidden=[16, 16]"]),
    ],
)
def test_another_agent_is_refused_with_what_to_type(changes: dict[str, Any], named: list[str]) -> None:
    with raises_naming(ConfigError, *named):
        agreement().require(received(agreement(**changes).message()))


def test_another_env_or_simulator_is_refused_by_its_keys_but_not_the_way_to_it() -> None:
    own, other = touch_config(2), touch_config(2)
    own.sim, other.sim = MujocoWorldCfg(), MujocoWorldCfg(dt=0.002)
    other.env.episode_length_s = 9.0
    other.env.evaluation.episodes = 3
    learner = Agreement.of(own, TouchEnv(2).io)
    with raises_naming(ConfigError, "env.episode_length_s=2.0", "sim.dt=0.005") as error:
        learner.require(received(Agreement.of(other, TouchEnv(2).io).message()))
    assert "evaluation" not in str(error.value)
    own.sim = RemoteEnvCfg(url="http://127.0.0.1:6000", token="elsewhere", timeout_s=3.0)
    learner.require(received(Agreement.of(own, TouchEnv(2).io).message()))
    served = Agreement.of(own, TouchEnv(2).io)
    own.sim = RemoteEnvCfg(url="http://127.0.0.1:6001")
    served.require(received(Agreement.of(own, TouchEnv(2).io).message()))
    own.sim = RemoteEnvCfg(dt=0.01)
    with raises_naming(ConfigError, "sim.dt=0.005"):
        learner.require(received(Agreement.of(own, TouchEnv(2).io).message()))


def test_another_task_size_or_version_is_refused() -> None:
    other = touch_config(3)
    with raises_naming(ConfigError, "env.num_envs=2"):
        agreement().require(received(Agreement.of(other, TouchEnv(3).io).message()))
    other = touch_config(2)
    other.choices["task"] = "reach"
    with raises_naming(ConfigError, "task=touch"):
        agreement().require(received(Agreement.of(other, TouchEnv(2).io).message()))
    io = copy.deepcopy(TouchEnv(2).io.to_dict())
    io["observations"]["privileged"] = {"way": 3}
    with raises_naming(ConfigError, "privileged.way"):
        agreement().require(received(Agreement.of(touch_config(2), IOSpec.from_dict(io)).message()))
    with raises_naming(ConfigError, "0.0.1"):
        agreement().require(received({**agreement().message(), "version": "0.0.1"}))


def test_seeds_repeat_and_differ_between_actors() -> None:
    names = [f"actor{number}.{attempt}.{start}" for number in range(4) for attempt in range(4) for start in range(4)]
    seeds = [seed_of(3, name) for name in names]
    assert len(set(seeds)) == len(names) and seeds == [seed_of(3, name) for name in names]
    assert seed_of(4, names[0]) != seeds[0] and all(0 <= seed < 2**31 for seed in seeds)
