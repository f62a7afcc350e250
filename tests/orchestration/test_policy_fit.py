"""A policy that does not fit is refused before the simulator starts, without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names, missing_names, raises_naming
from helpers.trainings import new_run, train, training_config
from regimen.agents.policy_header import read_header
from regimen.config.compose import compose
from regimen.envs.robots.robot import load
from regimen.orchestration import compatibility
from regimen.orchestration.preflight import preflight
from regimen.runs.signature import config_signature
from regimen.system.errors import CheckpointError, ConfigError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    config = training_config("go2_flat", timesteps=24, num_envs=2)
    run = new_run(tmp_path_factory.mktemp("outputs"), config)
    train(run, config)
    return run.checkpoints / "last.pt"


def refusal(policy, tmp_path, *overrides: str) -> str:
    composed = compose([f"policy={policy}", "stage=evaluate", *overrides], [ROOT / "conf"])
    with pytest.raises(ConfigError) as caught:
        preflight(composed, tmp_path)
    return str(caught.value)


def test_its_own_task_fits(policy, tmp_path):
    preflight(compose([f"policy={policy}", "stage=evaluate", "task=go2_flat"], [ROOT / "conf"]), tmp_path)


def line_naming(text, name):
    (line,) = [line for line in text.splitlines() if not missing_names(line, name)]
    return line


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("env.actions.scale=0.3", ("FL_hip_joint", "scale", "policy 0.5", "env 0.3")),
        ("env.decimation=2", ("time", "policy 0.02 s", "env 0.01 s")),
        ("env.observations.policy.terms.joint_vel.scale=0.1", ("policy.joint_vel", "scale", "policy 1.0", "env 0.1")),
        (
            "env.observations.policy.terms.joint_pos.params.joints=.*_calf_joint",
            ("policy.joint_pos", "joints", "policy None", "FL_calf_joint", "RR_calf_joint"),
        ),
    ],
)
def test_each_misfit_is_named_before_anything_starts(policy, tmp_path, change, named):
    text = refusal(policy, tmp_path, "task=go2_flat", change)
    assert_names(text, f"policy={policy}", "task=go2_flat")
    assert_names(line_naming(text, named[0]), *named)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["task=h1_flat"], "FL_hip_joint"),
        (["task=go2_flat", "env.observations.policy.terms.joint_vel=null"], "policy.joint_vel"),
    ],
)
def test_what_only_the_policy_has_is_named_as_such(policy, tmp_path, arguments, name):
    text = refusal(policy, tmp_path, *arguments)
    assert_names(text, f"policy={policy}", arguments[0])
    rest = line_naming(text, name).replace(name, "")
    assert missing_names(rest, "policy", "env") == ["env"]


def test_plain_values_are_read_without_torch(policy):
    code = (
        "import sys, pathlib; from regimen.agents.policy_header import read_header;"
        "plain = read_header(pathlib.Path(sys.argv[1]));"
        "assert plain['io']['step_dt'] == 0.02; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(policy)], check=True)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(b"hello")
    with raises_naming(CheckpointError, path, "checkpoint"):
        read_header(path)


@pytest.mark.parametrize(("task", "robot"), [("go2_flat", "go2"), ("h1_failure", "h1")])
def test_the_static_comparison_agrees_with_the_open_environment(task, robot):
    from helpers.tasks import make_env
    from regimen.envs.vec_env import IOSpec

    composed = compose([f"task={task}"], [ROOT / "conf"])
    io = make_env(task, 1).io
    assert compatibility.mismatches(io.to_dict(), composed.config, load(robot), groups=tuple(io.observations)) == []
    assert compatibility._task_io(io, composed.config, load(robot)) == IOSpec.from_dict(io.to_dict())


def test_a_policy_that_is_told_of_faults_fits_only_where_it_is_told(tmp_path):
    from regimen.config.compose import compose_config
    from regimen.envs import open_env

    walker = ROOT / "pretrained" / "h1_flat" / "policy.pt"
    told = ["task=h1_failure", "env.estimate.mode=oracle"]
    refused = refusal(walker, tmp_path, *told)
    for name in ("policy.fault_probability", "policy.time_since_verdict"):
        assert missing_names(line_naming(refused, name).replace(name, ""), "policy", "env") == ["policy"]
    start = compose([f"policy={walker}", "stage=train", *told], [ROOT / "conf"])
    preflight(start, tmp_path)  # its weights are a start, though
    env = open_env(compose_config([*told, "env.num_envs=1"]))
    assert compatibility.mismatches(env.io.to_dict(), start.config, load("h1")) == []
    without = compose(["task=h1_failure"], [ROOT / "conf"]).config
    line = line_naming(
        "\n".join(compatibility.mismatches(env.io.to_dict(), without, load("h1"))), "policy.time_since_verdict"
    )
    assert missing_names(line.replace("policy.time_since_verdict", ""), "policy", "env") == ["env"]
    env.close()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (["env.estimate.mode=oracel"], ("env.estimate.mode=oracel", "oracle", "oracle_delayed", "classifier", "null")),
        (["env.estimate.mode=classifier"], ("env.estimate.mode=classifier", "estimator=<run reference or file>")),
        (["env.estimate.mode=oracle", "env.estimate.joints=[]"], ("env.estimate.mode=oracle", "env.estimate.joints")),
        (["env.estimate.delay_steps=[9,3]"], ("env.estimate.delay_steps=[9, 3]", "[lowest, highest]", "0")),
        (["env.estimate.false_alarms_per_hour=-1"], ("env.estimate.false_alarms_per_hour=-1", "0")),
    ],
)
def test_an_estimate_that_nobody_can_make_is_refused(tmp_path, changes, named):
    with raises_naming(ConfigError, *named):
        preflight(compose(["task=h1_failure", *changes], [ROOT / "conf"]), tmp_path)


@pytest.mark.parametrize("stage", ["evaluate", "collect", "collect_histories"])
@pytest.mark.parametrize("in_run", [True, False])
def test_a_run_that_only_loads_a_policy_is_one_of_its_agent(policy, tmp_path, stage, in_run):
    file = policy
    if not in_run:
        file = tmp_path / "alone.pt"
        file.write_bytes(policy.read_bytes())
    more = ["stage.steps=10", "stage.episodes=null"] if stage == "collect_histories" else []
    arguments = [f"policy={file}", f"stage={stage}", "task=go2_flat", "agent=fast_sac", *more]
    composed = compose([*arguments, "agent.batch_size=64"], [ROOT / "conf"])
    before = config_signature(composed.plain, {})
    report = preflight(composed, tmp_path)
    assert composed.choices["agent"] == composed.plain["choices"]["agent"] == "skrl_ppo"
    assert composed.plain["agent"]["_target_"] == type(composed.config.agent)._target_
    assert composed.plain["agent"]["trainer"]["timesteps"] == 24  # as it was trained, not the option's default
    for text in ("agent=fast_sac", "agent.batch_size=64"):
        assert any(not missing_names(line, text, "skrl_ppo") for line in report.warnings)
    composed.set_value("hardware.threads", None)
    assert config_signature(composed.plain, {}) == before  # the policy's checksum counts, not the agent's option


def test_a_training_that_starts_from_a_policy_keeps_its_agent(policy, tmp_path):
    composed = compose([f"policy={policy}", "task=go2_flat", "agent.trainer.timesteps=48"], [ROOT / "conf"])
    preflight(composed, tmp_path)
    assert composed.plain["agent"]["trainer"]["timesteps"] == 48
