"""The networks: scaler, state, heads, and one step equal to a sequence."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import assert_names, raises_naming
from regimen.agents.failure_detector.model import BOUND, FrameNet, GruNet, ModelCfg, Scaler
from regimen.system.errors import ConfigError


@pytest.mark.parametrize("layers", [1, 2])
def test_step_by_step_equals_the_whole_sequence(layers):
    torch.manual_seed(0)
    net = GruNet(5, 4, ModelCfg(layers=layers, hidden=16)).eval()
    net.scaler.fit(torch.randn(5), torch.rand(5) + 0.5)
    inputs = torch.randn(3, 40, 5)
    whole, last = net(inputs, net.initial(3))
    state = net.initial(3)
    for t in range(40):
        logits, state = net.step(inputs[:, t], state)
        assert torch.allclose(logits, whole[:, t], atol=1e-5)
    assert torch.allclose(state, last, atol=1e-5)


def test_dropout_acts_in_training_only():
    net = GruNet(5, 4, ModelCfg(hidden=64, dropout=0.5))
    inputs = torch.randn(2, 6, 5)
    net.train()
    assert not torch.equal(net(inputs, net.initial(2))[0], net(inputs, net.initial(2))[0])
    net.eval()
    assert torch.equal(net(inputs, net.initial(2))[0], net(inputs, net.initial(2))[0])


def test_the_scaler_keeps_constant_channels_and_bounds_falls():
    scaler = Scaler(3)
    scaler.fit(torch.tensor([1.0, 5.0, 0.0]), torch.tensor([2.0, 0.0, 1.0]))
    scaled = scaler(torch.tensor([[5.0, 5.0, 1e6]]))
    assert scaled.tolist() == [[2.0, 0.0, BOUND]]


def test_probabilities_of_both_heads():
    soft, multi = (GruNet(5, 3, ModelCfg(hidden=8, head=head)) for head in ("softmax", "multi_label"))
    assert (soft.outputs, multi.outputs) == (3, 2)
    assert torch.allclose(soft.probabilities(torch.randn(4, 3)).sum(1), torch.ones(4))
    logits = torch.tensor([[0.0, 0.0], [50.0, 50.0]])
    assert torch.allclose(multi.probabilities(logits), torch.tensor([[0.25, 0.5, 0.5], [0.0, 1.0, 1.0]]))


def test_one_frame_has_no_past():
    net = FrameNet(5, 4, 8)
    inputs = torch.randn(2, 6, 5)
    whole, state = net(inputs, net.initial(2))
    assert torch.allclose(net.step(inputs[:, 3], state)[0], whole[:, 3], atol=1e-6)


def test_an_unknown_head_is_refused():
    assert_names(ModelCfg(head="softmx").problems()[0], "model.head=softmx", "softmax")
    with raises_naming(ConfigError, "agent.model.head=softmx", "softmax"):
        GruNet(5, 4, ModelCfg(head="softmx"))
