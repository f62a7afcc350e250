"""Commands: draws within their ranges, standing, fixing, and a gait clock that tells feet when to swing."""

from __future__ import annotations

import math

import pytest
import torch

from helpers.tasks import make_env
from regimen.envs.terms.commands import GaitClock, UniformVelocityCommand


@pytest.fixture(scope="module")
def env():
    env = make_env("go2_flat", 512)
    env.reset(seed=0)
    return env


def velocity(env, **changes) -> UniformVelocityCommand:
    ranges = {"lin_vel_x": [0.5, 1.0], "lin_vel_y": [-0.2, 0.2], "ang_vel_z": [0.0, 0.0]}
    term = UniformVelocityCommand(env, **{**ranges, "resampling_time_s": [1.0, 2.0], **changes})
    term.reset(torch.arange(env.num_envs))
    return term


def test_velocity_draws_fill_their_ranges(env):
    value = velocity(env).value
    assert 0.5 <= value[:, 0].min() < 0.52
    assert 0.98 < value[:, 0].max() <= 1.0
    assert (value[:, 2] == 0.0).all()


def test_standing_share(env):
    term = velocity(env, rel_standing_envs=0.25)
    assert (~term.moving).float().mean().item() == pytest.approx(0.25, abs=0.06)
    assert (term.value[~term.moving] == 0.0).all()


def drawn_in(term: UniformVelocityCommand, steps: int) -> torch.Tensor:
    """Step a command as its manager does; return where it was drawn again, (N,) bool."""
    drawn = torch.zeros(len(term.value), dtype=torch.bool)
    for _ in range(steps):
        due = term.due()
        assert due is not None
        term.step()
        term.reset(due.nonzero().squeeze(1))
        drawn |= due
    return drawn


def test_resampling_happens_between_its_limits(env):
    term = velocity(env)
    first = term.value.clone()
    assert not drawn_in(term, 49).any()
    assert torch.equal(term.value, first)
    drawn = drawn_in(term, 52)
    assert drawn.all()
    assert (term.value[:, 0] != first[:, 0]).all()


def test_fixed_values_survive_reset_and_time(env):
    term = velocity(env)
    values = torch.zeros(env.num_envs, 3)
    term.fix(values)
    term.reset(torch.tensor([0, 1]))
    for _ in range(200):
        assert term.due() is None
        term.step()
    assert torch.equal(term.value, values)
    assert not term.moving.any()


def clock(env, moving: bool) -> GaitClock:
    env.commands["base_velocity"].moving[:] = moving
    term = GaitClock(env, frequency_hz=2.0, offsets=[0.0, 0.5, 0.5, 0.0], stance_ratio=0.6)
    term.phase[:] = 0.0
    term._update()
    return term


def test_clock_turns_once_a_stride(env):
    term = clock(env, moving=True)
    for _ in range(25):  # 0.5 s at 50 Hz
        term.step()
    assert term.value[0, 0].item() == pytest.approx(math.sin(0.0), abs=1e-4)
    assert term.value[0, 1].item() == pytest.approx(1.0, abs=1e-4)


def test_each_foot_swings_for_its_share_in_turn(env):
    term = clock(env, moving=True)
    stance = []
    for _ in range(25):
        term.step()
        stance.append(term.stance[0].clone())
    stance = torch.stack(stance).float()
    assert stance.mean(0).tolist() == pytest.approx([0.6] * 4, abs=0.05)
    assert (stance.sum(1) >= 1).all()  # with these offsets one foot is always down


def test_swing_height_is_a_half_sine_and_zero_in_stance(env):
    term = clock(env, moving=True)
    heights = []
    for _ in range(50):
        term.step()
        heights.append(term.swing_height[0, 0].item())
        assert (term.swing_height[term.stance] == 0.0).all()
    assert 0.95 < max(heights) <= 1.0


def test_clock_rests_while_standing(env):
    term = clock(env, moving=False)
    term.step()
    assert (term.value == 0.0).all()
    assert term.stance.all()
    assert (term.swing_height == 0.0).all()
