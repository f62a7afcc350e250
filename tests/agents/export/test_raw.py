"""`observations=raw`: the file does to readings of sensors what the environment does to them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import open_config, task_config
from regimen.agents.deployment.exporting import encode
from regimen.agents.export import header
from regimen.agents.export.formats import open_network
from regimen.agents.policy_file import load_bundle, load_policy
from regimen.agents.student import Student, StudentCfg
from regimen.config.structured import to_plain
from regimen.envs.manager_env import ManagerEnv
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

TERMS = {
    "joint_pos": {"func": "joint_pos_rel", "clip": 0.3, "scale": 2.0, "noise": 0.01, "history": 4, "delay": [1, 1]},
    "joint_vel": {"func": "joint_vel_rel", "scale": 0.1, "clip": 1.0, "bias": 0.1},
    "target": {"func": "generated_commands", "params": {"command": "target"}, "history": 1},
    "action": {"func": "last_action", "scale": 0.5},
}
SHORT = {"episode_length_s": 0.2, "observations": {"policy": {"history": 2, "terms": {"tip": None, **TERMS}}}}
MORE = {"extends": "policy", "terms": {"tip": {"func": "site_position"}}}


def environment(changes: dict[str, Any] = SHORT, num_envs: int = 5, **more: Any) -> ManagerEnv:
    return open_config(task_config("reach", num_envs=num_envs, **{**changes, **more}))


def student_of(folder: Path, env: ManagerEnv, groups: list[str], recurrent: int | None = 8) -> Path:
    """The checkpoint of a student with large random weights."""
    cfg = StudentCfg(observations=groups, hidden=[16], recurrent=recurrent)
    made = Student(cfg, env.io, 1, env.device, seed=0)
    torch.nn.init.normal_(made.net.head[-1].weight, std=0.5)
    bundle = {"format": 1, "run": "made", "step": 1, "agent": asdict(cfg), "io": env.io.to_dict()}
    checkpoint.save(folder / "source.pt", bundle | {"policy": {"net": made.net.state_dict()}})
    return folder / "source.pt"


def plain_of(env: ManagerEnv) -> dict[str, Any]:
    return {"env": to_plain(env.cfg), "sim": {"dt": 0.005}, "choices": {"task": "reach"}}


def raw_file(source: Path, env: ManagerEnv) -> Path:
    path = source.with_name("raw.pt")
    path.write_bytes(encode(source, "torchscript", plain_of(env), None, "raw")[0])
    return path


@pytest.mark.parametrize(("groups", "recurrent"), [(["policy"], None), (["policy"], 8), (["more"], 8)])
def test_readings_of_a_robot_give_the_actions_of_the_policy(tmp_path, groups, recurrent):
    terms = {name: {**term, "noise": 0.0, "bias": 0.0, "delay": [0, 0]} for name, term in TERMS.items()}
    changes = {**SHORT, "observations": {"policy": {"history": 2, "terms": {"tip": None, **terms}}, "more": MORE}}
    env = environment(changes)
    source = student_of(tmp_path, env, groups, recurrent)
    path = raw_file(source, env)
    description, network = header.read_description(path), open_network(path)
    policy = load_policy(checkpoint.load(source), env, seed=0)
    assert list(description.sensors) == ["joint_pos", "joint_vel", "target", *(["tip"] if groups == ["more"] else [])]
    zeros = {name: torch.zeros(5, *shape) for name, shape in description.state.items()}
    obs, memory, state, ends, clipped = env.reset(seed=1), None, dict(zeros), 0, False
    env.stagger()
    for _ in range(25):
        wanted, memory = policy.act(obs, memory)
        readings = env.observations.readings()
        inputs = [readings[sensor.terms[0]] for sensor in description.sensors.values()]
        found, _, *after = network([*inputs, *state.values()])
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
        state = dict(zip(state, after, strict=True))
        clipped |= bool((readings["policy.joint_pos"].abs() > 0.3).any())
        obs, _, terminated, truncated, _ = env.step(found)
        done = (terminated | truncated).nonzero().squeeze(1)
        ends += len(done)
        memory = policy.reset(memory, done)
        for part in state.values():
            part[done] = 0.0
    assert ends >= 5 and clipped, "episodes end, and a reading is beyond its clip"


def test_it_acts_in_the_simulator_as_its_checkpoint_with_noise_and_delay(tmp_path):
    env = environment()
    source = student_of(tmp_path, env, ["policy"])
    pair = [load_policy(made, env, 0) for made in (checkpoint.load(source), load_bundle(str(raw_file(source, env))))]
    obs, states = env.reset(seed=1), [None, None]
    env.stagger()
    for _ in range(25):
        wanted, found = (policy.act(obs, state) for policy, state in zip(pair, states, strict=True))
        torch.testing.assert_close(found[0], wanted[0], rtol=1e-5, atol=1e-5)
        noisy = wanted[0] + 0.1 * torch.randn(5, 2)  # another action than the policy's own is observed next
        obs, _, terminated, truncated, _ = env.step(noisy)
        done = (terminated | truncated).nonzero().squeeze(1)
        states = [policy.reset(part[1], done) for policy, part in zip(pair, (wanted, found), strict=True)]


def test_the_file_tells_what_a_robot_supplies_and_what_it_was_trained_with(tmp_path):
    env = environment(actions={"delay": [0, 2], "delay_drawn": "step"})
    told = header.read_description(raw_file(student_of(tmp_path, env, ["policy"]), env)).to_dict()
    assert told["feedback"] == ["policy.action"]
    assert told["delays"] == {
        "actions": {"steps": [0, 2], "drawn": "step"},
        "policy.joint_pos": {"steps": [1, 1], "drawn": "episode"},
    }
    assert told["sensors"]["joint_pos"]["size"] == 2 and told["sensors"]["joint_pos"]["terms"] == ["policy.joint_pos"]
    assert told["sensors"]["joint_vel"]["value"].endswith("rad/s.")
    shapes = {"last_action": [2], "started": [1], "history_joint_pos": [3, 2], "history_joint_vel": [1, 2]}
    assert told["state"] == {**shapes, "history_action": [1, 2], "hidden": [8]}


@pytest.mark.parametrize(
    ("own", "names"),
    [
        ({"joint_pos": {"func": "joint_pos_rel", "params": {"joints": "elbow"}}}, ["other.joint_pos", "scaled"]),
        ({"targets": {"func": "site_position"}}, ["targets", "observations=scaled"]),
    ],
)
def test_readings_that_cannot_be_inputs_are_refused_by_name(tmp_path, own, names):
    env = environment({"observations": {"other": {"terms": own}}})
    with raises_naming(CheckpointError, *names):
        raw_file(student_of(tmp_path, env, ["policy", "other"]), env)


def test_a_reading_of_two_groups_is_one_input_and_each_group_has_its_own_scale(tmp_path):
    other = {"joint_vel": {"func": "joint_vel_rel", "scale": 3.0, "history": 3}}
    env = environment({"observations": {"other": {"terms": other}}})
    source = student_of(tmp_path, env, ["policy", "other"], None)
    bundle = load_bundle(str(raw_file(source, env)))
    assert list(bundle["policy"]["readings"]) == ["joint_pos", "joint_vel", "target", "tip"]
    obs = env.reset(seed=1)
    wanted, found = (load_policy(made, env, 0).act(obs, None)[0] for made in (checkpoint.load(source), bundle))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_task_that_does_not_describe_its_observations_is_refused(tmp_path):
    env = environment()
    config = plain_of(env)
    config["env"]["_target_"] = "regimen.envs.hidden_goal.DarkRoom"
    with raises_naming(CheckpointError, "observations=raw", "observations=scaled"):
        encode(student_of(tmp_path, env, ["policy"]), "torchscript", config, None, "raw")
