"""What each update of RLPD moves, and towards what."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from agents.rlpd.touch import made_steps, rlpd_cfg
from regimen.agents.rlpd.learner import Learner
from regimen.data.transition_buffer import Minibatches, TransitionBuffer, Transitions

CPU = torch.device("cpu")


def learner(seed: int = 0, **changes: Any) -> Learner:
    torch.manual_seed(seed)
    return Learner(rlpd_cfg(**changes), 4, 3, CPU)


def buffer_of(steps: Transitions) -> TransitionBuffer:
    buffer = TransitionBuffer(len(steps), {"policy": 2, "privileged": 2}, 3, CPU)
    buffer.push(steps)
    return buffer


def weights(agent: Learner) -> dict[str, torch.Tensor]:
    parts = {"actor": agent.actor.values, "critics": agent.critics.values, "target": agent.target}
    return {name: x.detach().clone() for name, x in parts.items()} | {"alpha": agent.log_alpha.detach().clone()}


def moved(agent: Learner, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, x in weights(agent).items() if not torch.equal(x, before[name])}


def test_critic_updates_leave_actor_and_temperature_untouched_momentum_included():
    agent, buffer = learner(cta_ratio=3), buffer_of(made_steps(50))

    def draw(count: int) -> Minibatches:
        return buffer.sample(count, 16)

    agent.update(3, draw)  # moments of all optimisers are not zero any more
    before = weights(agent)
    agent.update(2, draw)
    assert moved(agent, before) == {"critics", "target"}
    agent.update(1, draw)
    assert moved(agent, before) == {"critics", "target", "actor", "alpha"}


@pytest.mark.parametrize(("utd", "ratio", "steps"), [(1, 3, 7), (2, 2, 3), (5, 2, 4), (4, 1, 2)])
def test_the_actor_moves_every_so_many_updates_whatever_their_number_in_a_step(utd, ratio, steps):
    agent, buffer = learner(cta_ratio=ratio), buffer_of(made_steps(50))
    moves, update = [], agent._update_actor
    agent._update_actor = lambda obs: (moves.append(agent.updates), update(obs))  # type: ignore[method-assign]
    for _ in range(steps):
        agent.update(utd, lambda count: buffer.sample(count, 16))
    assert moves == list(range(ratio, utd * steps + 1, ratio))
    assert agent.updates == utd * steps


def drawn(steps: Transitions) -> Minibatches:
    """One minibatch of these transitions, in their order."""
    rows = buffer_of(steps)._rows
    return Minibatches(rows[None], 4, 3)


@pytest.mark.parametrize("backup_entropy", [False, True])
def test_a_truncated_step_counts_the_value_beyond_and_a_terminated_one_nothing(backup_entropy):
    agent = learner(subset=3, gamma=0.9, backup_entropy=backup_entropy, alpha_init=0.5)
    steps = made_steps(16)
    batch, action, log_prob = drawn(steps), 2 * torch.rand(16, 3) - 1, torch.randn(16)
    inputs = torch.cat((batch.next_obs[0], action), dim=1)
    values = agent._critic_pass.forward(agent.critic_shape.layers(agent.target), inputs).amin(0).squeeze(1).clone()
    if backup_entropy:
        values -= 0.5 * log_prob
    targets = agent.targets(batch, 0, action, log_prob)
    assert torch.allclose(targets, steps.reward + 0.9 * steps.mask * values, atol=1e-6)
    assert torch.equal(targets[steps.mask == 0], steps.reward[steps.mask == 0])


def test_targets_are_of_a_random_subset_that_the_seed_determines():
    agent, batch = learner(ensemble_size=6, subset=2), drawn(made_steps(16))
    action, log_prob = torch.zeros(16, 3), torch.zeros(16)

    def drawn_targets(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return agent.targets(batch, 0, action, log_prob).clone()

    assert torch.equal(drawn_targets(0), drawn_targets(0))
    assert len({tuple(drawn_targets(seed).tolist()) for seed in range(20)}) > 5


def test_target_networks_follow_by_tau():
    agent, buffer = learner(tau=0.25), buffer_of(made_steps(50))
    before = agent.target.clone()
    agent.update(1, lambda count: buffer.sample(count, 16))
    assert torch.allclose(agent.target, before.lerp(agent.critics.values.detach(), 0.25))


def test_critics_learn_the_reward_of_a_terminated_step():
    agent = learner(critic_lr=3e-3, batch_size=64)
    steps = made_steps(512)
    steps.mask = torch.zeros(512)
    steps.reward = steps.action[:, 0]
    buffer = buffer_of(steps)
    for _ in range(300):
        agent.update(1, lambda count: buffer.sample(count, 64))
    assert agent.measured()["critic_loss"] < 0.02


@pytest.mark.slow
def test_the_actor_finds_the_action_that_the_critics_value():
    agent = learner(critic_lr=3e-3, actor_lr=3e-3, batch_size=64, cta_ratio=1, target_entropy=-6.0)
    steps = made_steps(2000)
    steps.mask = torch.zeros(2000)
    best = torch.tensor([0.5, -0.4, 0.0])
    steps.reward = -(steps.action - best).square().sum(1)
    buffer = buffer_of(steps)
    for _ in range(500):
        agent.update(1, lambda count: buffer.sample(count, 64))
    action = agent.act(torch.cat(list(steps.obs.values()), dim=1)[:100], deterministic=True)
    assert (action.mean(0) - best).abs().max() < 0.2


@pytest.mark.parametrize(("target_entropy", "rises"), [(20.0, True), (-20.0, False)])
def test_the_temperature_follows_its_target_entropy_and_rests_without_a_rate(target_entropy, rises):
    buffer = buffer_of(made_steps(50))
    for rate in (3e-4, 0.0):
        agent = learner(target_entropy=target_entropy, alpha_lr=rate)
        before = float(agent.log_alpha.detach())
        agent.update(4, lambda count: buffer.sample(count, 16))
        assert float(agent.log_alpha.detach()) == before if rate == 0 else rises == (agent.log_alpha > before)


def test_restored_updates_are_the_same_bit_for_bit():
    buffer = buffer_of(made_steps(50))
    one, other = learner(0), learner(1)
    one.update(3, lambda count: buffer.sample(count, 16))
    other.load_state_dict(copy.deepcopy(one.state_dict()))  # as through a file
    after = []
    for agent in (one, other):
        torch.manual_seed(5)
        agent.update(4, lambda count: buffer.sample(count, 16))
        after.append(weights(agent))
    assert all(torch.equal(after[0][name], after[1][name]) for name in after[0])
