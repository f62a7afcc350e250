"""Training: it learns, padding and the future count for nothing, and stopped and resumed equals uninterrupted."""

from __future__ import annotations

import pytest
import torch

from agents.failure_detector.broken_joints import Memory, QuietRun, layout, open_sets, write_swing
from helpers.messages import assert_names, raises_naming
from regimen.agents.failure_detector.frames import Frames, FrameSets
from regimen.agents.failure_detector.model import GruNet, ModelCfg, unroll
from regimen.agents.failure_detector.trainer import Training, TrainingCfg
from regimen.system.errors import DivergedError, StopRequested

CFG = TrainingCfg(epochs=3, patience=3, batch_size=16, chunk=20, learning_rate=1e-2)


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> FrameSets:
    return open_sets(write_swing(tmp_path_factory.mktemp("data") / "episodes.h5"))


def training(sets: FrameSets, keeper: Memory, run: QuietRun | None = None, cfg: TrainingCfg = CFG, **model) -> Training:
    torch.manual_seed(1)
    net = GruNet(layout().size, len(layout().classes), ModelCfg(hidden=16, **model))
    return Training(net, sets, cfg, run or QuietRun(), keeper, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["softmax", "multi_label"])
def test_broken_joints_are_learned(sets, head):
    trained = training(sets, Memory(), cfg=TrainingCfg(8, 8, 16, 20, 1e-2), head=head)
    trained.fit()
    assert max(row["val_macro_f1"] for row in trained.history) > 0.9
    assert trained.history[-1]["loss"] < 0.5 * trained.history[0]["loss"]
    assert not trained.net.training


@pytest.fixture(scope="module")
def uninterrupted(sets) -> tuple[Memory, Training]:
    """What a training without a stop keeps, and the training."""
    keeper = Memory()
    whole = training(sets, keeper, dropout=0.3)
    whole.fit()
    return keeper, whole


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [2, 5, 9])  # in the first epoch, in a later one, at the end of one
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(sets, uninterrupted, stop_after):
    (whole, first), parts = uninterrupted, Memory()
    with pytest.raises(StopRequested):
        training(sets, parts, QuietRun(stop_after), dropout=0.3).fit()
    second = training(sets, parts, dropout=0.3)
    torch.manual_seed(99)
    second.fit()
    assert first.history == second.history
    for name, value in whole.training["network"].items():
        assert torch.equal(value, parts.training["network"][name]), name
    for name, value in first.net.state_dict().items():
        assert torch.equal(value, second.net.state_dict()[name]), name
    assert whole.metric == parts.metric


@pytest.mark.slow
def test_a_finished_training_is_not_repeated(sets):
    keeper = Memory()
    training(sets, keeper).fit()
    again = training(sets, keeper, QuietRun(stop_after=1))
    again.fit()
    assert again.done and len(again.history) == CFG.epochs


@pytest.mark.slow
def test_it_stops_when_validation_no_longer_improves(sets):
    cfg = TrainingCfg(epochs=50, patience=2, batch_size=16, chunk=20, learning_rate=1e-9)
    stale = training(sets, Memory(), cfg=cfg)
    stale.fit()
    assert len(stale.history) < 10


def test_padding_teaches_nothing(sets):
    frames = next(iter(sets.train.epoch(4)))
    trained = training(sets, Memory())
    padded = Frames(
        torch.cat((frames.inputs, torch.full_like(frames.inputs, 7.0)), dim=1),
        torch.cat((frames.target, torch.ones_like(frames.target)), dim=1),
        torch.cat((frames.active, frames.active), dim=1),
        torch.cat((frames.mask, torch.zeros_like(frames.mask)), dim=1),
        frames.unit,
        frames.fell,
    )
    weights = []
    for batch in (frames, padded):
        other = training(sets, Memory())
        other.cfg = TrainingCfg(chunk=1000)
        other._learn(batch)
        weights.append(torch.cat([p.flatten() for p in other.net.parameters()]))
    assert torch.allclose(weights[0], weights[1], atol=1e-6)
    assert not torch.allclose(weights[0], torch.cat([p.flatten() for p in trained.net.parameters()]), atol=1e-6)


def test_chunks_carry_the_state_but_not_the_gradient(sets):
    net = training(sets, Memory()).net
    inputs = torch.randn(2, 50, layout().size)
    assert torch.allclose(unroll(net, inputs, chunk=50), unroll(net, inputs, chunk=7), atol=1e-6)


def test_the_scaler_is_that_of_the_training_split(sets):
    trained = training(sets, Memory())
    trained._prepare()
    rows = torch.cat([f.inputs[f.mask] for f in sets.train.epoch(8)])
    assert torch.allclose(trained.net.scaler.mean, rows.mean(0), atol=1e-4)
    every = torch.cat([f.inputs[f.mask] for part in (sets.train, sets.val, sets.test) for f in part.epoch(8)])
    assert not torch.allclose(trained.net.scaler.mean, every.mean(0), atol=1e-5)


def test_rare_classes_weigh_more_and_the_mean_weight_is_one(sets):
    trained = training(sets, Memory())
    trained._prepare()
    weights = trained._weights
    assert weights[1] > weights[0] and weights[2] > weights[0], "healthy frames are the most"
    target = torch.cat([f.target[f.mask] for f in sets.train.epoch(8)])
    assert float(weights[target].mean()) == pytest.approx(1.0, abs=1e-4)


def test_a_loss_that_is_not_finite_is_told(sets):
    broken = training(sets, Memory())
    with torch.no_grad():
        broken.net.head.weight.fill_(torch.inf)
    with raises_naming(DivergedError, "loss", "nan", "epoch 1", "batch 1"):
        broken.fit()


@pytest.mark.slow
def test_progress_names_epoch_and_score(sets):
    run = QuietRun()
    trained = training(sets, Memory(), run)
    trained.fit()
    best = max(row["val_macro_f1"] for row in trained.history[:-1])  # told before the last epoch is validated
    assert_names(run.notes[-1]["note"], "epoch 3", f"{best:.3f}")
    assert run.notes[-1]["iteration"] == run.notes[-1]["iterations"]


def test_problems_are_named():
    assert TrainingCfg().problems() == []
    assert_names(TrainingCfg(epochs=0).problems()[0], "training.epochs=0", 1)
    assert_names(TrainingCfg(class_weighting=2).problems()[0], "training.class_weighting=2", 0, 1)
    assert_names(TrainingCfg(learning_rate=0).problems()[0], "training.learning_rate")
