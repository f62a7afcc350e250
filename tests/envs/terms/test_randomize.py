"""The event `randomize`: each quantity reaches the physics of its robot, from the nominal value, and is restored."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from regimen.config.compose import compose
from regimen.envs.conformance.check import require_env
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.sims.quantities import OF_JOINT_ERRORS, QUANTITIES
from regimen.envs.terms import observations
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors

FIELD = {
    **{f"com_{axis}": ("body_ipos", i) for i, axis in enumerate("xyz")},
    **{f"link_{axis}": ("body_pos", i) for i, axis in enumerate("xyz")},
    "body_mass": ("body_mass", None),
    "joint_friction": ("dof_frictionloss", None),
    "joint_damping": ("dof_damping", None),
    "armature": ("dof_armature", None),
    "joint_spring": ("jnt_stiffness", None),
    "joint_low": ("jnt_range", 0),
    "joint_high": ("jnt_range", 1),
    "stiffness": ("actuator_gainprm", 0),
    "damping": ("actuator_biasprm", 2),
    "torque_limit": ("actuator_forcerange", 1),
    "friction": ("geom_friction", 0),
    "torsional_friction": ("geom_friction", 1),
    "rolling_friction": ("geom_friction", 2),
    "contact_time": ("geom_solref", 0),
    "contact_damping": ("geom_solref", 1),
    "contact_depth": ("geom_solimp", 2),
    "contact_margin": ("geom_margin", None),
    "shape_size": ("geom_size", 0),
}
"""Where a single value of a quantity is in MuJoCo's model; three others change several fields."""

OFF = dict.fromkeys(("physics_material", "add_base_mass", "push_robot"))


def event(quantity: str, between: tuple[float, float], mode: str = "startup", **params: Any) -> dict[str, Any]:
    return {"func": "randomize", "mode": mode, "params": {"quantity": quantity, "between": list(between), **params}}


def go2(num_envs: int = 3, task: str = "go2_flat", **events: Any) -> ManagerEnv:
    env = make_env(task, num_envs, observation_noise=False, events={**OFF, **events})
    env.reset(seed=0)
    return env


def term(env: ManagerEnv, name: str = "drawn") -> Any:
    return env.events.terms[name]


def in_model(env: ManagerEnv, quantity: str, robot: int) -> np.ndarray:
    """The values of a quantity in the model of one robot, of what has the quantity."""
    field, component = FIELD[quantity]
    values = np.array(env.world.batch.expanded(field)[robot])
    values = values if component is None else values[..., component]
    return -values if quantity == "damping" else values


@pytest.mark.parametrize("quantity", FIELD)
def test_each_quantity_is_in_the_model_of_its_robot(quantity: str) -> None:
    env = go2(drawn=event(quantity, (0.001, 0.01), operation="add"))
    drawn = term(env).values
    assert drawn.shape[1] > 1 and not torch.equal(drawn[0], drawn[1])
    for robot in range(3):
        values = in_model(env, quantity, robot)
        assert set(np.round(drawn[robot].numpy(), 9)) <= set(np.round(values.ravel(), 9))


def test_the_table_is_complete() -> None:
    others = {"body_inertia", "motor_strength", "terrain_friction", "gravity_x", "gravity_y", "gravity_z"}
    assert set(FIELD) | others | set(OF_JOINT_ERRORS) == set(QUANTITIES)


def test_gravity_is_that_of_a_model_compiled_with_it() -> None:
    tilted = {"operation": "add"}
    env = go2(
        3,
        x=event("gravity_x", (-1.0, 1.0), **tilted),
        y=event("gravity_y", (-1.0, 1.0), **tilted),
        z=event("gravity_z", (0.5, 1.2)),
    )
    drawn = torch.stack([term(env, axis).values[:, 0] for axis in "xyz"], dim=1)
    assert len(drawn.unique(dim=0)) == 3 and (drawn[:, 2] < -4.9).all()
    batch, rows = env.world.batch, env.world.batch.state.copy()
    batch.step(nstep=40)
    for robot in range(3):
        model = copy.copy(env.world.model)
        model.opt.gravity[:] = drawn[robot].numpy()
        data = mujoco.MjData(model)
        mujoco.mj_setState(model, data, rows[robot], mujoco.mjtState.mjSTATE_INTEGRATION)
        mujoco.mj_step(model, data, nstep=40)
        assert np.array_equal(data.qpos, batch.bind("qpos")[robot])


def test_what_is_measured_of_gravity_follows_it() -> None:
    env = go2(2, reset_base=None, x=event("gravity_x", (9.81, 9.81), operation="absolute"))
    expected = torch.tensor([[0.5**0.5, 0.0, -(0.5**0.5)]]).expand(2, 3)
    assert torch.allclose(observations.projected_gravity(env), expected, atol=1e-6)
    env.step(torch.zeros(2, 12))
    assert (observations.projected_gravity(env)[:, 0] > 0.6).all()
    plain = go2(2, reset_base=None)
    none = go2(2, reset_base=None, x=event("gravity_z", (1.0, 1.0)))
    assert torch.equal(observations.projected_gravity(none), observations.projected_gravity(plain))


@pytest.mark.parametrize("modes", [("startup", "reset"), ("reset", "startup")])
def test_quantities_that_share_a_field_multiply_each_other(modes: tuple[str, str]) -> None:
    first, second = modes
    drawn = {
        "inertia": event("body_inertia", (1.5, 2.0), first, of="base"),
        "mass": event("body_mass", (0.8, 1.2), second, of="base"),
        "kp": event("stiffness", (1.5, 2.0), first),
        "limit": event("torque_limit", (0.6, 0.8), first),
        "strength": event("motor_strength", (0.5, 0.6), second),
    }
    env = go2(2, **drawn)

    def require_products() -> None:
        values = {name: term(env, name).values.numpy() for name in drawn}
        base, model = env.world.model.body("base").id, env.world.model
        inertia = env.world.batch.expanded("body_inertia")[:, base] / model.body_inertia[base]
        share = values["mass"] / model.body_mass[base]
        assert np.allclose(inertia, values["inertia"] * share, rtol=1e-12)
        for field, name in (("actuator_gainprm", "kp"), ("actuator_forcerange", "limit")):
            acting = env.world.batch.expanded(field)[..., 1 if name == "limit" else 0]
            assert np.allclose(acting, values[name] * values["strength"], rtol=1e-12)

    require_products()
    env.reset()
    require_products()
    saved = env.state_dict()
    env.reset(seed=1)
    env.load_state_dict(saved)
    env.reset()
    require_products()


def test_a_state_without_factors_restores_its_products_and_the_next_draw_is_of_the_model() -> None:
    drawn = {"strength": event("motor_strength", (0.5, 0.6), "reset"), "mass": event("body_mass", (0.8, 1.2), "reset")}
    env = go2(2, **drawn)
    older = env.state_dict()
    for name in ("motors", "inertia"):  # not there before 0.2
        del older["world"][name]
    fields = {name: values.numpy().copy() for name, values in older["world"]["expanded"].items()}
    other = go2(2, **drawn)
    other.reset(seed=7)
    other.load_state_dict(older)
    for name in ("actuator_gainprm", "actuator_forcerange", "body_inertia"):
        assert np.array_equal(other.world.batch.expanded(name), fields[name])
    other.reset()
    stiffness = other.world.batch.expanded("actuator_gainprm")[..., 0] / other.world.model.actuator_gainprm[:, 0]
    assert np.allclose(stiffness, term(other, "strength").values.numpy(), rtol=1e-12)


@pytest.mark.parametrize("order", [("ground", "feet"), ("feet", "ground")])
def test_friction_of_the_ground_multiplies_that_of_the_feet(order: tuple[str, str]) -> None:
    drawn = {
        "ground": event("terrain_friction", (0.5, 0.5)),
        "feet": event("friction", (0.6, 1.2), mode="reset", of=".*_foot", operation="absolute"),
    }
    env = go2(3, **{name: drawn[name] for name in order})
    model = env.world.model
    feet = [i for i in range(model.ngeom) if model.geom(i).name.endswith("_foot")]
    for _ in range(2):
        friction = env.world.batch.expanded("geom_friction")[:, :, 0]
        assert np.allclose(friction[:, feet], 0.5 * term(env, "feet").values.numpy(), rtol=1e-12)
        assert np.allclose(friction[:, model.geom("base").id], 0.5 * 0.8) and np.allclose(friction[:, 0], 0.5 * 0.8)
        env.reset()


def test_a_robot_slides_on_slippery_ground() -> None:
    def slid(factor: float) -> float:
        ground = event("terrain_friction", (factor, factor))
        tilt = event("gravity_x", (1.5, 1.5), operation="absolute")
        env = go2(1, reset_base=None, reset_robot_joints=None, ground=ground, tilt=tilt)
        for _ in range(40):
            env.step(torch.zeros(1, 12))
        return float(env.foot_pos[0, :, 0].mean())

    assert slid(0.05) > slid(1.5) + 0.1


def test_a_repeated_draw_starts_from_the_nominal_value() -> None:
    env = go2(drawn=event("body_mass", (1.5, 1.5), mode="reset", of="base"))
    mass = term(env).values.clone()
    for _ in range(3):
        env.reset()
    assert torch.equal(term(env).values, mass)
    assert float(mass[0, 0]) == pytest.approx(1.5 * 6.921, rel=1e-5)
    inertia = env.world.batch.expanded("body_inertia")[0, 1] / env.world.model.body_inertia[1]
    assert inertia == pytest.approx(1.5), "scaled alike"


def test_operations_and_distributions() -> None:
    def values(between: tuple[float, float], count: int = 2000, **params: Any) -> torch.Tensor:
        return term(go2(count, "reach", drawn=event("joint_damping", between, **params))).values[:, 0]

    nominal = float(make_env("reach", 1).world.nominal("joint_damping")[0])
    uniform = values((0.5, 1.5)) / nominal
    assert 0.5 <= uniform.min() < 0.52 and 1.48 < uniform.max() <= 1.5
    assert values((2.0, 3.0), operation="absolute").min() >= 2.0
    added = values((1.0, 1.5), operation="add") - nominal
    assert added.min() >= 1.0 - 1e-5 and added.max() <= 1.5 + 1e-5
    logs = (values((0.1, 10.0), operation="absolute", distribution="log_uniform")).log10()
    assert float(logs.mean()) == pytest.approx(0.0, abs=0.05) and float((logs < -0.5).float().mean()) > 0.2
    normal = values((1.0, 3.0), operation="absolute", distribution="gaussian")
    assert float(normal.mean()) == pytest.approx(2.0, abs=0.05) and float(normal.std()) == pytest.approx(0.48, abs=0.05)
    assert normal.min() >= 1.0 and normal.max() <= 3.0


def test_a_shared_draw_is_the_same_for_all_names_of_a_robot() -> None:
    scaled = term(go2(drawn=event("stiffness", (0.5, 1.5), shared=True))).values / go2().stiffness
    assert torch.allclose(scaled, scaled[:, :1].expand_as(scaled), atol=1e-5) and len(scaled[:, 0].unique()) == 3


def standing(env: ManagerEnv) -> tuple[float, float]:
    """Force on all feet in N and largest torque in N·m of a robot that stands, over half a second."""
    loads, torques = [], []
    for step in range(75):
        env.step(torch.zeros(env.num_envs, env.io.num_actions))
        if step >= 50:
            loads.append(float(env.foot_force.sum(1).mean()))
            torques.append(float(env.state.joint_torque.abs().max()))
    return sum(loads) / len(loads), max(torques)


def test_the_physics_follows() -> None:
    still = {"reset_base": None, "reset_robot_joints": None}
    plain, heavy, weak = (
        standing(go2(2, **still, **drawn))
        for drawn in (
            {},
            {"drawn": event("body_mass", (1.2, 1.2))},
            {"drawn": event("motor_strength", (0.1, 0.1))},
        )
    )
    assert heavy[0] == pytest.approx(1.2 * plain[0], rel=0.05)
    assert weak[1] < 0.5 * plain[1]


def test_names_choose_bodies_and_labels_are_those_of_the_step() -> None:
    drawn = event("friction", (0.5, 1.5), mode="reset", of=".*_foot", labelled=True)
    env = go2(4, drawn=drawn)
    labels = env.step(torch.zeros(4, 12))[-1]["labels"]
    assert set(labels) == {f"friction_{leg}_foot" for leg in ("FL", "FR", "RL", "RR")}
    assert torch.equal(labels["friction_FR_foot"], term(env).values[:, 1].float())
    with raises_naming(ConfigError, "basee", "base"):
        go2(drawn=event("body_mass", (1.0, 2.0), of="basee"))


def many(first: int) -> dict[str, Any]:
    """An event for each quantity; of three neighbours one at the startup, one at resets and one at intervals."""
    factors = ("motor_strength", "body_inertia", "body_mass", "stiffness", "damping", "terrain_friction")
    modes, events = ("startup", "reset", "interval"), {}
    for number, quantity in enumerate(QUANTITIES, first):
        between = {"joint_low": (-0.05, 0.0), "joint_high": (0.0, 0.05)}.get(quantity, (0.0001, 0.002))
        scaled = {"operation": "scale"} if quantity in factors else {"operation": "add"}
        drawn = event(quantity, (0.95, 1.05) if quantity in factors else between, mode=modes[number % 3], **scaled)
        events[quantity] = drawn | ({"interval_range_s": [0.1, 0.3]} if number % 3 == 2 else {})
    force = {"of": ["base", ".*_calf"], "duration_s": [0.03, 0.2], "force": {"x": [-9.0, 9.0]}, "labelled": True}
    push = {"func": "apply_wrench", "mode": "interval", "interval_range_s": [0.05, 0.2], "params": force}
    return events | {"push": push}


def test_a_shape_that_grows_touches_what_is_within_its_new_size() -> None:
    env = go2(2)
    feet = torch.tensor([i for i, name in enumerate(env.world.names_of("shape_size")) if name.endswith("_foot")])
    pose = env.default_root_pose.repeat(2, 1)
    pose[:, 2] += 0.08
    start = (pose, torch.zeros(2, 6), env.default_joint_pos.repeat(2, 1), torch.zeros(2, 12))
    grown = env.world.nominal("shape_size")[feet] + 0.12
    env.world.set_quantity("shape_size", torch.tensor([1]), feet, grown[None])
    env.world.reset(torch.arange(2), *start)
    env.world.step(1)
    forces = env.world.read().contact_force
    assert forces[0].eq(0).all() and (forces[1] > 1.0).sum() == len(feet)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 1, 2])
def test_all_at_once_keep_the_contract_restored_in_the_middle_included(first: int) -> None:
    require_env(lambda n: make_env("go2_flat", n, events={**OFF, **many(first)}, episode_length_s=1.0), num_envs=4)


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("quantity: body_mas, between: [1, 2]", ["env.events.drawn.params.quantity", "body_mass"]),
        ("quantity: body_mass, between: [1, 2], operation: time", ["operation", "scale"]),
        ("quantity: body_mass, between: [1, 2], distribution: normal", ["distribution", "uniform"]),
        ("quantity: body_mass, between: [0, 2], distribution: log_uniform", ["between"]),
        ("quantity: body_mass, between: [2, 1]", ["between"]),
        ("quantity: body_mass", ["between"]),
    ],
)
def test_bad_settings_are_refused_before_the_start(tmp_path: Path, override: str, names: list[str]) -> None:
    words = ["task=go2_flat", f"+env.events.drawn={{func: randomize, mode: reset, params: {{{override}}}}}"]
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        preflight(compose(words, [CONF]), tmp_path)


def test_a_second_joint_fault_is_refused(tmp_path: Path) -> None:
    params = "{joints: [left_knee], probability: 1.0, onset_s: [0, 1], mode: free}"
    second = f"{{func: change_joint_torque, mode: reset, params: {params}}}"
    words = ["task=h1_failure", f"+env.events.broken={second}"]
    with raises_naming(
        (ConfigError, ConfigErrors), "env.events.change_joint_torque.params.joints", "env.events.broken=null"
    ):  # type: ignore[arg-type]
        preflight(compose(words, [CONF]), tmp_path)
    preflight(compose([*words, "env.events.change_joint_torque=null"], [CONF]), tmp_path)


def test_two_events_with_the_same_label_are_refused() -> None:
    drawn = event("friction", (0.5, 1.5), mode="reset", of="FL_foot", labelled=True)
    env = go2(2, drawn=drawn, again=drawn)
    with raises_naming(ConfigError, "drawn", "again", "friction_FL_foot"):
        env.step(torch.zeros(2, 12))


@pytest.mark.parametrize("override", ["pose_range.heading=[-3,3]", "velocity_range={vx: [9,9]}"])
def test_an_axis_that_a_start_does_not_have_is_refused(tmp_path: Path, override: str) -> None:
    key, axis = ("pose_range", "heading") if "pose" in override else ("velocity_range", "vx")
    words = ["task=go2_flat", f"+env.events.reset_base.params.{override}"]
    with raises_naming((ConfigError, ConfigErrors), f"env.events.reset_base.params.{key}.{axis}", "x"):  # type: ignore[arg-type]
        preflight(compose(words, [CONF]), tmp_path)
    with raises_naming(ConfigError, "reset_root_state_uniform", key, axis):
        go2(1, reset_base={"params": {key: {axis: [1.0, 2.0]}}})


def test_a_factor_of_a_quantity_that_is_0_is_refused(tmp_path: Path) -> None:
    for quantity in ("encoder_bias", "joint_offset", "gravity_x"):
        drawn = f"+env.events.drawn={{func: randomize, mode: reset, params: {{quantity: {quantity}, between: [0, 1]}}}}"
        with raises_naming((ConfigError, ConfigErrors), quantity, "env.events.drawn.params.operation"):  # type: ignore[arg-type]
            preflight(compose(["task=go2_flat", drawn], [CONF]), tmp_path)


def test_another_simulator_refuses_a_quantity_by_name(tmp_path: Path) -> None:
    drawn = "+env.events.drawn={func: randomize, mode: reset, params: {quantity: com_x, between: [0, 1]}}"
    with raises_naming((ConfigError, ConfigErrors), "com_x", "genesis", "env.events.drawn"):  # type: ignore[arg-type]
        preflight(compose(["task=go2_flat", "sim=genesis", drawn], [CONF]), tmp_path)
