"""A detector judged while a policy acts: what it sees of faults, what is refused, and where the arithmetic is done."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from agents.failure_detector.broken_joints import LIMIT, SWING
from helpers.episode_files import CANDIDATES
from helpers.messages import raises_naming
from regimen.agents.failure_detector.agent import FailureGruCfg
from regimen.agents.failure_detector.baselines import FRAME_HIDDEN
from regimen.agents.failure_detector.decision_rule import DecisionCfg, DecisionRule
from regimen.agents.failure_detector.model import FrameNet
from regimen.config.schema import Config
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.fault_estimate.estimator import Estimate
from regimen.envs.vec_env import IOSpec, Obs
from regimen.runs import checkpoint
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system.errors import IOMismatchError

pytestmark = pytest.mark.usefixtures("blank_figures")

ONSET, LENGTH = 12, 30


class Elsewhere(torch.Tensor):
    """A tensor that stands for one on a GPU: results of operations are of its class, `cpu` returns a plain one.

    Attributes:
        alone: whether operations on it and plain tensors together are refused, as those on two devices are.
    """

    alone = False

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        given = [*args, *(kwargs or {}).values()]
        if cls.alone and (func is torch.Tensor.numpy or any(type(v) is torch.Tensor and v.ndim for v in given)):
            raise RuntimeError(f"{func} of tensors on two devices")
        return super().__torch_function__(func, types, args, kwargs or {})


@dataclass
class Event:
    params: dict[str, Any] = field(default_factory=lambda: {"joints": "hip|knee"})


@dataclass
class SwingEnvCfg:
    _target_: str = f"{__name__}.SwingEnv"
    num_envs: int = 6
    episode_length_s: float = LENGTH * SWING.step_dt
    observation_noise: bool = False
    device: str = "cpu"
    events: dict[str, Event] = field(default_factory=lambda: {"fault": Event()})
    evaluation: EvaluationCfg = field(default_factory=lambda: EvaluationCfg(faults=["fault"]))


class SwingEnv:
    """Robots that stand; of three in a row the first stays healthy, the others lose hip or knee in step `ONSET`."""

    def __init__(self, cfg: SwingEnvCfg) -> None:
        self.num_envs, self.max_episode_length, self.step_dt = cfg.num_envs, LENGTH, SWING.step_dt
        self.device, self.io, self._kind = torch.device("cpu"), SWING, Elsewhere if cfg.device == "gpu" else None
        self._joint = torch.arange(cfg.num_envs) % 3 - 1
        self._age = 0

    @classmethod
    def open(cls, config: Config) -> SwingEnv:
        return cls(config.env)

    def _here(self, values: torch.Tensor) -> torch.Tensor:
        return values if self._kind is None else values.as_subclass(self._kind)

    def _fault(self) -> torch.Tensor:
        return torch.where(torch.tensor(self._age > ONSET), self._joint, -1)

    def _observe(self) -> Obs:
        fault, n = self._fault(), self.num_envs
        torque = torch.full((n, 4), 10.0)
        torque[:, :2] = torch.where(fault[:, None] == torch.arange(2), LIMIT, 10.0)
        group = torch.cat((torch.zeros(n, 3), torque), dim=1)
        return {"policy": self._here(torch.zeros(n, 3)), "discriminator": self._here(group)}

    def reset(self, seed: int | None = None) -> Obs:
        self._age = 0
        return self._observe()

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        self._age += 1
        fault = self._fault()
        limit = torch.where(fault >= 0, LIMIT, torch.nan)
        labels = {"fault_joint": self._here(fault.to(torch.int16)), "fault_limit": self._here(limit)}
        over = torch.full((self.num_envs,), self._age >= LENGTH)
        obs = self._observe()
        info = {"final_obs": obs, "log": {}, "labels": labels, "metrics": {}}
        return obs, self._here(torch.zeros(self.num_envs)), self._here(~over & over), self._here(over), info

    def close(self) -> None:
        Elsewhere.alone = self._kind is not None  # the rollout is over


class Still:
    """A policy that does nothing."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Still:
        return cls()

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        return torch.zeros_like(obs["policy"][:, :1]).expand(-1, SWING.num_actions), None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        return None


class ReadsTorque:
    """A detector that is sure of the joint whose torque is at `LIMIT`, by the project's decision rule."""

    def __init__(self, classes: list[str], num_envs: int) -> None:
        self.classes, self.decision = tuple(classes), DecisionCfg(0.8, 2)
        self._rule = DecisionRule(self.decision, num_envs)

    @classmethod
    def load_estimator(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> ReadsTorque:
        return cls(bundle["detector"]["classes"], bundle["detector"]["num_envs"])

    def update(self, obs: Obs, begun: torch.Tensor) -> Estimate:
        weak = (obs["discriminator"][:, 3:5] <= LIMIT).float()
        probabilities = torch.cat((1.0 - weak.sum(1, keepdim=True), weak), dim=1)
        self._rule.update(probabilities, begun)
        return Estimate(probabilities, self._rule.verdict.clone(), self._rule.age * SWING.step_dt)


def save_inputs(folder: Path, classes: list[str]) -> tuple[str, str]:
    """Write a policy and a detector with its baselines; return their paths."""
    torch.manual_seed(0)
    io, num_envs = SWING.to_dict(), SwingEnvCfg().num_envs
    policy = {"agent": {"_target_": f"{__name__}.Still"}, "io": io, "policy": {}}
    known = {"classes": classes, "group": "discriminator", "num_envs": num_envs}
    detector = {"agent": {"_target_": f"{__name__}.ReadsTorque"}, "io": io, "detector": known}
    frame = FrameNet(SWING.size("discriminator"), 3, FRAME_HIDDEN).state_dict()
    rule = {"window": 2, "thresholds": torch.full((2,), LIMIT + 1.0)}
    baselines = {"baselines": {"network": frame, "counts": torch.tensor([3.0, 1.0, 1.0]), "rule": rule}}
    for name, bundle in (("policy", policy), ("detector", detector), ("baselines", baselines)):
        checkpoint.save(folder / f"{name}.pt", {"format": checkpoint.FORMAT, **bundle})
    return str(folder / "policy.pt"), str(folder / "detector.pt")


def evaluate(folder: Path, env: SwingEnvCfg | None = None, classes: tuple[str, ...] = CANDIDATES) -> dict[str, Any]:
    policy, estimator = save_inputs(folder, ["healthy", *classes])
    cfg = EvaluateCfg(envs_per_command=6, bootstrap=20)
    config = Config(env=env or SwingEnvCfg(), agent=FailureGruCfg(), stage=cfg, policy=policy, estimator=estimator)
    run = Run(create_run_dir(folder / "outputs", {"stage": asdict(cfg)}, ["launch.py"], []))
    Evaluate(cfg)(run, config)
    return json.loads((run.dir / "result.json").read_text())


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_detector_is_judged_beside_its_baselines_on_fresh_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(Elsewhere, "alone", False)
    result = evaluate(tmp_path, SwingEnvCfg(device=device))
    assert Elsewhere.alone == (device == "gpu")
    assert result["env_steps"] == 6 * LENGTH
    judged = result["baselines"] | {"detector": result["detector"]}
    figures = {name: views["all"]["figures"] for name, views in judged.items()}
    assert set(figures) == {"detector", "majority", "one_frame", "torque_threshold"}
    assert figures["detector"]["macro_f1"]["value"] == figures["detector"]["detected"]["value"] == 1.0
    assert figures["detector"]["delay_steps"]["value"] == 2.0
    assert figures["torque_threshold"]["delay_steps"]["value"] == 3.0, "its window has two steps"
    assert figures["majority"]["detected"]["value"] == 0.0
    frames = [sum(row) for row in result["detector"]["active"]["confusion"]["counts"]]
    faulty = 2 * (LENGTH - ONSET - 1)
    assert frames == [6 * LENGTH - 2 * faulty, faulty, faulty]


@pytest.mark.parametrize("classes", [("knee", "hip"), ("hip", "knee", "ankle")])
def test_a_detector_of_other_joints_is_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    with raises_naming(IOMismatchError, f"healthy, {', '.join(classes)}", "healthy, hip, knee", "env.events.fault"):
        evaluate(tmp_path, classes=classes)
