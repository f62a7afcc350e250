"""The detector as an agent: loaded by name, refused where it does not fit, judged while a policy acts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread

from helpers.messages import assert_names, raises_naming
from helpers.tasks import make_env, task_config
from regimen.agents.failure_detector.agent import FailureGru, FailureGruCfg
from regimen.agents.failure_detector.baselines import FRAME_HIDDEN
from regimen.agents.failure_detector.decision_rule import DecisionCfg
from regimen.agents.failure_detector.model import FrameNet, GruNet, ModelCfg
from regimen.config.schema import Config
from regimen.envs.sims.mujoco import MujocoWorldCfg
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError

pytestmark = pytest.mark.usefixtures("blank_figures")

JOINTS = [f"{side}_{joint}" for side in ("left", "right") for joint in ("hip_yaw", "hip_roll", "hip_pitch", "knee")]
CFG = FailureGruCfg(model=ModelCfg(hidden=8), decision=DecisionCfg(0.3, 3))


@pytest.fixture(scope="module")
def io() -> IOSpec:
    env = make_env("h1_failure", 1)
    try:
        return env.io
    finally:
        env.close()


def bundle(io: IOSpec, cfg: FailureGruCfg = CFG) -> dict[str, Any]:
    torch.manual_seed(0)
    net = GruNet(io.size(cfg.group), 1 + len(JOINTS), cfg.model)
    detector = {"classes": ["healthy", *JOINTS], "group": cfg.group, "network": dict(net.state_dict())}
    return {"format": 1, "agent": asdict(cfg), "io": io.to_dict(), "detector": detector, "run": "r", "step": 1}


def test_a_detector_loads_and_watches(io):
    estimator = FailureGru.load_estimator(bundle(io), io, torch.device("cpu"))
    assert estimator.classes == ("healthy", *JOINTS) and len(estimator.classes) == 9
    obs = {"discriminator": torch.randn(5, io.size("discriminator"))}
    said = estimator.update(obs, torch.ones(5, dtype=torch.bool))
    assert said.probabilities.shape == (5, 9)
    assert torch.allclose(said.probabilities.sum(1), torch.ones(5), atol=1e-5)
    assert said.verdict.tolist() == [-1] * 5 and said.verdict.dtype == torch.int16
    assert said.since.tolist() == [0.0] * 5


def test_its_settings_are_those_it_was_made_with(io):
    cfg = FailureGruCfg(model=ModelCfg(2, 12, 0.2, "multi_label"), decision=DecisionCfg(0.6, 7, False))
    estimator = FailureGru.load_estimator(bundle(io, cfg), io, torch.device("cpu"))
    assert estimator.decision == cfg.decision


def test_a_detector_of_other_observations_is_refused_by_name(io):
    other = IOSpec.from_dict(io.to_dict())
    other.observations["discriminator"].pop("joint_effort")
    with raises_naming(IOMismatchError, "detector", "discriminator.joint_effort"):
        FailureGru.load_estimator(bundle(io), other, torch.device("cpu"))


def test_another_checkpoint_is_refused(io):
    with raises_naming(CheckpointError, "detector", "stage=distill"):
        FailureGru.load_estimator({"agent": {}, "io": io.to_dict(), "policy": {}}, io, torch.device("cpu"))


def watch_config(folder: Path, io: IOSpec, **fields: Any) -> Config:
    checkpoint.save(folder / "best.pt", bundle(io))
    policy = {
        "format": 1,
        "agent": {"_target_": "agents.failure_detector.test_agent.Still"},
        "io": io.to_dict(),
        "policy": {},
    }
    checkpoint.save(folder / "policy.pt", policy)
    return Config(
        env=task_config("h1_failure", num_envs=4),
        sim=MujocoWorldCfg(),
        agent=CFG,
        stage=EvaluateCfg(envs_per_command=2, episode_length_s=3.0, bootstrap=20),
        policy=str(folder / "policy.pt"),
        estimator=str(folder / "best.pt"),
        choices={"task": "h1_failure", "agent": "failure_gru", "stage": "evaluate"},
        **fields,
    )


def evaluate(folder: Path, config: Config) -> tuple[Run, dict[str, Any]]:
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(config.stage)}, ["launch.py"], [], repository=folder))
    Evaluate(config.stage)(run, config)
    return run, json.loads((run.dir / "result.json").read_text())


class Still:
    """A policy that holds the default pose; it soon falls."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Still:
        return cls()

    def act(self, obs: dict[str, torch.Tensor], state: Any) -> tuple[torch.Tensor, Any]:
        return torch.zeros(len(obs["policy"]), 19), state

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        return state


@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.slow
def test_it_is_judged_while_a_policy_acts(tmp_path, io):
    config = watch_config(tmp_path, io)
    config.env.events["change_joint_torque"].params |= {"probability": 1.0, "onset_s": [0.1, 0.2]}
    run, result = evaluate(tmp_path, config)
    counts = torch.tensor(result["detector"]["all"]["confusion"]["counts"])
    assert int(counts.sum()) == result["env_steps"]
    assert counts[0].sum() >= 6 * 5, "every env is healthy for 0.1 s, and its reset shows no fault"
    assert counts[1:].sum() > 0
    assert result["baselines"] == {}, "there are none beside this detector"
    assert imread(run.dir / "figures" / "confusion.png").std() > 0, "something is drawn"
    assert evaluate(tmp_path, config)[1]["detector"] == result["detector"], "the same seed, the same figures"


@pytest.mark.slow
def test_baselines_beside_the_detector_are_judged_too(tmp_path, io):
    config = watch_config(tmp_path, io)
    frame = FrameNet(io.size("discriminator"), 9, FRAME_HIDDEN)
    known = {"network": dict(frame.state_dict()), "counts": torch.ones(9), "rule": None}
    checkpoint.save(tmp_path / "baselines.pt", {"format": 1, "baselines": known})
    result = evaluate(tmp_path, config)[1]
    assert set(result["baselines"]) == {"majority", "one_frame"}
    frames = {name: views["all"]["confusion"]["counts"] for name, views in result["baselines"].items()}
    sums = {name: [sum(row) for row in counts] for name, counts in frames.items()}
    assert sums["majority"] == sums["one_frame"] == [sum(r) for r in result["detector"]["all"]["confusion"]["counts"]]


def test_without_an_estimator_it_says_what_to_type(tmp_path, io):
    config = watch_config(tmp_path, io)
    config.estimator = None
    with raises_naming(ConfigError, "agent=failure_gru", "estimator="):
        evaluate(tmp_path, config)


def test_a_task_without_faults_is_refused(tmp_path, io):
    config = watch_config(tmp_path, io)
    config.env.events["change_joint_torque"] = None
    with raises_naming(ConfigError, "task=h1_failure", "env.evaluation.faults"):
        evaluate(tmp_path, config)


def test_problems_are_named():
    assert FailureGruCfg().problems({}) == []
    wrong = FailureGruCfg(model=ModelCfg(hidden=0), decision=DecisionCfg(threshold=2.0), resamples=0)
    assert_names("\n".join(wrong.problems({})), "model.hidden=0", "decision.threshold=2.0", "resamples=0")
