"""The curriculum `AutomaticRange`: ranges of events that follow the results of episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.manager_env import ManagerEnv
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

MASS = {
    "func": "randomize",
    "mode": "reset",
    "params": {"quantity": "body_mass", "of": "base", "between": [1.0, 1.0], "labelled": True},
}
EVENTS = {
    "mass": MASS,
    "physics_material": None,
    "add_base_mass": None,
    "push_robot": {"params": {"velocity_range": {"x": [-0.1, 0.1], "y": [0.0, 0.0]}}},
}


def widening(event: str = "mass", **params: Any) -> dict[str, Any]:
    finals = {"mass": {"between": [0.5, 1.5]}, "push_robot": {"velocity_range": {"x": [-1.1, 0.6]}}}
    given = {"event": event, "final": finals.get(event, {}), "step": 0.25, **params}
    return {"func": "AutomaticRange", "params": given}


def go2(num_envs: int = 4, events: dict[str, Any] = EVENTS, **changes: Any) -> ManagerEnv:
    env = make_env("go2_flat", num_envs, events=events, **{"curriculum": {"wide": widening()}, **changes})
    env.reset(seed=0)
    return env


def end(env: ManagerEnv, length: float, ids: tuple[int, ...] = (0, 1, 2, 3)) -> float:
    """The level that is logged when episodes end after a share of their longest time."""
    env.episode_length[:] = int(length * env.max_episode_length)
    level = env.curriculum.step(torch.tensor(ids))["Curriculum/wide"]
    env.curriculum.reset(torch.tensor(ids))
    return level


def ranges(env: ManagerEnv, event: str = "mass") -> list[list[float]]:
    return env.events.terms[event].ranges.tolist()


def test_ranges_grow_while_episodes_are_long_and_shrink_while_they_are_short() -> None:
    env = go2()
    assert ranges(env) == [[1.0, 1.0]]
    assert end(env, 1.0) == 0.25 and ranges(env) == [[0.875, 1.125]]
    assert [end(env, 1.0) for _ in range(4)] == [0.5, 0.75, 1.0, 1.0] and ranges(env) == [[0.5, 1.5]]
    assert end(env, 0.6) == 1.0, "between the thresholds nothing changes"
    assert end(env, 0.1) == 0.75 and ranges(env) == [[0.625, 1.375]]
    assert [end(env, 0.1) for _ in range(4)][-1] == 0.0 and ranges(env) == [[1.0, 1.0]]


def test_draws_and_labels_are_those_of_the_present_range() -> None:
    env = go2(64)
    nominal = float(env.world.nominal("body_mass")[0])
    end(env, 1.0, tuple(range(64)))
    env.reset()
    labels = env.step(torch.zeros(64, 12))[-1]["labels"]["body_mass_base"] / nominal
    assert labels.min() < 0.9 and labels.max() > 1.1 and labels.min() >= 0.875 and labels.max() <= 1.125
    masses = torch.from_numpy(env.world.batch.expanded("body_mass")[:, 1] / nominal).float()
    assert torch.allclose(masses, labels)


def test_results_are_those_of_a_full_buffer_at_the_present_range() -> None:
    env = go2()
    assert end(env, 0.1, (0, 1)) == 0.0
    assert end(env, 1.0, (0,)) == 0.0 and end(env, 1.0, (0, 1)) == 0.0, "mean 0.64 of five"
    assert end(env, 1.0, (0, 1)) == 0.0 and end(env, 1.0, (0, 1)) == 0.25, "a cleared buffer"
    env = go2(curriculum={"wide": widening(episodes=2)})
    assert end(env, 1.0, (0,)) == 0.0 and end(env, 1.0, (1,)) == 0.25


def test_an_episode_that_runs_while_the_range_changes_is_not_judged() -> None:
    env = go2()
    assert end(env, 1.0, (0, 1)) == 0.0 and end(env, 1.0, (2, 3)) == 0.25
    assert end(env, 0.1, (0, 1)) == 0.25, "drawn at level 0"
    assert end(env, 1.0, (2, 3)) == 0.25 and end(env, 1.0, (0, 1)) == 0.5, "mean 1 of four"
    state, other = env.state_dict(), go2()
    other.load_state_dict(state)
    for either in (env, other):
        assert end(either, 0.1, (2, 3)) == 0.5 and end(either, 1.0, (0, 1)) == 0.5
        assert end(either, 1.0, (2, 3)) == 0.75


def test_a_push_keeps_the_axes_that_are_not_named() -> None:
    env = go2(curriculum={"wide": widening("push_robot", step=0.5)})
    end(env, 1.0)
    x, y, *others = ranges(env, "push_robot")
    assert x == pytest.approx([-0.6, 0.35]) and y == [0.0, 0.0] and others == [[0.0, 0.0]] * 4


def test_a_wrench_grows() -> None:
    start = {"of": "base", "duration_s": [0.1, 0.2], "force": {"x": [0.0, 0.0]}}
    push = {"func": "apply_wrench", "mode": "interval", "interval_range_s": [0.02, 0.02], "params": start}
    wide = widening("push", final={"force": {"x": [-100.0, -50.0]}, "torque": {"z": [0.0, 4.0]}}, step=0.5)
    env = go2(events={**EVENTS, "push": push}, curriculum={"wide": wide})
    env.step(torch.zeros(4, 12))
    env.step(torch.zeros(4, 12))
    assert not env.events.terms["push"].wrench.any()
    end(env, 1.0)
    env.episode_length[:] = 0
    env.step(torch.zeros(4, 12))
    force = env.events.terms["push"].wrench[:, 0, 0]
    assert force.min() >= -50.0 and force.max() <= -25.0


def test_other_metrics_high_or_low() -> None:
    falls = {"metric": "terminations.base_contact", "widen_at": 0.1, "narrow_at": 0.5}
    env = go2(curriculum={"wide": widening(**falls)})
    mask = env.terminations.termination_masks
    mask["base_contact"] = torch.zeros(4, dtype=torch.bool)
    assert end(env, 0.5) == 0.25
    mask["base_contact"] = torch.tensor([True, False, False, False])
    assert end(env, 0.5) == 0.25
    mask["base_contact"] = torch.tensor([True, True, False, False])
    assert end(env, 0.5) == 0.0
    reward = {"metric": "rewards.track_lin_vel_xy_exp", "widen_at": 2.0, "narrow_at": 1.0}
    env = go2(curriculum={"wide": widening(**reward)})
    column = list(env.rewards.terms).index("track_lin_vel_xy_exp")
    env.rewards.episode_sum[:, column] = 2.5 * env.max_episode_length * env.step_dt
    assert env.rewards.log(torch.arange(4))["Episode_Reward/track_lin_vel_xy_exp"] == pytest.approx(2.5)
    assert end(env, 0.5) == 0.25


def test_a_resumed_run_continues_bit_for_bit_and_a_seeded_reset_begins_with_the_first_range() -> None:
    changes = {"episode_length_s": 0.1, "curriculum": {"wide": widening(step=0.01, episodes=3)}}
    env, other = go2(**changes), go2(**changes)
    for _ in range(23):
        env.step(torch.zeros(4, 12))
    level = env.curriculum.terms["wide"].level
    assert level > 0.02
    other.load_state_dict(env.state_dict())
    assert other.curriculum.terms["wide"].level == level and ranges(other) == ranges(env)
    for _ in range(12):
        ours, theirs = (e.step(torch.full((4, 12), 0.1)) for e in (env, other))
        assert torch.equal(ours[0]["policy"], theirs[0]["policy"]) and ours[-1]["log"] == theirs[-1]["log"]
        assert torch.equal(ours[-1]["labels"]["body_mass_base"], theirs[-1]["labels"]["body_mass_base"])
    env.reset(seed=0)
    assert ranges(env) == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ("event: mas, final: {between: [0.5, 1.5]}", ["env.curriculum.wide.params.event", "mass"]),
        ("event: mass, final: {betwen: [0.5, 1.5]}", ["env.curriculum.wide.params.final.betwen", "between"]),
        ("event: mass, final: {between: [1.5, 0.5]}", ["env.curriculum.wide.params.final.between"]),
        ("event: push_robot, final: {velocity_range: {u: [0, 1]}}", ["final.velocity_range.u"]),
        ("event: mass, final: {between: [0, 2]}, metric: rewards.no", ["env.curriculum.wide.params.metric"]),
        ("event: mass, final: {between: [0, 2]}, widen_at: 0.4", ["env.curriculum.wide.params.widen_at"]),
        ("event: mass, final: {between: [0, 2]}, step: 0.0", ["env.curriculum.wide.params.step"]),
        ("event: physics_material, final: {}", ["env.curriculum.wide.params.event", "push_robot"]),
        ("event: once, final: {between: [0, 2]}", ["env.events.once.mode"]),
    ],
)
def test_bad_settings_are_refused_before_the_start(tmp_path: Path, params: str, names: list[str]) -> None:
    def mass(mode: str) -> str:
        return f"{{func: randomize, mode: {mode}, params: {{quantity: body_mass, between: [1, 1]}}}}"

    wide = f"+env.curriculum.wide={{func: AutomaticRange, params: {{{params}}}}}"
    words = ["task=go2_flat", f"+env.events.mass={mass('reset')}", f"+env.events.once={mass('startup')}", wide]
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(words, [CONF]), tmp_path)


def test_what_the_task_does_not_have_is_named() -> None:
    with raises_naming(ConfigError, "mas", "mass"):
        go2(curriculum={"wide": widening("mas")})
    with raises_naming(ConfigError, "rewards.trak", "AutomaticRange"):
        go2(curriculum={"wide": widening(metric="rewards.trak")})
