"""Checkpoints of rsl-rl-lib 2.2.4, made by it (see rsl_rl_2/make.py), become policies that act as they did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.tasks import CONF, make_env
from regimen.agents.rsl_rl import adopt, foreign_checkpoint
from regimen.agents.rsl_rl.ppo import RslRlPpo
from regimen.cli.main import main
from regimen.config.compose import compose, compose_config
from regimen.envs.term_binding import joint_terms
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.runs.checkpoint_header import read_plain
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError

MADE = Path(__file__).parent / "rsl_rl_2"
JOINTS = ["shoulder", "elbow"]


@pytest.fixture(scope="module")
def config():
    return compose_config(["task=reach", "agent=rsl_rl_ppo"])


@pytest.fixture(scope="module")
def io() -> IOSpec:
    return make_env("reach", 1).io


def acting(bundle: dict, io: IOSpec, obs: torch.Tensor) -> torch.Tensor:
    """The actions of an adopted policy for observations (T, N, d)."""
    policy, state, actions = RslRlPpo.load_policy(bundle, io, torch.device("cpu")), None, []
    for step in obs:
        action, state = policy.act({"policy": step}, state)
        actions.append(action)
    return torch.stack(actions)


@pytest.mark.parametrize("name", ["plain", "normalised", "recurrent"])
def test_the_policy_acts_as_it_did_in_the_old_library(config, io, name):
    path = MADE / f"model_{name}.pt"
    said = torch.load(path, weights_only=True)["infos"]
    obs, actions = (said[k] if name == "recurrent" else said[k][None] for k in ("obs", "actions"))
    bundle, old = adopt.adopt(path, config, io, JOINTS)
    assert torch.allclose(acting(bundle, io, obs), actions, atol=1e-6)
    assert old.iteration == 1 and bundle["adopted"]["joints"] == JOINTS
    assert old.model["distribution_cfg"]["std_type"] == ("log" if name == "normalised" else "scalar")


def test_joints_in_another_order_are_put_into_that_of_the_task(config, io):
    path = MADE / "model_normalised.pt"
    obs = torch.randn(1, 4, 9)
    same = acting(adopt.adopt(path, config, io, JOINTS)[0], io, obs)
    bundle, _ = adopt.adopt(path, config, io, JOINTS[::-1])
    swapped = obs[..., [1, 0, 3, 2, 4, 5, 6, 7, 8]]  # joint_pos and joint_vel; `target` has two values too
    assert torch.allclose(acting(bundle, io, swapped), same.flip(-1), atol=1e-6)
    before = torch.load(path, weights_only=True)["model_state_dict"]["log_std"]
    assert torch.equal(bundle["policy"]["actor"]["distribution.log_std_param"], before.flip(0))


def test_go2_tells_which_of_its_observations_belong_to_joints():
    assert joint_terms(compose_config(["task=go2_flat"]).env) == ["joint_pos", "joint_vel", "actions"]


def test_the_verb_writes_a_policy_that_evaluation_takes(tmp_path, capsys, monkeypatch):
    shutil.copy(MADE / "model_plain.pt", tmp_path / "model_300.pt")
    monkeypatch.chdir(tmp_path)
    assert main(["adopt", "model_300.pt", "--joints", "task", "task=reach"]) == 0
    said = capsys.readouterr().out
    assert_names(said, "model_300.policy.pt", "16-8", "iteration 1", "elu")
    assert_names(said, "joint_pos 2", "joint_vel 2", "target 2", "tip 3")
    bundle = checkpoint.load(tmp_path / "model_300.policy.pt")
    assert IOSpec.from_dict(bundle["io"]).action.joints == JOINTS
    from regimen.agents.policy_file import load_policy

    env = make_env("reach", 3)
    action, _ = load_policy(bundle, env, seed=0).act(env.reset(seed=0), None)
    assert action.shape == (3, 2)


def test_training_can_start_from_an_adopted_policy(tmp_path, config, io):
    from regimen.stages.train import _load_weights

    bundle, old = adopt.adopt(MADE / "model_plain.pt", config, io, JOINTS)
    checkpoint.save(tmp_path / "old.policy.pt", bundle)
    config = compose_config(["task=reach", "agent=rsl_rl_ppo", "agent.actor.hidden_dims=[16,8]"])
    config.agent.actor["obs_normalization"] = False
    env = make_env("reach", 2)
    agent = RslRlPpo(config.agent, env.io, 2, torch.device("cpu"), seed=0)
    _load_weights(tmp_path / "old.policy.pt", env, agent)
    assert torch.equal(agent.policy_state()["actor"]["mlp.0.weight"], old.state["mlp.0.weight"])


def test_what_does_not_fit_is_named(config, io):
    path = MADE / "model_plain.pt"
    go2 = make_env("go2_flat", 1)
    with raises_naming(IOMismatchError, path, 9, 50, "base_lin_vel 3"):
        adopt.adopt(path, config, go2.io, go2.io.action.joints)
    with raises_naming(IOMismatchError, "--joints", "shoulder, wrist", "shoulder, elbow"):
        adopt.adopt(path, config, io, ["shoulder", "wrist"])
    with raises_naming(ConfigError, "agent.actor.activation=elo", "elu"):
        adopt.adopt(path, compose_config(["task=reach", "agent=rsl_rl_ppo", "agent.actor.activation=elo"]), io, JOINTS)


@pytest.mark.parametrize("read", [read_plain, checkpoint.load])
def test_a_file_of_the_library_itself_is_not_taken_for_a_policy_of_ours(read):
    with raises_naming(CheckpointError, "rsl_rl", f"regimen adopt {MADE / 'model_plain.pt'} --joints"):
        read(MADE / "model_plain.pt")


def changed(tmp_path: Path, change: dict, drop: str = "") -> Path:
    saved = torch.load(MADE / "model_plain.pt", weights_only=True)
    state = saved["model_state_dict"]
    for name in [n for n in state if drop and n.startswith(drop)]:
        del state[name]
    state.update(change)
    torch.save(saved, tmp_path / "model.pt")
    return tmp_path / "model.pt"


@pytest.mark.parametrize(
    ("change", "drop", "names"),
    [
        ({"encoder.0.weight": torch.zeros(2, 2)}, "", ["encoder.0.weight"]),
        ({}, "actor.2", ["[0, 4]", "0, 2"]),
        ({}, "std", ["std", "log_std"]),
        ({"actor.2.weight": torch.zeros(8, 5)}, "", [16, 5]),
        (
            {"memory_a.rnn.weight_ih_l0": torch.zeros(8, 9), "memory_a.rnn.weight_hh_l0": torch.zeros(8, 8)},
            "",
            ["recurrent", 8],
        ),
    ],
)
def test_a_network_that_cannot_be_inferred_says_why(tmp_path, change, drop, names):
    path = changed(tmp_path, change, drop)
    with raises_naming(CheckpointError, path) as caught:
        foreign_checkpoint.read(path)
    assert_names(str(caught.value).replace(str(path), ""), *names)


def test_python_objects_in_the_file_are_never_run(tmp_path):
    ran = tmp_path / "ran"

    class Trap:
        def __reduce__(self):
            return Path.touch, (ran,)

    saved = torch.load(MADE / "model_plain.pt", weights_only=True)
    torch.save({**saved, "infos": Trap()}, tmp_path / "model.pt")
    with raises_naming(CheckpointError, tmp_path / "model.pt", "weights_only=False", "d['infos'] = None"):
        foreign_checkpoint.read(tmp_path / "model.pt")
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"no zip"])
def test_what_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "model.pt").write_bytes(content)
    with raises_naming(CheckpointError, tmp_path / "model.pt", "zip"):
        foreign_checkpoint.read(tmp_path / "model.pt")
    torch.save({"weights": 1}, tmp_path / "other.pt")
    with raises_naming(CheckpointError, tmp_path / "other.pt", "model_state_dict", "actor_state_dict", "weights"):
        foreign_checkpoint.read(tmp_path / "other.pt")


def test_checkpoints_of_version_5_are_read_as_well(tmp_path, config, io):
    agent = RslRlPpo(config.agent, io, 2, torch.device("cpu"), seed=0)
    torch.save({**agent.ppo.save(), "iter": 7, "infos": None}, tmp_path / "model_7.pt")
    bundle, old = adopt.adopt(tmp_path / "model_7.pt", config, io, JOINTS)
    assert old.iteration == 7 and old.model["hidden_dims"] == [128, 128, 128] and old.model["obs_normalization"]
    same = agent.policy_state()["actor"]
    assert all(torch.equal(bundle["policy"]["actor"][k], same[k]) for k in same)
    assert same.keys() == bundle["policy"]["actor"].keys()


@pytest.mark.slow
def test_the_raw_file_is_evaluated_where_its_joints_are_told(tmp_path, config):
    from helpers.trainings import new_run
    from regimen.orchestration.preflight import preflight
    from regimen.stages.evaluate import Evaluate
    from regimen.stages.evaluation.config import EvaluateCfg

    results = []
    for joints in (JOINTS, ["task"], JOINTS[::-1]):
        config.stage = EvaluateCfg(envs_per_command=2, episode_length_s=0.5, bootstrap=20, joints=joints)
        config.policy = str(MADE / "model_plain.pt")
        run = new_run(tmp_path / "outputs", config)
        Evaluate(config.stage)(run, config)
        results.append(json.loads((run.dir / "result.json").read_text())["overall"]["return"])
    assert results[0] == results[1] != results[2]

    def told(*words: str) -> str:
        start = ["stage=evaluate", "task=reach", f"policy={MADE / 'model_plain.pt'}", *words]
        with pytest.raises(ConfigError) as caught:
            preflight(compose(start, [CONF]), tmp_path)
        return str(caught.value)

    assert_names(told(), MADE / "model_plain.pt", "agent=rsl_rl_ppo stage.joints=[task]")
    assert_names(told("stage.joints=[task]"), "agent=skrl_ppo", "agent=rsl_rl_ppo")
    wrong = told("agent=rsl_rl_ppo", "stage.joints=[elbow,wrist]")
    assert_names(wrong, "stage.joints=['elbow', 'wrist']", "shoulder, elbow", "[task]")
    own = told("policy=pretrained:go2_flat", "task=go2_flat", "stage.joints=[task]")
    assert_names(own, "stage.joints=['task']", CONF.parent / "pretrained" / "go2_flat" / "policy.pt")
