"""Checkpoints that skrl 1 (see skrl_1/make.py) and 2 wrote become policies that act as they did."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.tasks import make_env
from regimen.agents.policy_file import load_policy
from regimen.agents.skrl_ppo import SkrlPpo
from regimen.agents.skrl_ppo.adopt import adopt
from regimen.cli.main import main
from regimen.config.compose import compose_config
from regimen.config.schema import Config
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.runs.checkpoint_header import read_plain
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError

MADE = Path(__file__).parent / "skrl_1"
JOINTS = ["shoulder", "elbow"]
UNSCALED = "agent.agent.observation_preprocessor=null"
ACTIVATION = "agent.models.policy.network.0.activations"


def composed(*overrides: str) -> Config:
    return compose_config(["task=reach", "agent=skrl_ppo", *overrides])


@pytest.fixture(scope="module")
def io() -> IOSpec:
    env = make_env("reach", 1)
    env.close()
    return env.io


def acting(bundle: Any, io: IOSpec, obs: torch.Tensor) -> torch.Tensor:
    return SkrlPpo.load_policy(bundle, io, torch.device("cpu")).act({"policy": obs}, None)[0]


@pytest.mark.parametrize(("name", "key"), [("agent_16.pt", "separate"), ("best_agent.pt", "shared")])
def test_the_policy_acts_as_it_did_in_skrl_1(io, name, key):
    acted = torch.load(MADE / "acted.pt", weights_only=True)
    bundle, file = adopt(MADE / name, composed(), io, JOINTS)
    assert torch.allclose(acting(bundle, io, acted["observations"]), acted[key], atol=1e-6)
    assert bundle["agent"]["models"]["policy"]["network"][0]["layers"] == [16, 8]
    assert bundle["agent"]["models"]["separate"] is (key == "separate") is not file.shared
    assert bundle["adopted"]["iteration"] == (16 if key == "separate" else None)


def written(folder: Path, io: IOSpec, *overrides: str) -> tuple[SkrlPpo, Path]:
    """An agent of skrl 2, and the file that the library writes of it."""
    settings = "layers: [24, 12], activations: relu}"
    network = f"[{{name: body, input: OBSERVATIONS, {settings}]"
    both = [f"agent.models.{role}.network={network}" for role in ("policy", "value")]
    made = SkrlPpo(composed(*both, *overrides).agent, io, 4, torch.device("cpu"), seed=3)
    scaler = made.ppo.checkpoint_modules.get("observation_preprocessor")
    if scaler is not None:
        scaler.running_mean += torch.arange(io.size())
        scaler.running_variance += 1.0
    made.ppo.save(str(folder / "agent_2400.pt"))
    return made, folder / "agent_2400.pt"


@pytest.mark.parametrize("separate", ["true", "false"])
@pytest.mark.parametrize("scaled", [[], [UNSCALED, "agent.agent.value_preprocessor=null"]])
def test_the_policy_acts_as_it_did_in_skrl_2(tmp_path, io, separate, scaled):
    made, path = written(tmp_path, io, f"agent.models.separate={separate}", *scaled)
    relu = [f"agent.models.{role}.network.0.activations=relu" for role in ("policy", "value")]
    bundle, _ = adopt(path, composed(*relu), io, JOINTS)
    obs = torch.randn(5, io.size())
    theirs = SkrlPpo.load_policy(bundle | {"agent": vars(made.cfg), "policy": made.policy_state()}, io, made.device)
    assert torch.equal(acting(bundle, io, obs), theirs.act({"policy": obs}, None)[0])
    agent = bundle["agent"]["agent"]
    scalers = (agent["observation_preprocessor"], agent["value_preprocessor"])
    assert scalers == ((None, None) if scaled else ("RunningStandardScaler",) * 2)


@pytest.mark.parametrize("name", ["agent_16.pt", "best_agent.pt"])
def test_joints_in_another_order_are_put_into_that_of_the_task(io, name):
    obs = torch.randn(4, 9)
    same = acting(adopt(MADE / name, composed(), io, JOINTS)[0], io, obs)
    bundle, _ = adopt(MADE / name, composed(), io, JOINTS[::-1])
    swapped = obs[:, [1, 0, 3, 2, 4, 5, 6, 7, 8]]  # joint_pos and joint_vel; `target` has two values too
    assert torch.allclose(acting(bundle, io, swapped), same.flip(-1), atol=1e-6)
    before = torch.load(MADE / name, weights_only=True)["policy"]["log_std_parameter"]
    assert torch.equal(bundle["policy"]["policy"]["log_std_parameter"], before.flip(0))


def test_the_verb_writes_a_policy_that_evaluation_takes(tmp_path, capsys, monkeypatch):
    shutil.copy(MADE / "best_agent.pt", tmp_path / "best_agent.pt")
    monkeypatch.chdir(tmp_path)
    assert main(["adopt", "best_agent.pt", "--joints", "task", "task=reach", "agent=skrl_ppo"]) == 0
    assert_names(capsys.readouterr().out, "best_agent.policy.pt", "16-8", "shared", "elu", "ACTIONS", "joint_pos 2")
    env = make_env("reach", 3)
    bundle = checkpoint.load(tmp_path / "best_agent.policy.pt")
    action, _ = load_policy(bundle, env, seed=0).act(env.reset(seed=0), None)
    assert action.shape == (3, 2)


def test_a_training_can_start_from_an_adopted_policy(io):
    bundle, file = adopt(MADE / "agent_16.pt", composed(), io, JOINTS)
    agent = SkrlPpo(type(composed().agent)(**bundle["agent"]), io, 2, torch.device("cpu"), seed=0)
    agent.load_policy_state(bundle["policy"])
    assert torch.equal(agent.policy_state()["policy"][file.actor.first], file.policy[file.actor.first])


def test_sizes_that_do_not_fit_the_task_are_named():
    env = make_env("go2_flat", 1)
    config = compose_config(["task=go2_flat", "agent=skrl_ppo"])
    with raises_naming(IOMismatchError, "agent_16.pt", 9, "task=go2_flat", 50, "base_lin_vel 3"):
        adopt(MADE / "agent_16.pt", config, env.io, env.io.action.joints)


def test_an_unknown_activation_is_refused_with_the_nearest(io):
    with raises_naming(ConfigError, f"{ACTIVATION}=eluu", "elu"):
        adopt(MADE / "agent_16.pt", composed(f"{ACTIVATION}=eluu"), io, JOINTS)
    with raises_naming(ConfigError, ACTIVATION, 2):
        adopt(MADE / "agent_16.pt", composed(f"{ACTIVATION}=[elu,elu,relu]"), io, JOINTS)


def test_a_file_that_is_cut_short_is_refused(tmp_path, io):
    whole = (MADE / "agent_16.pt").read_bytes()
    (tmp_path / "agent_16.pt").write_bytes(whole[: len(whole) // 2])
    with raises_naming(CheckpointError, tmp_path / "agent_16.pt", "zip"):
        adopt(tmp_path / "agent_16.pt", composed(), io, JOINTS)


def changed(tmp_path: Path, part: str, change: dict, drop: str = "") -> Path:
    saved = torch.load(MADE / "agent_16.pt", weights_only=True)
    for name in [n for n in saved[part] if drop and n.startswith(drop)]:
        del saved[part][name]
    saved[part] |= change
    torch.save(saved, tmp_path / "agent.pt")
    return tmp_path / "agent.pt"


@pytest.mark.parametrize(
    ("part", "change", "drop", "names"),
    [
        ("policy", {"lstm.weight_ih_l0": torch.zeros(2, 2)}, "", ["lstm.weight_ih_l0"]),
        ("policy", {"more_container.0.weight": torch.zeros(2, 2)}, "", ["more, net"]),
        ("policy", {}, "net_container.2", ["[0, 4]"]),
        ("policy", {}, "log_std", ["log_std_parameter", "GaussianMixin"]),
        ("policy", {"net_container.2.weight": torch.zeros(8, 5)}, "", [16, 5]),
        ("value", {"net_container.2.weight": torch.zeros(8, 5)}, "", ["value", 16, 5]),
    ],
)
def test_a_network_that_cannot_be_inferred_says_why(tmp_path, io, part, change, drop, names):
    with raises_naming(CheckpointError, tmp_path / "agent.pt", *names):
        adopt(changed(tmp_path, part, change, drop), composed(), io, JOINTS)


def test_other_algorithms_are_refused_by_what_they_have(tmp_path, io):
    saved = torch.load(MADE / "agent_16.pt", weights_only=True)
    del saved["value"]
    torch.save({**saved, "critic_1": {}}, tmp_path / "agent.pt")
    with raises_naming(CheckpointError, tmp_path / "agent.pt", "critic_1", "PPO"):
        adopt(tmp_path / "agent.pt", composed(), io, JOINTS)


def test_files_of_other_libraries_are_named_with_the_agent_to_type(tmp_path, io, capsys, monkeypatch):
    rsl_rl = Path(__file__).parents[1] / "rsl_rl" / "rsl_rl_2" / "model_plain.pt"
    with raises_naming(CheckpointError, rsl_rl, "rsl_rl", "agent=rsl_rl_ppo"):
        adopt(rsl_rl, composed(), io, JOINTS)
    monkeypatch.chdir(tmp_path)
    shutil.copy(MADE / "agent_16.pt", tmp_path)
    torch.save({"model": {}, "epoch": 3, "last_mean_rewards": torch.tensor(2.5).numpy()[()]}, tmp_path / "Ant.pth")
    for file, agent in (("agent_16.pt", "agent=skrl_ppo"), ("Ant.pth", "agent=rl_games")):
        assert main(["adopt", file, "--joints", "task", "task=reach"]) != 0
        assert_names(capsys.readouterr().err, file, agent)
        with raises_naming(CheckpointError, file, f"regimen adopt {file}", agent):
            read_plain(Path(file))
    assert main(["adopt", "agent_16.pt", "--joints", "task", "task=reach", "agent=fast_sac"]) != 0
    assert_names(capsys.readouterr().err, "agent=fast_sac", "agent=rsl_rl_ppo", "agent=skrl_ppo", "agent=rl_games")
