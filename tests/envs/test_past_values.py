"""History, delay and noise of observations, and delay of actions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.conformance.check import require_env
from regimen.envs.manager_env import ManagerEnv
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

QUIET: dict[str, Any] = {"observation_noise": False, "events": {"push_robot": None}, "episode_length_s": 0.2}
N, STEPS = 6, 25
ALL = ("base_lin_vel", "base_ang_vel", "projected_gravity", "velocity_commands", "joint_pos", "joint_vel", "actions")


def go2(**changes: Any) -> ManagerEnv:
    return make_env("go2_flat", N, **{**QUIET, **changes})


def terms(**settings: Any) -> dict[str, Any]:
    """All terms of the policy's group with the same settings."""
    return {"policy": {"terms": {name: settings for name in (*ALL, "gait_phase")}}}


def rollout(env: ManagerEnv, steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Observations (T, N, D), those before a reset in the place of the ones after it, and where episodes ended."""
    actions = torch.Generator().manual_seed(0)
    obs = [env.reset(seed=0)["policy"]]
    last, ends = [obs[0]], [torch.zeros(N, dtype=torch.bool)]
    for _ in range(steps):
        now, _, terminated, truncated, info = env.step(torch.randn(N, 12, generator=actions))
        obs.append(now["policy"])
        last.append(info["final_obs"]["policy"])
        ends.append(terminated | truncated)
    return torch.stack(obs), torch.stack(last), torch.stack(ends)


def expected(obs: torch.Tensor, ends: torch.Tensor, back: int) -> torch.Tensor:
    """The observations `back` steps earlier, the first of an episode in the place of those before it."""
    found = torch.empty_like(obs)
    for env in range(N):
        first = 0
        for step in range(len(obs)):
            first = step if ends[step, env] else first
            found[step, env] = obs[max(step - back, first), env]
    return found


def by_term(env: ManagerEnv, obs: torch.Tensor) -> dict[str, torch.Tensor]:
    widths = env.io.observations["policy"]
    return dict(zip(widths, obs.split(list(widths.values()), dim=-1), strict=True))


def test_a_history_has_the_last_values_of_the_episode_the_oldest_first() -> None:
    plain, env = go2(), go2(observations={"policy": {"history": 3, "terms": {"joint_pos": {"history": 2}}}})
    obs, last, ends = rollout(plain)
    own_obs, own_last, own_ends = rollout(env)
    assert torch.equal(ends, own_ends) and ends.any()
    assert env.io.meaning["policy"]["joint_vel"]["history"] == 3
    for name, values in by_term(env, own_obs).items():
        steps = 2 if name == "joint_pos" else 3
        now = by_term(plain, obs)[name]
        stacked = torch.cat([expected(now, ends, back) for back in reversed(range(steps))], dim=-1)
        assert torch.equal(values, stacked), name
    before = by_term(env, own_last)["joint_vel"][ends]
    assert torch.equal(before[:, -12:], by_term(plain, last)["joint_vel"][ends])
    assert torch.equal(before[:, 12:24], by_term(plain, obs)["joint_vel"][:-1][ends[1:]]), "of the ended episode"


@pytest.mark.parametrize("steps", [1, 4])
def test_a_delayed_value_is_that_of_so_many_steps_ago(steps: int) -> None:
    obs, _, ends = rollout(go2())
    late, *_ = rollout(go2(observations=terms(delay=[steps, steps])))
    assert torch.equal(late, expected(obs, ends, steps))


def delays(env: ManagerEnv, name: str = "joint_pos") -> torch.Tensor:
    """(T, N) the delay with which a term is read in each step of one episode, by a term that counts steps."""
    rows = [by_term(env, env.reset(seed=0)["policy"])[name][:, 0]]
    rows.extend(by_term(env, env.step(torch.zeros(N, 12))[0]["policy"])[name][:, 0] for _ in range(STEPS))
    return torch.arange(STEPS + 1.0)[:, None] - torch.stack(rows)


def steps_so_far(env: ManagerEnv) -> torch.Tensor:
    """A term that is the number of steps since the reset, (N, 1)."""
    return env.episode_length[:, None].float()


def nothing(env: ManagerEnv) -> torch.Tensor:
    """A term that is 0, (N, 3)."""
    return torch.zeros(env.num_envs, 3)


def test_a_delay_is_drawn_for_each_episode_or_in_each_step() -> None:
    counting = {"func": f"{__name__}:steps_so_far", "delay": [1, 3]}
    whole = {"episode_length_s": 20.0}
    one = delays(go2(observations={"policy": {"terms": {"joint_pos": counting}}}, **whole))[3:]
    assert (one == one[0]).all() and set(one[0].tolist()) <= {1.0, 2.0, 3.0} and len(set(one[0].tolist())) > 1
    jitter = {"joint_pos": {**counting, "delay_drawn": "step"}}
    drawn = delays(go2(observations={"policy": {"terms": jitter}}, **whole))[3:]
    assert set(drawn.flatten().tolist()) == {1.0, 2.0, 3.0} and not (drawn == drawn[0]).all()


def test_a_bias_is_constant_for_an_episode_and_another_in_the_next() -> None:
    settings = terms(noise=0.0) | {"more": {"terms": {"still": {"func": f"{__name__}:nothing", "bias": 0.5}}}}
    env, errors = go2(observation_noise=True, observations=settings), []
    for _ in range(2):
        rows = [env.reset()["more"]] + [env.step(torch.zeros(N, 12))[0]["more"] for _ in range(3)]
        assert all(torch.equal(row, rows[0]) for row in rows)
        errors.append(rows[0])
    assert errors[0].abs().max() <= 0.5 and errors[0].std() > 0.1 and not torch.equal(*errors)
    off = go2(observation_noise=False, observations=terms(bias=0.5))
    assert torch.equal(rollout(off)[0], rollout(go2())[0])


def test_gaussian_noise_has_its_standard_deviation_and_uniform_noise_its_width() -> None:
    noise = {name: {"noise": 0.0} for name in (*ALL, "gait_phase")}
    noise |= {"joint_pos": {"noise": 0.2, "noise_kind": "gaussian"}, "joint_vel": {"noise": 0.2}}
    env = make_env("go2_flat", 400, observations={"policy": {"terms": noise}})
    obs = by_term(env, env.reset(seed=0)["policy"])
    normal = obs["joint_pos"] - env.state.joint_offset
    flat = obs["joint_vel"] - env.state.joint_vel
    assert float(normal.std()) == pytest.approx(0.2, rel=0.05) and normal.abs().max() > 0.5
    assert flat.abs().max() <= 0.2 + 1e-6 and float(flat.std()) == pytest.approx(0.2 / 3**0.5, rel=0.05)


def test_an_action_takes_effect_after_its_delay_and_the_default_pose_is_held_until_then() -> None:
    env = go2(actions={"delay": [2, 2]}, episode_length_s=20.0)
    env.reset(seed=0)
    given, held = [], []
    for step in range(5):
        given.append(torch.full((N, 12), 0.1 * (step + 1)))
        env.step(given[-1])
        held.append(env._targets - env.default_joint_pos)
    assert all(torch.allclose(offset, torch.zeros(N, 12)) for offset in held[:2])
    for late, action in zip(held[2:], given, strict=False):
        assert torch.allclose(late, 0.5 * action, atol=1e-6)
    assert torch.equal(env.action, given[-1]), "the policy sees what it did"


@pytest.mark.slow
def test_all_of_it_keeps_the_contract_restored_in_the_middle_included() -> None:
    settings = terms(delay=[0, 3], delay_drawn="step", history=3, bias=0.1, noise_kind="gaussian")
    changes = {"observations": settings, "actions": {"delay": [0, 2]}, "episode_length_s": 1.0}
    require_env(lambda n: make_env("go2_flat", n, **changes), num_envs=4)


def test_the_mirror_image_of_a_history_is_that_of_each_of_its_values() -> None:
    plain, env = go2(), go2(observations={"policy": {"history": 2}})
    assert plain.symmetry is not None and env.symmetry is not None
    obs = torch.randn(N, plain.io.size())
    parts = [by_term(plain, part) for part in (obs, plain.symmetry.mirror_obs({"policy": obs})["policy"])]
    twice, image = (torch.cat([torch.cat([v, v], 1) for v in part.values()], 1) for part in parts)
    assert torch.equal(env.symmetry.mirror_obs({"policy": twice})["policy"], image)


def test_a_policy_with_another_history_does_not_fit() -> None:
    one, other = go2(), go2(observations={"policy": {"history": 2}})
    assert other.io.differences(one.io) != []


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("env.observations.policy.terms.joint_pos.noise_kind=gausian", ["noise_kind", "gaussian"]),
        ("env.observations.policy.terms.joint_pos.delay_drawn=never", ["delay_drawn", "episode"]),
        ("env.observations.policy.terms.joint_pos.delay=[3,1]", ["env.observations.policy.terms.joint_pos.delay"]),
        ("env.observations.policy.terms.joint_pos.delay=[-1,1]", ["env.observations.policy.terms.joint_pos.delay"]),
        ("env.observations.policy.terms.joint_pos.delay=[0,5000]", ["delay", "1000"]),
        ("env.observations.policy.terms.joint_pos.history=0", ["joint_pos.history"]),
        ("env.observations.policy.history=0", ["observations.policy.history"]),
        ("env.observations.policy.terms.joint_pos.bias=-1", ["joint_pos.bias"]),
        ("env.actions.delay_drawn=x", ["actions.delay_drawn"]),
    ],
)
def test_bad_values_are_refused_by_name_before_the_start(tmp_path: Path, override: str, names: list[str]) -> None:
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(["task=go2_flat", override], [CONF]), tmp_path)
