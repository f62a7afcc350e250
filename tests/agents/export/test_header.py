"""An exported policy in `policy=`: found to fit or not before a simulator starts, and evaluated like any other."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch

from agents.export.made_policies import run_with
from helpers.messages import assert_names, raises_naming
from helpers.trainings import new_run, training_config
from regimen.agents.export import header
from regimen.agents.exported import Exported
from regimen.cli.export_policy import export
from regimen.config.compose import compose
from regimen.envs.vec_env import IOSpec
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint, references
from regimen.stages.evaluate import Evaluate
from regimen.stages.evaluation.config import EvaluateCfg
from regimen.system.errors import CheckpointError, ConfigError, RunReferenceError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(str(run_with(folder, "skrl_ppo")), "torchscript", folder / "arm.pt")
    return folder / "arm.pt"


def check(tmp_path: Path, *arguments: str) -> None:
    preflight(compose(list(arguments), [ROOT / "conf"]), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["task=go2_flat"], ["task=go2_flat", "FL_hip_joint", "shoulder"]),
        (["task=reach", "env.decimation=8"], ["step time", "0.02 s", "0.04 s"]),
        (
            ["task=reach", "env.observations.policy.terms.joint_vel.scale=0.5"],
            ["policy.joint_vel", "scale", "0.1", "0.5"],
        ),
        (["task=reach", "env.actions.scale=0.25"], ["action scale", "shoulder", "elbow", "1", "0.25"]),
        (["task=reach", "stage=train"], ["exported"]),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_opened(tmp_path, exported, arguments, names):
    check(tmp_path, "task=reach", "stage=evaluate", f"policy={exported}")
    with raises_naming(ConfigError, f"policy={exported}", *names):
        check(tmp_path, "stage=evaluate", *arguments, f"policy={exported}")


@pytest.mark.slow
def test_it_is_judged_as_its_checkpoint_is(tmp_path):
    source, out = run_with(tmp_path, "skrl_ppo"), tmp_path / "arm.pt"
    export(str(source), "torchscript", out)
    results = []
    for policy in (source, out):
        config = training_config("reach", 24, 4)
        config.stage, config.policy = EvaluateCfg(envs_per_command=4, episode_length_s=1.0, bootstrap=20), str(policy)
        run = new_run(tmp_path / "outputs", config)
        Evaluate(config.stage)(run, config)
        results.append(json.loads((run.dir / "result.json").read_text()))
    mine, its = ([r["overall"][k]["value"] for k in ("return", "distance")] for r in results)
    assert mine == pytest.approx(its, rel=1e-4)
    assert results[0]["policy"]["run"] == results[1]["policy"]["run"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["torchscript", "onnx"])
def test_an_image_that_the_policy_reads_keeps_its_size(tmp_path, form):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    source = run_with(tmp_path, "skrl_ppo")
    made = checkpoint.load(source)
    io = IOSpec.from_dict(made["io"])
    io.images = {"wrist": [8, 6, 3], "overview": [16, 16, 3]}
    policy = importlib.import_module("agents.export.seeing").Seeing.load_policy(made, io, torch.device("cpu"))
    seeing = {"agent": {"_target_": "agents.export.seeing.Seeing"}, "io": io.to_dict(), "policy": {}}
    checkpoint.save(source, made | seeing)
    said = export(str(source), form)
    assert_names(said[1], "wrist 8x6x3")
    (out,) = [f for f in (source.parent.parent / "exported").iterdir() if f.suffix not in (".json", ".py")]
    bundle = header.bundle(out)
    carried = IOSpec.from_dict(bundle["io"])
    assert carried.images == {"wrist": [8, 6, 3]}
    smaller = IOSpec.from_dict(made["io"] | {"images": {"wrist": [8, 8, 3]}})
    assert_names("\n".join(carried.differences(smaller, ("policy", "wrist"))), "wrist", "8x6x3", "8x8x3")
    vector, image = torch.randn(5, io.size()), torch.randint(0, 256, (5, 8, 6, 3), dtype=torch.uint8)
    obs = {"policy": vector, "wrist": image}
    acted = Exported.load_policy(bundle, carried, torch.device("cpu")).act(obs, None)[0]
    assert torch.allclose(acted, policy.act(obs, None)[0], atol=1e-4)


def test_files_of_others_and_broken_ones_are_told_apart(tmp_path):
    module = torch.nn.Linear(2, 2)
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 2)), tmp_path / "other.pt")
    (tmp_path / "broken.onnx").write_bytes(b"\x0a\xff\xff")
    with raises_naming(CheckpointError, tmp_path / "other.pt", "regimen export <run> format=onnx"):
        header.read_description(tmp_path / "other.pt")
    with raises_naming(CheckpointError, tmp_path / "broken.onnx", "regimen export <run> format=onnx"):
        header.read_description(tmp_path / "broken.onnx")
    assert not header.is_exported(ROOT / "pretrained" / "go2_flat" / "policy.pt")
    with raises_naming(RunReferenceError, "nowhere.onnx"):
        references.resolve_policy("nowhere.onnx")


@pytest.mark.parametrize("inside", ["graph", "constant"])
def test_a_model_with_weights_in_other_files_is_refused_before_the_start(tmp_path, inside):
    onnx = pytest.importorskip("onnx")
    weight = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], b"12345678", raw=True)
    onnx.external_data_helper.set_external_data(weight, "elsewhere.bin")
    weight.ClearField("raw_data")
    constant = [onnx.helper.make_node("Constant", [], ["w"], value=weight)] if inside == "constant" else []
    nodes = [*constant, onnx.helper.make_node("Add", ["x", "w"], ["y"])]
    values = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in ("x", "y")]
    graph = onnx.helper.make_graph(nodes, "g", values[:1], values[1:], [] if constant else [weight])
    (tmp_path / "p.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with raises_naming(ConfigError, "p.onnx", "w", "one file"):
        check(tmp_path, "task=reach", "stage=evaluate", f"policy={tmp_path / 'p.onnx'}")
