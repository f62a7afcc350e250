"""The transformer: sizes, ALiBi, causality, the begin of episodes."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import assert_names
from helpers.vintix_models import inputs, net
from regimen.agents.vintix import alibi_attention
from regimen.agents.vintix.config import ModelCfg
from regimen.agents.vintix.model import Attention, Group, VintixNet


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parameters_are_those_of_the_known_small_model():
    cfg = ModelCfg(layers=3, heads=4, hidden=256, feedforward=128, dropout=0.1)
    model = VintixNet({"go2": Group(33, 12)}, cfg)
    assert count(model.encoders) == 39_630 and count(model.heads) == 200_460
    assert count(model.blocks) + count(model.norm) == 991_616
    assert count(model) == 1_231_706


@pytest.mark.parametrize(("hidden", "heads", "inner", "embedding"), [(514, 8, 512, 256), (1028, 16, 1024, 513)])
def test_a_width_that_heads_do_not_divide_takes_the_floor(hidden, heads, inner, embedding):
    cfg = ModelCfg(hidden=hidden, heads=heads, layers=1, context=8)
    assert cfg.problems() == [] and cfg.embedding == embedding
    assert_names(cfg.odd_heads() or "", f"model.hidden={hidden}", f"model.heads={heads}", 64)
    attention = Attention(cfg)
    assert attention.qkv.weight.shape == (3 * inner, hidden) and attention.out.weight.shape == (hidden, inner)
    assert attention(torch.randn(1, 4, hidden)).shape == (1, 4, hidden)
    assert ModelCfg(hidden=512, heads=8, reward=2).odd_heads() is None


def test_slopes_are_those_of_the_paper():
    assert alibi_attention.slopes(8).tolist() == [2.0**-i for i in range(1, 9)]
    six = alibi_attention.slopes(6).tolist()
    assert six[:4] == alibi_attention.slopes(4).tolist() and six[4:] == alibi_attention.slopes(8).tolist()[::2][:2]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-5), (torch.bfloat16, 3e-2)])
def test_attention_is_that_with_a_biased_and_masked_product(dtype, bound):
    torch.manual_seed(0)
    q, k, v = (part.to(dtype) for part in torch.randn(3, 2, 8, 600, 16))
    place = torch.arange(600)
    distance = place[None] - place[:, None]
    bias = (alibi_attention.slopes(8)[:, None, None] * distance).masked_fill(distance > 0, float("-inf"))
    expected = torch.softmax(q.double() @ k.double().mT / 4 + bias, dim=-1) @ v.double()
    assert (alibi_attention.attention(q, k, v, alibi_attention.slopes(8)).double() - expected).abs().max() < bound


def test_what_inference_kept_serves_a_training_too():
    alibi_attention._mask.cache_clear()
    parts = [torch.randn(1, 2, 40, 16) for _ in range(3)]
    with torch.inference_mode():
        alibi_attention.attention(*parts, alibi_attention.slopes(2))
    assert alibi_attention._mask.cache_info().currsize == 1
    q = parts[0].clone().requires_grad_()
    alibi_attention.attention(q, parts[1], parts[2], alibi_attention.slopes(2)).sum().backward()
    assert q.grad is not None and q.grad.abs().sum() > 0


def test_no_token_sees_a_later_one():
    model = net()
    observation, action, reward, begins = inputs(2, 32)
    before = model("g", observation, action, reward, begins)
    changed = [part.clone() for part in (observation, action, reward)]
    for part in changed:
        part[:, 20:] += 1.0
    after = model("g", *changed, begins)
    assert torch.equal(before[:, :20], after[:, :20])
    assert (before[:, 20:] - after[:, 20:]).abs().amin(dim=(0, 2)).min() > 0


def test_where_an_episode_begins_neither_previous_action_nor_reward_counts():
    model = net()
    observation, action, reward, begins = inputs(1, 14)
    other = (observation, action.masked_fill(begins[..., None], 9.0), reward.masked_fill(begins, 9.0), begins)
    assert torch.equal(model("g", observation, action, reward, begins), model("g", *other))
    elsewhere = action.masked_fill(~begins[..., None], 9.0)
    assert not torch.equal(
        model("g", observation, action, reward, begins), model("g", observation, elsewhere, *other[2:])
    )
    loss = model("g", observation, action, reward, begins).sum()
    loss.backward()
    assert model.encoders["g"].no_action.grad.abs().sum() > 0 and model.encoders["g"].no_reward.grad.abs().sum() > 0


def test_a_model_without_rewards_does_not_read_them():
    observation, action, reward, begins = inputs(1, 14)
    told, untold = net(), net(mask_rewards=True)
    assert torch.equal(
        untold("g", observation, action, reward, begins), untold("g", observation, action, -reward, begins)
    )
    assert not torch.equal(
        told("g", observation, action, reward, begins), told("g", observation, action, -reward, begins)
    )


def test_groups_share_the_trunk_and_their_order_does_not_matter():
    groups = {"a": Group(3, 2), "b": Group(5, 4, discrete=True)}
    models = []
    for order in (groups, dict(reversed(groups.items()))):
        torch.manual_seed(0)
        models.append(VintixNet(order, ModelCfg(context=8, layers=1, heads=2, hidden=18)))
    first, second = (model.state_dict() for model in models)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    begins = torch.zeros(1, 4, dtype=torch.bool)
    assert models[0]("b", torch.randn(1, 4, 5), torch.randn(1, 4, 4), torch.randn(1, 4), begins).shape == (1, 4, 4)


def test_problems_are_named():
    assert_names(ModelCfg(layers=0).problems()[0], "model.layers=0", 1)
    assert_names(ModelCfg(hidden=131, heads=4).problems()[0], "model.hidden=131", 130)
    assert_names(ModelCfg(hidden=10, heads=16).problems()[0], "model.heads=16", "model.hidden=10")
