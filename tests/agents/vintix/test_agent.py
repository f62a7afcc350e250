"""Vintix as an agent: its sizes, what it refuses, its checkpoints as policies, a life in a task."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from helpers.history_files import IO, made
from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import change
from helpers.tasks import CONF
from helpers.vintix_models import config_for, distill, histories, write
from regimen.agents.policy_file import load_policy
from regimen.agents.vintix.agent import Vintix, VintixCfg
from regimen.agents.vintix.config import ModelCfg, TrainingCfg
from regimen.agents.vintix.model import Group, VintixNet
from regimen.config.compose import compose
from regimen.config.structured import build
from regimen.envs.vec_env import IOSpec
from regimen.orchestration.memory_check import estimate
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint, references
from regimen.runs.create import create_run_dir
from regimen.runs.outcome import next_command
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.stages.distill import DistillCfg
from regimen.system.errors import CheckpointError, ConfigError, DatasetError, IOMismatchError

pytestmark = pytest.mark.usefixtures("blank_figures")


@pytest.mark.parametrize(
    ("agent", "sizes", "parameters"),
    [("vintix", (2048, 12, 8, 514), 39_028_400), ("vintix_large", (4096, 20, 16, 1028), 257_321_454)],
)
def test_the_sizes_of_the_original_load_as_written(agent, sizes, parameters):
    composed = compose(["stage=distill", f"agent={agent}", "task=go2_flat"], [CONF])
    cfg: VintixCfg = build(VintixCfg, composed.plain["agent"])
    model = cfg.model
    assert (model.context, model.layers, model.heads, model.hidden) == sizes
    assert cfg.problems({}) == [] and model.width == 64
    with torch.device("meta"):
        net = VintixNet({"go2": Group(45, 12)}, model)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_a_width_that_heads_do_not_divide_is_told_once(tmp_path):
    config = config_for([histories(tmp_path / "h")], epochs=1)
    config.agent.model.hidden = 20
    assert distill(tmp_path, config).record.warnings == []
    config.agent.model.heads = 3
    [told] = distill(tmp_path, config).record.warnings
    assert_names(told, "model.hidden=20", "model.heads=3", 6)


def test_histories_that_do_not_improve_are_refused_and_taken_with_a_reason(tmp_path):
    path = write(tmp_path / "h", made([np.ones(12) for _ in range(3)], 7), mode="expert")
    with raises_naming(DatasetError, "made", "mode=expert", "stage.accept"):
        distill(tmp_path, config_for([path], epochs=1))
    run = distill(tmp_path, config_for([path], DistillCfg(accept="to compare"), epochs=1))
    gate = json.loads((run.dir / "result.json").read_text())["gate"]
    assert gate["accept"] == "to compare" and "mode=expert" in gate["problems"][0]
    tasks = checkpoint.load(run.checkpoints / "last.pt")["policy"]["tasks"]
    assert tasks["made"] == {"group": "made", "random_score": 0.0, "expert_score": 1.0, "mode": "expert"}


@pytest.mark.slow
def test_a_checkpoint_is_a_policy_of_each_of_its_groups(tmp_path):
    other = IOSpec.from_dict(IO.to_dict())
    other.action.joints = ["left", "right"]
    paths = [histories(tmp_path / "a", task_name="a", group="a")]
    paths.append(histories(tmp_path / "b", task_name="b", group="b", io=other.to_dict(), reward_scale=0.5))
    run = distill(tmp_path, config_for(paths, epochs=1))
    bundle = checkpoint.load(run.checkpoints / "0001_epoch.pt")
    for name, io in (("a", IO), ("b", other)):
        policy: Any = load_policy(bundle, SimpleNamespace(io=io, device=torch.device("cpu")), seed=0)
        assert policy.group == name
        action, _ = policy.act({"policy": torch.zeros(4, 3)}, None)
        assert action.shape == (4, 2) and torch.isfinite(action).all()
    third = IOSpec.from_dict(IO.to_dict())
    third.observations["policy"]["velocity"] = 2
    with raises_naming(IOMismatchError, "policy.velocity"):
        load_policy(bundle, SimpleNamespace(io=third, device=torch.device("cpu")), seed=0)
    with raises_naming(CheckpointError, "a, b"):
        Vintix.load_policy(bundle, third, torch.device("cpu"))


@pytest.mark.slow
def test_references_find_best_last_a_step_and_an_epoch(tmp_path):
    run = distill(tmp_path, config_for([histories(tmp_path / "h")], epochs=2))
    folder = run.checkpoints
    step = checkpoint.load(folder / "last.pt")["step"]
    for which, name in (
        ("best", "best"),
        ("last", "last"),
        (str(step), f"step_{step:09d}"),
        ("0001_epoch", "0001_epoch"),
    ):
        assert references.resolve_policy(f"{run.dir}@{which}") == folder / f"{name}.pt"
    with raises_naming(references.RunReferenceError, "@0001_epoch", "@0002_epoch"):
        references.resolve_policy(f"{run.dir}@0009_epoch")


def test_preflight_names_what_is_wrong_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path: Path = histories(tmp_path / "h")
    words = ["stage=distill", "agent=vintix_small", "task=dark_room", f"data=[{path}]"]
    assert preflight(compose(words, [CONF]), tmp_path).inputs == {"data.0": path}
    with raises_naming(ConfigError, "model.hidden=131", 130):
        preflight(compose([*words, "agent.model.hidden=131"], [CONF]), tmp_path)
    with raises_naming(ConfigError, "agent=vintix_small", "learn", "stage=train"):
        preflight(compose(["stage=train", "agent=vintix_small", "task=dark_room"], [CONF]), tmp_path)


@pytest.mark.parametrize("sizes", [{}, {"feedforward": 40, "heads": 2, "layers": 6}])
def test_the_memory_of_a_training_is_known_before_it_starts(sizes):
    model = ModelCfg(**{"context": 300, "layers": 3, "heads": 4, "hidden": 66} | sizes)
    cfg = VintixCfg(model=model, training=TrainingCfg(batch_size=4))
    net = VintixNet({"g": Group(45, 12)}, model)
    kept: dict[int, int] = {}

    def keep(part: torch.Tensor) -> torch.Tensor:
        kept[part.untyped_storage().data_ptr()] = part.untyped_storage().nbytes()
        return part

    zeros = [torch.zeros(4, 300, size) for size in (45, 12)]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda part: part):
        out = net("g", *zeros, torch.zeros(4, 300), torch.zeros(4, 300, dtype=torch.bool))
    weights = sum(parameter.nbytes for parameter in net.parameters())
    assert out.requires_grad
    assert cfg.memory_bytes(1, 45, 12) == pytest.approx(sum(kept.values()) + 3 * weights, rel=0.2)


def test_a_training_that_memory_cannot_hold_is_refused_with_what_to_lower(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["stage=distill", "agent=vintix_small", "task=go2_flat", f"data=[{histories(tmp_path / 'h')}]"]
    preflight(compose(words, [CONF]), tmp_path)
    wide = [*words, "agent.training.batch_size=4096"]
    with raises_naming(ConfigError, "memory", "GiB", "agent.training.batch_size", "agent.model.context"):
        preflight(compose(wide, [CONF]), tmp_path)
    composed = compose([*wide, "hardware=gpu"], [CONF])
    found = estimate(composed, None)
    assert "agent" in found.gpu and "agent" not in found.main


def test_what_to_type_next_is_to_let_it_live(tmp_path):
    config = {"stage": {}, "agent": {"_target_": "regimen.agents.vintix.Vintix"}}
    run = Run(create_run_dir(tmp_path / "outputs", config, ["launch.py"], [], repository=tmp_path))
    (run.checkpoints / "last.pt").parent.mkdir(exist_ok=True)
    (run.checkpoints / "last.pt").touch()
    change(run.dir, stage="distill", choices={"task": "dark_room", "agent": "vintix"})
    said = next_command(run, Status.FINISHED, 0)
    assert said.startswith("python launch.py stage=in_context task=dark_room policy=") and run.id in said
