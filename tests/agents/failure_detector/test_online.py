"""Streaming: equal to whole episodes, apart between envs, forgetting at resets, exact after a restore."""

from __future__ import annotations

import torch

from regimen.agents.failure_detector.decision_rule import DecisionCfg, decide
from regimen.agents.failure_detector.model import GruNet, ModelCfg, unroll
from regimen.agents.failure_detector.online import StreamingDetector

CLASSES = ("healthy", "hip", "knee")
NEVER = torch.zeros(4, dtype=torch.bool)


def detector(threshold: float = 0.35) -> tuple[StreamingDetector, GruNet]:
    torch.manual_seed(3)
    net = GruNet(6, 3, ModelCfg(hidden=16, dropout=0.3))
    with torch.no_grad():
        net.head.weight.mul_(4.0)  # so that verdicts fall
    return StreamingDetector(net, CLASSES, "discriminator", DecisionCfg(threshold, 2), 0.02), net


def test_streaming_equals_unrolling_whole_episodes():
    streaming, net = detector()
    inputs = torch.randn(4, 60, 6)
    whole = net.probabilities(unroll(net, inputs, chunk=17))
    expected = decide(streaming.decision, whole, torch.ones(4, 60, dtype=torch.bool))
    assert (expected > 0).any() and (expected < 0).any()
    for t in range(60):
        said = streaming.update({"discriminator": inputs[:, t]}, NEVER if t else ~NEVER)
        assert (said.probabilities - whole[:, t]).abs().max() < 1e-5
        assert torch.equal(said.verdict, expected[:, t])


def test_an_env_that_begins_anew_is_as_new_and_leaves_the_others_alone():
    one, _ = detector()
    two, _ = detector()
    inputs = torch.randn(4, 30, 6)
    begun = torch.tensor([False, True, False, False])
    for t in range(20):
        one.update({"discriminator": inputs[:, t]}, NEVER)
        two.update({"discriminator": inputs[:, t]}, NEVER)
    fresh, _ = detector()
    a, b = one.update({"discriminator": inputs[:, 20]}, begun), two.update({"discriminator": inputs[:, 20]}, NEVER)
    new = fresh.update({"discriminator": inputs[:, 20]}, ~NEVER)
    assert torch.allclose(a.probabilities[1], new.probabilities[1])
    assert a.verdict[1] == -1 and a.since[1] == 0
    assert torch.equal(a.probabilities[~begun], b.probabilities[~begun])
    assert torch.equal(a.verdict[~begun], b.verdict[~begun])
    assert not torch.allclose(a.probabilities[1], b.probabilities[1])


def test_time_since_the_verdict_counts_in_seconds():
    streaming, _ = detector()
    seen = []
    for _ in range(60):
        said = streaming.update({"discriminator": torch.ones(1, 6)}, NEVER[:1])
        seen.append((int(said.verdict[0]), round(float(said.since[0]) / 0.02)))
    first = next(i for i, (verdict, _) in enumerate(seen) if verdict > 0)
    assert seen[first - 1] == (-1, 0)
    assert [age for _, age in seen[first : first + 3]] == [1, 2, 3]


def test_the_future_is_the_same_after_a_restore():
    one, _ = detector()
    inputs = torch.randn(4, 30, 6)
    assert one.state_dict() == {}
    for t in range(15):
        one.update({"discriminator": inputs[:, t]}, NEVER)
    other, _ = detector()
    other.load_state_dict(one.state_dict())
    for t in range(15, 30):
        a, b = (d.update({"discriminator": inputs[:, t]}, NEVER) for d in (one, other))
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    other.load_state_dict({})
    assert other.state_dict() == {}


def test_a_state_that_was_saved_on_the_cpu_is_restored_on_the_device_of_the_network():
    one, _ = detector()
    one.update({"discriminator": torch.randn(4, 6)}, NEVER)
    other, net = detector()
    net.to("meta")  # stands for a GPU
    other.load_state_dict(one.state_dict())
    restored = other.state_dict()
    assert {value.device.type for value in (restored["hidden"], *restored["rule"].values())} == {"meta"}


def test_estimates_may_be_used_where_gradients_are_computed():
    streaming, _ = detector()
    said = streaming.update({"discriminator": torch.randn(4, 6)}, NEVER)
    weight = torch.ones(3, requires_grad=True)
    (said.probabilities * weight).sum().backward()
    assert weight.grad is not None and not said.probabilities.requires_grad
