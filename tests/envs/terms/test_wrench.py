"""The event `apply_wrench`: a force on a body for a time, which ends in time, adds up and is restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.manager_env import ManagerEnv
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

OFF = dict.fromkeys(("physics_material", "add_base_mass", "push_robot"))


def wrench(every: tuple[float, float] = (0.1, 0.1), **params: Any) -> dict[str, Any]:
    given = {"of": "base", "duration_s": [0.06, 0.06], "force": {"x": [100.0, 100.0]}, **params}
    return {"func": "apply_wrench", "mode": "interval", "interval_range_s": list(every), "params": given}


def go2(num_envs: int = 2, **events: Any) -> ManagerEnv:
    env = make_env("go2_flat", num_envs, observation_noise=False, events={**OFF, **events})
    env.reset(seed=0)
    return env


def acting(env: ManagerEnv, body: str = "base") -> np.ndarray:
    """The wrench (N, 6) on a body in the simulator."""
    return env.world.batch.bind("xfrc_applied")[:, env.world.model.body(body).id]


def steps(env: ManagerEnv, count: int) -> list[bool]:
    """Whether a force acted on robot 0 in each of the next control steps."""
    acted = []
    for _ in range(count):
        labels = env.step(torch.zeros(env.num_envs, 12))[-1]["labels"]
        acted.append(bool(labels["force_x_base"][0] != 0.0))
    return acted


def test_a_force_acts_for_its_time_and_ends() -> None:
    env = go2(push=wrench(every=(0.19, 0.19), labelled=True))
    assert env.step_dt == pytest.approx(0.02)
    assert steps(env, 25) == [False] * 10 + [True] * 3 + [False] * 7 + [True] * 3 + [False] * 2
    assert not acting(env).any()


def test_the_impulse_is_force_times_time() -> None:
    env = go2(push=wrench(every=(0.09, 0.09), duration_s=[0.04, 0.04], force={"y": [200.0, 200.0]}), reset_base=None)
    env.world.reset(  # in the air, where nothing else acts along y
        torch.arange(2), torch.tensor([[0.0, 0, 5, 1, 0, 0, 0]]).repeat(2, 1), torch.zeros(2, 6),
        env.default_joint_pos.repeat(2, 1), torch.zeros(2, 12),
    )  # fmt: skip
    model, batch = env.world.model, env.world.batch
    for _ in range(7):
        env.step(torch.zeros(2, 12))
    momentum = []
    for robot in range(2):
        data = batch.get_data(robot)
        mujoco.mj_forward(model, data)
        mujoco.mj_subtreeVel(model, data)
        momentum.append(float(data.subtree_linvel[1, 1]) * float(model.body_subtreemass[1]))
    assert momentum == pytest.approx([200.0 * 0.04] * 2, rel=0.01)


def test_forces_and_times_are_drawn_for_each_robot_and_body_in_their_ranges() -> None:
    drawn = wrench(of=".*_calf", force={"x": [-20.0, -10.0]}, torque={"z": [1.0, 2.0]}, duration_s=[0.02, 0.08])
    env = go2(64, push=drawn)
    for _ in range(5):
        env.step(torch.zeros(64, 12))
    calves = np.stack([acting(env, f"{leg}_calf") for leg in ("FL", "FR", "RL", "RR")], axis=1)
    x, z = calves[..., 0], calves[..., 5]
    assert x.min() >= -20.0 and x.max() <= -10.0 and np.unique(x).size > 200 and not calves[..., 1:5].any()
    assert z.min() >= 1.0 and z.max() <= 2.0 and not acting(env).any()
    left = env.events.terms["push"].steps_left
    assert set(left.tolist()) == {1, 2, 3, 4}


def test_forces_of_two_events_on_one_body_add_up_and_end_exactly() -> None:
    one = wrench(every=(0.06, 0.06), duration_s=[0.1, 0.1], force={"x": [1e-7, 90.0]})
    two = wrench(every=(0.08, 0.08), duration_s=[0.04, 0.06], force={"x": [-0.3, 70.0]})
    env = go2(8, one=one, two=two)
    parts = [env.events.terms[name] for name in ("one", "two")]
    both = 0
    for _ in range(120):
        env.step(torch.zeros(8, 12))
        total = sum(part.wrench[:, 0] for part in parts)
        assert np.array_equal(acting(env), total.numpy())
        both += int(all(part.wrench.any() for part in parts))
    assert both > 20


def test_a_reset_ends_it() -> None:
    env = go2(push=wrench(duration_s=[5.0, 5.0]))
    for _ in range(6):
        env.step(torch.zeros(2, 12))
    assert acting(env).any()
    env.reset()
    assert not acting(env).any() and not env.events.terms["push"].wrench.any()
    env.step(torch.zeros(2, 12))
    assert not acting(env).any()


def test_it_is_restored_while_it_acts() -> None:
    push = wrench(every=(0.05, 0.1), duration_s=[0.03, 0.2], torque={"y": [-5.0, 5.0]}, labelled=True)
    env, other = go2(4, push=push), go2(4, push=push)
    for _ in range(7):
        env.step(torch.zeros(4, 12))
    assert env.events.terms["push"].wrench.any()
    other.load_state_dict(env.state_dict())
    for _ in range(12):
        ours, theirs = (e.step(torch.zeros(4, 12)) for e in (env, other))
        assert torch.equal(ours[0]["policy"], theirs[0]["policy"])
        assert torch.equal(ours[-1]["labels"]["torque_y_base"], theirs[-1]["labels"]["torque_y_base"])


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ("env.events.push.mode=reset", ["env.events.push.mode", "interval"]),
        ("env.events.push.params.force={a: [0, 1]}", ["env.events.push.params.force.a"]),
        ("env.events.push.params.force=null", ["env.events.push.params.force"]),
        ("env.events.push.params.duration_s=[0.0, 0.1]", ["env.events.push.params.duration_s"]),
        ("sim=genesis", ["genesis", "mujoco", "env.events.push=null"]),
        ("env.events.push_robot.mode=reset", ["env.events.push_robot.mode", "interval"]),
        ("env.events.push_robot.mode=startup", ["env.events.push_robot.mode", "interval"]),
    ],
)
def test_bad_settings_are_refused_before_the_start(tmp_path: Path, change: str, names: list[str]) -> None:
    event = (
        "+env.events.push={func: apply_wrench, mode: interval, interval_range_s: [1, 2], "
        "params: {of: base, duration_s: [0.1, 0.2], force: {x: [-9, 9]}}}"
    )
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(["task=go2_flat", event, change], [CONF]), tmp_path)


def test_unknown_bodies_and_axes_are_named() -> None:
    with raises_naming(ConfigError, "bas", "base"):
        go2(push=wrench(of="bas"))
    with raises_naming(ConfigError, "force_w", "force_x"):
        go2(push=wrench(force={"w": [0.0, 1.0]}))
    with raises_naming(ConfigError, "apply_wrench", "interval"):
        go2(push=wrench() | {"mode": "startup"})
    with raises_naming(ConfigError, "push_by_setting_velocity", "interval"):
        go2(push={"func": "push_by_setting_velocity", "mode": "reset", "params": {"velocity_range": {"x": [2.0, 2.0]}}})
