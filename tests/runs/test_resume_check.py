"""Whether a run can be resumed: advice and resume give one answer, and a refusal changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change, recorded
from helpers.subprocesses import said
from helpers.supervised_runs import ended, make_run, start
from regimen.runs import checkpoint, outcome, resume_check
from regimen.runs.record_parts import ProcessIdentity
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system import files
from regimen.system.errors import PreflightError


def stopped(root: Path, stage: str, bundle: Any, agent: str = "helpers.stages_for_tests.Nothing") -> Run:
    """A killed run of a stage of Regimen with a checkpoint."""
    run = make_run(root, "finish")
    target = {"train": "train.Train", "collect": "collect.Collect"}[stage]
    config = run.config | {"stage": {"_target_": f"regimen.stages.{target}"}, "agent": {"_target_": agent}}
    run.config_path.write_text(json.dumps(config))
    if bundle is not None:
        checkpoint.save(run.checkpoints / "last.pt", {"format": checkpoint.FORMAT, **bundle})
    here = ProcessIdentity(pid=1).to_dict()
    argv = ["launch.py", "--config-dir", "my conf", "task=gym", "policy=old", f"stage={stage}"]
    change(run.dir, status="killed", exit_code=130, signal=2, stage=stage, supervisor=here, argv=argv)
    return run


def training(**state: Any) -> dict[str, Any]:
    return {"io": {}, "training": {"env": {"x": torch.zeros(2)}, **state}}


SKRL = "regimen.agents.skrl_ppo.SkrlPpo"
OWN = "helpers.stages_for_tests.Nothing"
STUDENT = "regimen.agents.student.agent.Student"


@pytest.mark.parametrize(
    ("stage", "bundle", "agent"),
    [
        ("train", training(), OWN),
        ("train", training(restores_envs=True), OWN),
        ("train", training(restores_envs=False), SKRL),  # it begins new episodes
        ("train", None, OWN),  # it starts over
        ("collect", {"collect": {"restores_envs": True}}, OWN),
    ],
)
def test_a_run_that_can_be_resumed_is_advised_to_be(tmp_path: Path, stage: str, bundle: Any, agent: str) -> None:
    run = stopped(tmp_path, stage, bundle, agent)
    assert list(resume_check.refusals(run)) == []
    assert outcome.next_command(run, Status.KILLED, 130).startswith("python launch.py resume=")


@pytest.mark.parametrize(
    ("stage", "bundle", "agent", "policy"),
    [
        ("train", training(restores_envs=False), OWN, True),
        ("train", {"io": {}, "training": {"env": {"envs": None}}}, OWN, True),  # of version 0.1
        ("collect", {"collect": {"restores_envs": False}}, SKRL, False),
        ("train", "damaged", SKRL, False),
    ],
)
def test_another_run_is_advised_where_a_resume_is_refused(
    tmp_path: Path, stage: str, bundle: Any, agent: str, policy: bool
) -> None:
    run = stopped(tmp_path, stage, None if bundle == "damaged" else bundle, agent)
    if bundle == "damaged":
        run.checkpoints.mkdir()
        (run.checkpoints / "last.pt").write_bytes(b"PK damaged")
    before = recorded(run)
    advice = outcome.next_command(run, Status.KILLED, 130)
    assert "resume=" not in advice
    assert advice.startswith("python launch.py --config-dir 'my conf' task=gym")
    assert ("@last" in advice) is policy
    assert ("policy=old" in advice) is (stage != "train")
    with raises_naming(PreflightError, run.id, advice):
        resume_check.require_resumable(run)
    process = start(run)
    assert_names(said(process), run.id, "task=gym")
    assert process.returncode == 2
    assert recorded(run) == before


def test_a_checkpoint_that_the_worker_refuses_leaves_the_status_and_is_not_advised_again(tmp_path: Path) -> None:
    run = make_run(tmp_path, "refuse_checkpoint")
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").write_text("weights")
    change(run.dir, status="killed", exit_code=130, supervisor=ProcessIdentity(pid=1).to_dict())
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("killed", 2)
    assert "resume=" not in screen.splitlines()[-1]
    process = start(run)
    assert_names(said(process), run.id, "hidden state")
    assert process.returncode == 2


def test_a_student_is_resumed_with_its_own_teacher_only(tmp_path: Path) -> None:
    teacher = tmp_path / "best.pt"
    for agent, moved in ((STUDENT, True), (SKRL, False)):
        teacher.write_text("weights")
        run = stopped(tmp_path, "train", training(restores_envs=True), agent)
        change(run.dir, inputs={"policy": {"path": str(teacher), "sha256": files.sha256(teacher)}})
        assert list(resume_check.refusals(run)) == []
        teacher.write_text("of a teacher that was trained further")
        lines = list(resume_check.refusals(run))
        assert bool(lines) == moved
        if moved:
            assert_names(lines[0], "policy", teacher)
            assert "policy=old" in resume_check.alternative(run) and "@last" not in resume_check.alternative(run)


def test_a_full_disk_in_a_resumed_attempt_does_not_prevent_the_next_one(tmp_path: Path) -> None:
    run = make_run(tmp_path, "save_in_vain")
    run.checkpoints.mkdir()
    (run.checkpoints / "last.pt").write_text("weights")
    change(run.dir, status="killed", exit_code=143, signal=15, supervisor=ProcessIdentity(pid=1).to_dict())
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"], info["signal"]) == ("failed", 1, None)
    assert "resume=" in screen.splitlines()[-1] and list(resume_check.refusals(run)) == []
    change(run.dir, error={**info["error"], "type": "CheckpointError"})  # as recorded by earlier versions
    assert list(resume_check.refusals(run)) == []
