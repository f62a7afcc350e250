"""An agent that cannot do what its stage asks, a policy in a detector's place: told before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from regimen import checkpoint
from regimen.compose import compose
from regimen.errors import ConfigError
from regimen.preflight import preflight

ROOT = Path(__file__).resolve().parents[1]
WALKER = ROOT / "pretrained" / "h1_flat" / "policy.pt"


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    """A file with what preflight reads of a detector: whose it is, its group, and names of observations."""
    from regimen.agents.failure_gru import FailureGruCfg
    from tasks import make_env

    path = tmp_path_factory.mktemp("detector") / "detector.pt"
    io = make_env("h1_failure", 1).io.to_dict()
    known = {"classes": ["healthy"], "group": "discriminator", "network": {"w": torch.zeros(1)}}
    checkpoint.save(path, {"agent": asdict(FailureGruCfg()), "io": io, "detector": known, "format": checkpoint.FORMAT})
    return path


def refusal(tmp_path, *arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        preflight(compose(list(arguments), [ROOT / "conf"]), tmp_path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["task=reach", "agent=failure_gru"], "agent=failure_gru has no `learn`, which stage=train calls. Agents"),
        (["stage=distill", "task=reach", "data=[x]"], "agent=skrl_ppo has no `fit`, which stage=distill calls. Agents"),
        (
            ["stage=evaluate", "task=h1_failure", "agent=failure_gru", f"policy={WALKER}"],
            "stage=evaluate agent=failure_gru judges a detector: estimator=<run reference> is missing",
        ),
    ],
)
def test_an_agent_that_cannot_do_it_is_told_with_those_that_can(tmp_path, arguments, message):
    assert message in refusal(tmp_path, *arguments)


def test_agents_that_can_are_named(tmp_path):
    told = refusal(tmp_path, "task=reach", "agent=failure_gru")
    assert "skrl_ppo" in told.partition("Agents with it: ")[2]
    assert "failure_gru" in refusal(tmp_path, "stage=distill", "task=reach", "data=[x]").partition("with it: ")[2]


def test_a_policy_is_no_detector_and_a_detector_no_policy(tmp_path, detector):
    start = ["task=h1_failure", "stage=evaluate"]
    told = refusal(tmp_path, *start, f"policy={WALKER}", f"estimator={WALKER}")
    assert f"estimator={WALKER} is a policy, not a detector" in told
    told = refusal(tmp_path, *start, f"policy={detector}")
    assert f"is a detector: it names broken joints and does not act. Type estimator={detector}" in told


def test_a_detector_must_fit_the_task_by_the_group_that_it_reads(tmp_path, detector):
    start = ["task=h1_failure", "stage=train", f"policy={WALKER}", f"estimator={detector}"]
    preflight(compose(start, [ROOT / "conf"]), tmp_path)
    told = refusal(tmp_path, *start, "env.observations.discriminator.terms.joint_effort.scale=0.5")
    assert (
        "does not fit task=h1_failure:\n  observation discriminator.joint_effort: scale: detector 1.0, env 0.5" in told
    )


def test_a_policy_that_is_told_of_faults_says_how_to_tell_it(tmp_path):
    told = refusal(tmp_path, "task=h1_failure", "stage=evaluate", f"policy={WALKER}", "env.estimate.mode=oracle")
    assert "This policy is told of no faults. Take estimator= and env.estimate.mode= away" in told


@pytest.mark.parametrize(
    ("agent", "file", "message"),
    [
        ("failure_gru", "histories.json", "are learning histories (stage=collect_histories); agent=failure_gru learns"),
        ("vintix_small", "episodes.h5", "are recorded episodes (stage=collect); agent=vintix_small learns from"),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path, agent, file, message):
    (tmp_path / file).write_text("{}")
    told = refusal(tmp_path, "stage=distill", "task=reach", f"agent={agent}", f"data=[{tmp_path / file}]")
    assert message in told


def test_a_file_that_is_no_policy_is_told_for_tasks_without_a_robot_too(tmp_path):
    file = tmp_path / "model_00001000.pt"
    file.write_bytes(b"cut")
    told = refusal(tmp_path, "task=gym", "stage=evaluate", f"policy={file}")
    assert told.startswith(f"policy={file}: ") and "is not a checkpoint of this launcher" in told


@pytest.mark.parametrize("task", ["h1_flat", "gym"])
def test_a_training_does_not_begin_with_the_networks_of_another_agent(tmp_path, task):
    told = refusal(tmp_path, f"task={task}", "agent=fast_sac", f"policy={WALKER}")
    assert told.startswith(f"policy={WALKER} is one of SkrlPpo, with which agent=fast_sac cannot begin")
    assert "Type agent=skrl_ppo, or leave policy= away" in told
