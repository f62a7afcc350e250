"""An encoder and the task, agent and policy that it is used with: refused or completed before anything starts."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import assert_names
from helpers.recorded_runs import record_run
from regimen.agents.image_encoder.config import ImageEncoderCfg
from regimen.agents.rlpd.config import RlpdCfg
from regimen.config.compose import ComposedConfig, compose
from regimen.envs.encoded_images.description import EncoderDescription
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError
from regimen.system.files import sha256

ROOT = Path(__file__).resolve().parents[2]
WALKER = ROOT / "pretrained" / "h1_flat" / "policy.pt"
DESCRIPTION = EncoderDescription(
    {"wrist_1": [32, 48, 3], "wrist_2": [32, 48, 3]}, {"wrist_1": 8, "wrist_2": 8}, "gear_assembly", "0a1b"
)
IO = IOSpec({"policy": {"position": 3}}, ActionSpec(["x"], [1.0], [0.0], 1.0), 0.1, images=DESCRIPTION.images)


def write_encoder(path: Path, **changes: Any) -> Path:
    """A file with what preflight reads of an encoder."""
    part = asdict(DESCRIPTION) | changes | {"network": {"w": torch.zeros(1)}}
    bundle = {"agent": asdict(ImageEncoderCfg()), "io": IO.to_dict(), "encoder": part, "format": checkpoint.FORMAT}
    checkpoint.save(path, bundle)
    return path


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return write_encoder(tmp_path / "encoder.pt")


def checked(tmp_path: Path, *arguments: str) -> tuple[ComposedConfig, PreflightReport]:
    composed = compose(list(arguments), [ROOT / "conf"])
    return composed, preflight(composed, tmp_path)


def refusal(tmp_path: Path, *arguments: str) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(tmp_path, *arguments)
    return str(caught.value)


def test_the_images_of_a_task_are_those_of_its_encoder(tmp_path, encoder):
    composed, report = checked(tmp_path, "experiment=gear_rlpd", f"encoder={encoder}", "agent.observations=[policy]")
    assert composed.config.env.images.shape == (32, 48)
    assert composed.plain["env"]["images"] == {"size": [32, 48], "cameras": ["wrist_1", "wrist_2"]}
    assert report.inputs["encoder"] == encoder and report.warnings == []
    other = "env.images={size: [48, 32]}"
    told = refusal(tmp_path, "experiment=gear_rlpd", f"encoder={encoder}", other)
    assert_names(
        told, encoder, "wrist_1", "32x48x3", "48x32x3", "env.images={size: [32, 48], cameras: [wrist_1, wrist_2]}"
    )
    told = refusal(
        tmp_path, "experiment=gear_rlpd", f"encoder={encoder}", "env.images={size: [32, 48], cameras: [wrist_2]}"
    )
    assert_names(told, encoder, "wrist_1", "none")


def test_images_of_no_size_are_refused_beside_an_encoder(tmp_path, encoder):
    told = refusal(tmp_path, "experiment=gear_rlpd", f"encoder={encoder}", "env.images={size: [64]}")
    assert_names(told, "env", "size")


def test_a_group_that_the_task_does_not_have_is_named_before_the_start(tmp_path):
    assert_names(refusal(tmp_path, "experiment=gear_rlpd", "agent.observations=[polcy]"), "polcy", "policy")


def test_an_encoder_of_another_task_is_refused(tmp_path, encoder):
    told = refusal(tmp_path, "task=peg_insert", "agent=rlpd", f"encoder={encoder}")
    assert_names(told, encoder, "task=peg_insert", "gear_assembly", "agent=image_encoder")
    assert_names(refusal(tmp_path, "task=reach", f"encoder={encoder}"), encoder, "task=reach", "images")


def test_a_policy_is_no_encoder_and_an_encoder_no_policy(tmp_path, encoder):
    told = refusal(tmp_path, "experiment=gear_rlpd", f"encoder={WALKER}")
    assert_names(told, WALKER, "encoder", "stage=distill agent=image_encoder")
    told = refusal(tmp_path, "stage=distill", "task=gear_assembly", "agent=bc", "data=[x]", f"encoder={encoder}")
    assert_names(told, "encoder", "stage=distill")


def test_what_only_a_simulator_has_is_not_read_unnoticed(tmp_path, encoder):
    _, report = checked(tmp_path, "experiment=gear_rlpd", f"encoder={encoder}")
    (warning,) = report.warnings
    assert_names(warning, "agent.observations=[policy]")


def test_images_need_an_encoder_or_an_agent_that_reads_them(tmp_path):
    told = refusal(tmp_path, "experiment=gear_rlpd", "env.images={size: 32}")
    assert_names(told, "agent=rlpd", "agent.images=[wrist_1, wrist_2]", "encoder=", "env.images=null")


def policy_run(root: Path, encoder: Path) -> Path:
    """A finished training on the features of an encoder."""
    entry = {"path": str(encoder), "sha256": sha256(encoder), "run": None, "ref": "enc"}
    file = record_run(root, "trained", inputs={"encoder": entry}) / "checkpoints" / "last.pt"
    bundle = {"agent": asdict(RlpdCfg()), "io": DESCRIPTION.extend(IO).to_dict(), "format": checkpoint.FORMAT}
    policy = {"actor": torch.zeros(1, 1), "groups": ["policy"]}
    checkpoint.save(file, bundle | {"policy": policy, "run": "trained", "step": 1})
    return file


def test_an_evaluation_takes_the_encoder_of_the_policy(tmp_path, encoder):
    policy = policy_run(tmp_path, encoder)
    start = ["stage=evaluate", "task=gear_assembly", f"policy={policy}"]
    composed, report = checked(tmp_path, *start)
    assert composed.config.encoder == str(encoder) and report.inputs["encoder"] == encoder
    assert composed.config.env.images.shape == (32, 48)
    composed, _ = checked(tmp_path, *start, f"encoder={write_encoder(tmp_path / 'named.pt')}")
    assert composed.config.encoder == str(tmp_path / "named.pt")
    write_encoder(encoder, checksum="ffff")
    assert_names(refusal(tmp_path, *start), policy, encoder, "changed", "encoder=<run or file>")
    encoder.unlink()
    assert_names(refusal(tmp_path, *start), policy, encoder, "gone", "encoder=<run or file>")


SMALL = "env.images={size: [32, 48]}"
PIXELS = ("experiment=gear_pixels", SMALL)


def test_images_of_the_agent_are_those_of_the_task(tmp_path):
    told = refusal(tmp_path, "experiment=gear_rlpd", "agent.images=[wrist_2]")
    assert_names(told, "agent.images=[wrist_2]", "env.images={size: 64, cameras: [wrist_2]}")
    assert_names(refusal(tmp_path, *PIXELS, "agent.images=[wrist_3]"), "wrist_3", "wrist_1")
    told = refusal(tmp_path, "task=reach", "agent=rlpd", "agent.images=[wrist_1]")
    assert_names(told, "task=reach", "agent.images=null")
    told = refusal(tmp_path, *PIXELS, "agent.pixels.channels=[4,4]", "agent.pixels.shift=-1")
    assert_names(told, "channels", "shift", -1)


def test_a_training_from_pixels_names_the_faster_way(tmp_path):
    _, report = checked(tmp_path, *PIXELS)
    (warning,) = report.warnings
    assert_names(warning, "slow on a CPU", "agent=image_encoder", "encoder=", "agent.images=null")
    _, report = checked(tmp_path, *PIXELS, "agent.observations=null")
    assert any("agent.observations=[policy]" in warning for warning in report.warnings)


def test_the_memory_of_pictures_is_counted_before_the_start(tmp_path, monkeypatch):
    _, report = checked(tmp_path, *PIXELS, "agent.max_steps=10000")
    _, blind = checked(tmp_path, *PIXELS, "agent.max_steps=5000")
    more = report.estimate.main["agent"] - blind.estimate.main["agent"]
    pictures = 2 * 5000 * 2 * 32 * 48 * 3  # twice while a checkpoint is saved
    assert pictures <= more <= 1.2 * pictures
    told = refusal(tmp_path, "experiment=gear_pixels", "env.images={size: 1024}", "agent.max_steps=1000000")
    assert_names(told, "memory", "agent.replay_buffer_capacity")


def test_an_encoder_where_a_training_from_pixels_begins_has_its_widths(tmp_path, encoder):
    composed, report = checked(tmp_path, *PIXELS, f"encoder={encoder}")
    assert report.inputs["encoder"] == encoder and composed.config.agent.images == ["wrist_1", "wrist_2"]
    told = refusal(tmp_path, *PIXELS, f"encoder={encoder}", "agent.pixels.features=8")
    assert_names(told, encoder, "agent.pixels.features=32")


def test_an_encoder_beside_a_policy_with_one_of_its_own_is_refused(tmp_path, encoder):
    policy = pixel_policy(tmp_path / "policy.pt")
    told = refusal(tmp_path, *PIXELS, "agent.images=[wrist_2]", f"encoder={encoder}", f"policy={policy}")
    assert_names(told, f"encoder={encoder}", f"policy={policy}", "Remove encoder= or policy=")


def pixel_policy(path: Path) -> Path:
    """A policy that reads one image."""
    agent = RlpdCfg(images=["wrist_2"], observations=["policy"])
    policy = {"actor": torch.zeros(1, 1), "groups": ["policy"], "images": {"wrist_2": [32, 48, 3]}}
    bundle = {"agent": asdict(agent), "io": IO.to_dict(), "format": checkpoint.FORMAT, "step": 1, "run": "trained"}
    checkpoint.save(path, bundle | {"policy": policy})
    return path


def test_an_evaluation_has_the_images_of_the_policy(tmp_path, encoder):
    start = ["stage=evaluate", "task=gear_assembly", f"policy={pixel_policy(tmp_path / 'policy.pt')}"]
    composed, _ = checked(tmp_path, *start)
    assert composed.plain["env"]["images"] == {"size": [32, 48], "cameras": ["wrist_2"]}
    checked(tmp_path, *start, SMALL)
    assert_names(refusal(tmp_path, *start, "env.images={size: 32}"), "wrist_2", "32x48x3", "env.images=null")
    assert_names(refusal(tmp_path, *start, f"encoder={encoder}"), encoder, "Remove encoder=")
