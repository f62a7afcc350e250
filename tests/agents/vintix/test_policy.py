"""The policy that learns in context: rings of keys against the window computed anew, episodes, discrete actions."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.vintix_models import net
from regimen.agents.vintix import alibi_attention, config
from regimen.agents.vintix import policy as vintix_policy
from regimen.agents.vintix.config import sixteen_bits
from regimen.agents.vintix.loss import LEAST_SPREAD
from regimen.agents.vintix.model import VintixNet
from regimen.agents.vintix.policy import (
    KeyCache,
    Ring,
    Scaling,
    TokenWindow,
    VintixPolicy,
    layer_contexts,
    rings,
    to_half_precision,
)
from regimen.system import host
from regimen.system.errors import ConfigError

SCALING = Scaling(torch.tensor([0.5, 0.0, -1.0]), torch.tensor([2.0, 1.0, 0.5]), 0.1)


def policy(model: VintixNet, use_cache: bool = True) -> VintixPolicy:
    torch.manual_seed(5)
    made = VintixPolicy(model, "g", SCALING)
    made.use_cache = use_cache
    return made


def live(acting: VintixPolicy, steps: int, envs: int = 3) -> torch.Tensor:
    """Return the actions (steps, envs, A) in episodes of 7 steps, of 5 in env 1, with rewards of the action."""
    rng, state, actions = torch.Generator().manual_seed(1), None, []
    for step in range(steps):
        action, state = acting.act({"policy": torch.randn(envs, 3, generator=rng)}, state)
        actions.append(action)
        state = acting.observe(state, action[:, 0])
        ends = torch.tensor([step % 7 == 6, step % 5 == 4, step % 7 == 6])
        state = acting.reset(state, ends.nonzero().squeeze(1))
    return torch.stack(actions)


@pytest.mark.parametrize("discrete", [False, True])
def test_cached_equals_computed_anew_until_the_ring_is_full(discrete):
    model = net(context=40, discrete=discrete)
    cached, anew = live(policy(model), 40), live(policy(model, use_cache=False), 40)
    assert (cached - anew).abs().max() < 1e-4
    assert (cached[20:, 0] - cached[20:, 2]).abs().max() > 1e-3, "other observations, other actions"


def test_both_equal_the_training_pass_over_the_same_steps():
    model, rng = net(context=24), torch.Generator().manual_seed(2)
    observation, reward = torch.randn(24, 1, 3, generator=rng), torch.randn(24, 1, generator=rng)
    acting, state, actions = policy(model), None, []
    for step in range(24):
        action, state = acting.act({"policy": observation[step]}, state)
        state = acting.observe(state, reward[step])
        if step % 6 == 5:
            state = acting.reset(state, torch.tensor([0]))
        actions.append(action)
    did = torch.stack(actions)
    before = torch.cat((torch.zeros(1, 1, 2), did[:-1]))
    got = torch.cat((torch.zeros(1, 1), reward[:-1])) * SCALING.reward
    begins = (torch.arange(24) % 6 == 0)[None]
    scaled = (observation - SCALING.mean) / SCALING.std
    whole = model("g", *(part.transpose(0, 1) for part in (scaled, before, got)), begins)
    assert (whole[0] - did[:, 0]).abs().max() < 1e-4


def reference(model: VintixNet, tokens: torch.Tensor, reach: int | list[int]) -> torch.Tensor:
    """Return what a cache that never forgets gives for tokens (T, hidden), each seeing `reach` keys of each layer."""
    length = len(tokens)
    distance = torch.arange(length)[None] - torch.arange(length)[:, None]
    hidden = (distance > 0) | (distance <= -torch.tensor(reach).reshape(-1, 1, 1))
    bias = (alibi_attention.slopes(model.cfg.heads)[:, None, None] * distance).masked_fill(hidden, float("-inf"))
    for block in model.layers:
        q, k, v = (part.transpose(0, 1) for part in block.attention.project(block.norm1(tokens)))
        seen = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]) + bias, dim=-1) @ v
        tokens = tokens + block.attention.out(seen.transpose(0, 1).flatten(1))
        tokens = tokens + block.mlp(block.norm2(tokens))
    return model.norm(tokens)


def test_a_ring_that_has_gone_round_knows_the_place_of_every_key():
    model = net(context=16)
    tokens = torch.randn(50, model.cfg.hidden, generator=torch.Generator().manual_seed(3))
    ring = KeyCache(model, 1)
    with torch.no_grad():
        steps = torch.cat([ring.step(token[None]) for token in tokens])
        assert (steps - reference(model, tokens, 16)).abs().max() < 1e-4
    places = ring.positions.tolist()
    for size in [part.size for part in ring.rings for _ in part.heads]:
        mine, places = places[:size], places[size:]
        assert sorted(mine) == list(range(50 - size, 50)) and mine[49 % size] == 49
    assert places == []


def test_a_window_that_has_gone_round_is_in_order():
    model = net(context=16)
    tokens = torch.randn(50, model.cfg.hidden, generator=torch.Generator().manual_seed(3))
    window = TokenWindow(model, 1)
    with torch.no_grad():
        last = [window.step(token[None]) for token in tokens][-1]
        assert torch.allclose(last, model.trunk(tokens[None, -16:])[:, -1], atol=1e-5)


def test_keys_beyond_the_reach_of_a_head_have_no_weight_in_float32():
    model = net(context=4000, heads=8, hidden=66)
    found = layer_contexts(model)
    assert found == sorted(found) and found[0] < 400 and found[-1] == 4000
    short = net(context=500, heads=8, hidden=66)
    tokens = torch.randn(400, 66, generator=torch.Generator().manual_seed(4))
    assert layer_contexts(short)[0] < 400, "or nothing is left out"
    ring = KeyCache(short, 1)
    with torch.no_grad():
        steps = torch.cat([ring.step(token[None]) for token in tokens])
        assert (steps - reference(short, tokens, 500)).abs().max() < 1e-4


def test_nothing_is_copied_or_allocated_anew_as_the_ring_goes_round():
    model = net(context=8)
    ring = KeyCache(model, 2)
    places = (ring.keys.data_ptr(), ring.values.data_ptr())
    with torch.no_grad():
        for _ in range(20):
            ring.step(torch.randn(2, model.cfg.hidden))
    assert places == (ring.keys.data_ptr(), ring.values.data_ptr())
    assert 2 * ring.keys.nbytes == KeyCache.bytes_of(model, 2)


def test_an_episode_that_ends_leaves_the_context():
    model = net(context=40)
    first = live(policy(model), 10)
    acting = policy(model)
    acting.reset = lambda state, env_ids: state
    assert torch.equal(first[:5], live(acting, 10)[:5])
    assert not torch.equal(first[5:], live(acting, 10)[5:]), "the begin of an episode is seen"
    alone = policy(model)
    rng = torch.Generator().manual_seed(9)
    fresh, _ = alone.act({"policy": torch.randn(3, 3, generator=rng)}, None)
    state: Any = None
    for _ in range(4):
        _, state = alone.act({"policy": torch.randn(3, 3)}, state)
        state = alone.observe(state, torch.ones(3))
    state = alone.reset(state, torch.arange(3))
    later, _ = alone.act({"policy": torch.randn(3, 3, generator=torch.Generator().manual_seed(9))}, state)
    assert not torch.allclose(fresh, later), "what happened before is remembered"


def test_rewards_are_told_scaled_and_count():
    model = net(context=20)
    acting, masked = policy(model), policy(model)
    masked.observe = lambda state, reward: VintixPolicy.observe(masked, state, torch.zeros_like(reward))
    assert not torch.equal(live(acting, 6), live(masked, 6))
    _, state = acting.act({"policy": torch.randn(3, 3)}, None)
    assert torch.allclose(acting.observe(state, torch.full((3,), 5.0)).reward, torch.tensor(0.5))


def test_a_policy_that_is_told_no_reward_says_so():
    acting = policy(net())
    _, state = acting.act({"policy": torch.zeros(1, 3)}, None)
    with raises_naming(ConfigError, "stage=in_context", "stage=evaluate"):
        acting.act({"policy": torch.zeros(1, 3)}, state)


def test_actions_with_a_spread_are_drawn_around_their_mean_and_the_same_again():
    model = net(context=40, stochastic=True)
    with torch.no_grad():
        model.heads["g"][-1].weight.zero_()
        model.heads["g"][-1].bias.copy_(torch.tensor([1.0, -2.0, -20.0, 3.0]))  # no spread but the least; about 3.1
    drawn = live(policy(model), 200)
    assert torch.equal(drawn, live(policy(model), 200))
    torch.testing.assert_close(drawn.mean((0, 1)), torch.tensor([1.0, -2.0]), atol=0.4, rtol=0)
    torch.testing.assert_close(drawn.std((0, 1)), torch.tensor([LEAST_SPREAD, 3.1]), atol=0.01, rtol=0.1)


def test_discrete_actions_are_drawn_one_hot_and_the_same_again():
    model = net(context=40, discrete=True)
    drawn = live(policy(model), 30)
    assert set(drawn.unique().tolist()) == {0.0, 1.0} and (drawn.sum(-1) == 1).all()
    assert torch.equal(drawn, live(policy(model), 30))
    with torch.no_grad():
        model.heads["g"][-1].bias[1] += 50.0
    assert (live(policy(model), 10)[..., 1] == 1).all()


def test_sixteen_bits_are_refused_where_the_processor_has_none(monkeypatch):
    monkeypatch.setattr(config, "instructions", lambda: frozenset({"avx2"}))
    acting = policy(net())
    acting.use_fp16 = True
    with raises_naming(ConfigError, "use_fp16=true", "avx512_bf16", "hardware.device=cuda"):
        acting.act({"policy": torch.zeros(1, 3)}, None)


@pytest.mark.slow
@pytest.mark.skipif(sixteen_bits("cpu") is not None, reason="this processor has no bfloat16")
@pytest.mark.parametrize("use_cache", [True, False])
def test_sixteen_bits_give_nearly_the_same_with_half_the_memory(use_cache):
    model = net(context=60, layers=4, heads=8, hidden=66)
    exact, rounded = policy(model, use_cache), policy(model, use_cache)
    rounded.use_fp16 = True
    expected, found = live(exact, 60), live(rounded, 60)
    apart = (found - expected).square().mean().sqrt() / expected.std()
    assert 1e-4 < apart < 0.02, "rounded, and not more than that"
    assert KeyCache.bytes_of(to_half_precision(model), 3) <= KeyCache.bytes_of(model, 3) / 2
    assert model.computes_with == torch.float32, "the network itself stays as it was"


def test_heads_share_a_ring_where_that_is_cheaper_than_one_of_their_own():
    reach = [68, 2048, 137, 2048, 568]
    assert rings(reach, 1) == [Ring([0, 2], 137), Ring([4], 568), Ring([1, 3], 2048)]
    assert [ring.heads for ring in rings(reach, 8)] == [[0], [2], [4], [1, 3]]


@pytest.mark.parametrize("heads", [3, 8])
def test_rings_of_any_order_that_grow_and_are_shared_see_what_they_should(heads, monkeypatch):
    """Three heads are not steepest first; bounds are made small, so that heads forget within the test."""
    monkeypatch.setattr(vintix_policy, "CHUNK", 8)
    monkeypatch.setattr(vintix_policy, "_largest_product", lambda attention: 0.0)
    monkeypatch.setattr(alibi_attention, "attention_horizon", lambda dtype: 6.0)
    model = net(context=40, heads=heads, hidden=66)
    reach = layer_contexts(model)
    assert len(set(reach)) > 1 and len(rings(reach, 1)) == 1, "one ring for heads that reach differently far"
    tokens = torch.randn(90, 66, generator=torch.Generator().manual_seed(3))
    held = KeyCache(model, 2)
    with torch.no_grad():
        steps = torch.stack([held.step(torch.stack((token, -token))) for token in tokens], dim=1)
        for mine, given in zip(steps, (tokens, -tokens), strict=True):
            assert (mine - reference(model, given, reach)).abs().max() < 1e-4


def test_more_environments_than_memory_holds_are_refused_before_anything_is_taken(monkeypatch):
    model = net()
    monkeypatch.setattr(host, "memory_available", lambda: 3 * KeyCache.bytes_of(model, 1))
    with raises_naming(ConfigError, 10, "stage.envs=3", "env.num_envs=3"):
        policy(model).act({"policy": torch.zeros(10, 3)}, None)
