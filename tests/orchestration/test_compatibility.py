"""An agent that cannot do what its stage asks, a policy in a detector's place: told before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import h5py
import pytest
import torch

import regimen
from helpers.messages import assert_names, missing_names, raises_naming
from regimen.cli import main
from regimen.config.compose import compose
from regimen.envs.robots.robot import load, match
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]
WALKER = ROOT / "pretrained" / "h1_flat" / "policy.pt"
LEG_JOINTS = match(load("h1").joints, ".*_(hip_yaw|hip_roll|hip_pitch|knee)")


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    """A file with what preflight reads of a detector: whose it is, its group, and names of observations."""
    from helpers.tasks import make_env
    from regimen.agents.failure_detector.agent import FailureGruCfg

    path = tmp_path_factory.mktemp("detector") / "detector.pt"
    io = make_env("h1_failure", 1).io.to_dict()
    known = {"classes": ["healthy", *LEG_JOINTS], "group": "discriminator", "network": {"w": torch.zeros(1)}}
    checkpoint.save(path, {"agent": asdict(FailureGruCfg()), "io": io, "detector": known, "format": checkpoint.FORMAT})
    return path


def refusal(tmp_path, *arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        preflight(compose(list(arguments), [ROOT / "conf"]), tmp_path)
    return str(caught.value)


def line_naming(text: str, *names: str) -> str:
    (line,) = [line for line in text.splitlines() if not missing_names(line, *names)]
    return line


@pytest.mark.parametrize(
    ("arguments", "named", "able", "unable"),
    [
        (["agent=failure_gru"], ("agent=failure_gru", "learn", "stage=train"), "skrl_ppo", "vintix"),
        (["stage=distill", "data=[x]"], ("agent=skrl_ppo", "fit", "stage=distill"), "failure_gru", "fast_sac"),
    ],
)
def test_an_agent_that_cannot_do_it_is_told_with_those_that_can(tmp_path, arguments, named, able, unable):
    line = line_naming(refusal(tmp_path, "task=reach", *arguments), *named)
    assert missing_names(line, able, unable) == [unable]


def test_data_for_an_agent_that_reads_none_are_told_with_those_that_do(tmp_path):
    path = tmp_path / "episodes.h5"
    h5py.File(path, "w").close()
    told = refusal(tmp_path, "task=reach", "agent=fast_sac", f"data=[{path}]")
    line = line_naming(told, "agent=fast_sac", "rlpd")
    assert missing_names(line, "rlpd", "skrl_ppo") == ["skrl_ppo"]


def test_a_detector_to_be_judged_has_to_be_named(tmp_path):
    told = refusal(tmp_path, "stage=evaluate", "task=h1_failure", "agent=failure_gru", f"policy={WALKER}")
    assert_names(told, "stage=evaluate", "agent=failure_gru", "detector", "estimator=<run reference>")


def test_a_policy_is_no_detector_and_a_detector_no_policy(tmp_path, detector):
    start = ["task=h1_failure", "stage=evaluate"]
    told = refusal(tmp_path, *start, f"policy={WALKER}", f"estimator={WALKER}")
    line = line_naming(told, f"estimator={WALKER}")
    assert_names(line, "policy", "detector", "stage=distill agent=failure_gru")
    told = refusal(tmp_path, *start, f"policy={detector}")
    assert_names(told, f"policy={detector}", "detector", f"estimator={detector}")


def test_a_detector_must_fit_the_task_by_the_group_that_it_reads(tmp_path, detector):
    start = ["task=h1_failure", "stage=train", f"policy={WALKER}", f"estimator={detector}"]
    preflight(compose(start, [ROOT / "conf"]), tmp_path)
    told = refusal(tmp_path, *start, "env.observations.discriminator.terms.joint_effort.scale=0.5")
    assert_names(told, f"estimator={detector}", "task=h1_failure")
    assert_names(line_naming(told, "discriminator.joint_effort"), "scale", "detector 1.0", "env 0.5")


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["stage=evaluate", "agent=failure_gru"], "env.events.change_joint_torque.params.joints"),
        (["stage=train"], "env.estimate.joints"),
    ],
)
def test_a_detector_must_distinguish_the_joints_that_fail_in_the_task(tmp_path, detector, arguments, key):
    start = ["task=h1_failure", *arguments, f"policy={WALKER}", f"estimator={detector}"]
    preflight(compose(start, [ROOT / "conf"]), tmp_path)
    line = line_naming(refusal(tmp_path, *start, f"{key}=[.*_knee]"), key, *LEG_JOINTS)
    assert_names(line, "healthy, left_knee, right_knee")


def test_a_detector_is_not_evaluated_without_faults(tmp_path, detector):
    start = ["task=h1_failure", "stage=evaluate", "agent=failure_gru", f"policy={WALKER}", f"estimator={detector}"]
    assert_names(refusal(tmp_path, *start, "env.events.change_joint_torque=null"), "env.evaluation.faults")


def test_a_policy_that_is_told_of_faults_says_how_to_tell_it(tmp_path):
    told = refusal(tmp_path, "task=h1_failure", "stage=evaluate", f"policy={WALKER}", "env.estimate.mode=oracle")
    assert_names(told, f"policy={WALKER}", "estimator=", "env.estimate.mode=")


@pytest.mark.parametrize(
    ("agent", "file", "given", "needed"),
    [
        ("failure_gru", "histories.json", "stage=collect_histories", "stage=collect"),
        ("vintix_small", "episodes.h5", "stage=collect", "stage=collect_histories"),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path, agent, file, given, needed):
    (tmp_path / file).write_text("{}")
    told = refusal(tmp_path, "stage=distill", "task=reach", f"agent={agent}", f"data=[{tmp_path / file}]")
    assert_names(told, f"data={tmp_path / file}", f"agent={agent}", given, needed)


def test_a_dataset_that_is_cut_short_is_refused_before_the_start(tmp_path):
    with h5py.File(tmp_path / "episodes.h5", "w") as file:
        file["reward"] = [0.0] * 1000
    content = (tmp_path / "episodes.h5").read_bytes()
    (tmp_path / "episodes.h5").write_bytes(content[: len(content) // 2])
    data = f"data=[{tmp_path / 'episodes.h5'}]"
    told = refusal(tmp_path, "stage=distill", "task=reach", "agent=failure_gru", data)
    assert_names(told, f"data={tmp_path / 'episodes.h5'}", "cut short", f"{len(content):,}")


def test_a_file_that_is_no_policy_is_told_for_tasks_without_a_robot_too(tmp_path):
    file = tmp_path / "model_00001000.pt"
    file.write_bytes(b"cut")
    told = refusal(tmp_path, "task=gym", "stage=evaluate", f"policy={file}")
    assert_names(told, f"policy={file}", "checkpoint")


@pytest.mark.parametrize("task", ["h1_flat", "gym"])
def test_a_training_does_not_begin_with_the_networks_of_another_agent(tmp_path, task):
    told = refusal(tmp_path, f"task={task}", "agent=fast_sac", f"policy={WALKER}")
    assert_names(told, f"policy={WALKER}", "SkrlPpo", "agent=fast_sac", "agent=skrl_ppo")


def test_a_training_begins_with_the_networks_of_an_agent_that_declares_the_same(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    source = "from dataclasses import dataclass\nfrom regimen.agents.skrl_ppo import SkrlPpo, SkrlPpoCfg\n"
    own = "@dataclass\nclass OwnCfg(SkrlPpoCfg):\n    _target_: str = 'own_agent.Own'\n\nclass Own(SkrlPpo): ...\n"
    (tmp_path / "own_agent.py").write_text(source + own)
    (tmp_path / "lab/agent").mkdir(parents=True)
    options = (
        (ROOT / "conf/agent/skrl_ppo.yaml").read_text().replace("regimen.agents.skrl_ppo.SkrlPpo", "own_agent.Own")
    )
    (tmp_path / "lab/agent/own.yaml").write_text(options)
    arguments = ["task=h1_flat", "agent=own", f"policy={WALKER}"]
    preflight(compose(arguments, [ROOT / "conf", tmp_path / "lab"]), tmp_path / "outputs")


STRANGE = "from pathlib import Path\nPath('imported').touch()\nclass Agent: ...\n"


@pytest.mark.parametrize("where", ["agent", "part"])
@pytest.mark.parametrize("name", ["policy", "estimator", "experts"])
def test_a_checkpoint_does_not_name_code_to_import(tmp_path, monkeypatch, name, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_agent.py").write_text(STRANGE)
    bundle = checkpoint.load(WALKER)
    agent = {"_target_": "strange_agent.Agent"}
    bundle |= {"agent": agent} if where == "agent" else {"policy": {"parts": [{"agent": agent}]}}
    checkpoint.save(tmp_path / "given.pt", bundle)
    stage = {"policy": "evaluate", "estimator": "evaluate", "experts": "assemble"}[name]
    value = "[given.pt]" if name == "experts" else "given.pt"
    policy = [] if name == "policy" else [f"policy={WALKER}"]
    told = refusal(tmp_path, "task=h1_flat", f"stage={stage}", f"{name}={value}", *policy)
    assert_names(told, "given.pt", "strange_agent.Agent", "--config-dir")
    assert not (tmp_path / "imported").exists()


def test_the_python_interface_imports_no_code_that_a_checkpoint_names(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "strange_agent.py").write_text(STRANGE)
    checkpoint.save(tmp_path / "given.pt", checkpoint.load(WALKER) | {"agent": {"_target_": "strange_agent.Agent"}})
    with raises_naming(CheckpointError, "strange_agent.Agent"):
        regimen.load_policy("given.pt", None)
    assert main.main(["export", "given.pt", "format=torchscript", "task=h1_flat"]) != 0
    assert_names(capsys.readouterr().err, "strange_agent.Agent")
    assert not (tmp_path / "imported").exists()
