"""Networks of FastSAC against numbers worked out another way."""

from __future__ import annotations

import pytest
import torch

from regimen.agents.fast_sac.networks import NORM_EPS, Actor, Critics, RunningNorm, least, project

SUPPORT = torch.linspace(-20, 20, 101)


def probabilities(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).mul(3).softmax(-1)


def test_projection_conserves_mass_and_the_mean_of_what_stays_in_range():
    probs = probabilities(2, 64, 101)
    shift = torch.linspace(-0.5, 0.5, 64)[:, None]
    values = shift + 0.97 * SUPPORT  # within the support
    moved = project(probs, values, SUPPORT)
    assert torch.allclose(moved.sum(-1), torch.ones(2, 64), atol=1e-6)
    assert torch.allclose(moved @ SUPPORT, (probs * values).sum(-1), atol=1e-4)


def test_projection_conserves_mass_on_atoms_and_beyond_the_ends():
    probs = probabilities(2, 3, 101)
    values = torch.stack((SUPPORT, SUPPORT + 35.0, torch.full_like(SUPPORT, 20.0)))
    moved = project(probs, values, SUPPORT)
    assert torch.allclose(moved.sum(-1), torch.ones(2, 3), atol=1e-6)
    assert torch.allclose(moved[:, 0], probs[:, 0], atol=1e-4)  # every atom lands on itself
    assert torch.allclose(moved[:, 2, -1], torch.ones(2), atol=1e-6)


def test_the_least_of_two_means_is_found_with_16_bits_too():
    support = torch.linspace(0.0, 500.0, 101)
    probs = torch.zeros(2, 2, 101)
    probs[:, :, 50] = 1.0  # mean 250
    probs[[0, 1], [0, 1], 50:52] = torch.tensor(
        [0.96, 0.04]
    )  # 250.2, of the first critic in row 0, the second in row 1
    with torch.autocast("cpu", torch.bfloat16):
        found = least(probs, support)
    assert torch.equal(found[0], torch.stack((probs[1, 0], probs[0, 1]))) and torch.equal(found[0], found[1])


def test_a_terminated_target_is_its_reward():
    moved = project(probabilities(2, 1, 101), torch.full((1, 101), 3.3), SUPPORT)
    assert torch.allclose(moved @ SUPPORT, torch.full((2, 1), 3.3), atol=1e-5)


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_log_density_is_the_derivative_of_the_distribution_function(scale):
    actor = Actor(3, 16, torch.tensor([scale]), (-1.0, 1.0)).double()
    torch.manual_seed(0)
    for p in actor.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    obs = torch.randn(200, 3, dtype=torch.double)
    action, log_prob = actor.sample(obs)
    mean, log_std = actor.distribution(obs)

    def below(a: torch.Tensor) -> torch.Tensor:
        return torch.distributions.Normal(mean.double(), log_std.double().exp()).cdf(torch.atanh(a / scale))

    inside = (action.abs() / scale < 0.999).squeeze(1)
    h = 1e-6 * scale
    density = (below(action + h) - below(action - h)) / (2 * h)
    assert inside.sum() > 100
    assert torch.allclose(log_prob[inside].double(), density.log().squeeze(1)[inside], atol=1e-4)


def test_the_actor_begins_at_the_default_pose_with_the_deviation_in_the_middle():
    actor = Actor(3, 16, torch.ones(2), (-5.0, 0.0))
    mean, log_std = actor.distribution(torch.randn(8, 3))
    assert torch.equal(mean, torch.zeros(8, 2))
    assert torch.equal(log_std, torch.full((8, 2), -2.5))
    assert torch.equal(actor(torch.randn(8, 3)), torch.zeros(8, 2))


def test_actions_stay_within_each_joints_bound():
    scale = torch.tensor([0.5, 2.0])
    actor = Actor(3, 16, scale, (1.0, 3.0))
    action, log_prob = actor.sample(torch.randn(500, 3))
    assert (action.abs() <= scale).all() and torch.isfinite(log_prob).all()
    assert (action.abs().amax(0) > 0.99 * scale).all()


def test_critics_are_independent_of_each_other():
    critics = Critics(6, 16, 2, SUPPORT)
    obs, action = torch.randn(4, 4), torch.randn(4, 2)
    outputs = critics(obs, action)
    assert outputs.shape == (2, 4, 101)
    outputs[0].sum().backward()
    of_first, of_second = (sum(float(p.grad.abs().sum()) for p in net.parameters()) for net in critics.nets)
    assert of_first > 0 and of_second == 0


def test_normaliser_equals_the_statistics_of_all_rows():
    rows = 5 + 3 * torch.randn(1000, 4, generator=torch.Generator().manual_seed(0))
    norm = RunningNorm(4, torch.device("cpu"))
    for part in rows.split([7, 500, 493]):
        norm.update(norm.sums(part))
    assert torch.allclose(norm.mean, rows.mean(0), atol=1e-4)
    assert torch.allclose(norm.var, rows.var(0, correction=0), rtol=1e-4)
    assert torch.allclose(norm(rows), (rows - rows.mean(0)) / (rows.std(0, correction=0) + NORM_EPS), atol=1e-3)


def test_sums_of_two_halves_are_those_of_the_whole():
    rows = torch.randn(10, 4)
    norm = RunningNorm(4, torch.device("cpu"))
    assert torch.allclose(norm.sums(rows), norm.sums(rows[:5]) + norm.sums(rows[5:]), atol=1e-5)
