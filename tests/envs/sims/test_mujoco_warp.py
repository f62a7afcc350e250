"""The world of MuJoCo Warp moves as that of MuJoCo does, with every change per robot; one simulation serves all tests.

Its kernels compile for some minutes on a machine that has none of them, so all tests have the same robot.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
import torch

from helpers.messages import raises_naming
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.envs.sims.quantities import OF_JOINT_ERRORS, QUANTITIES
from regimen.envs.sims.world import RandomizedWorld, World
from regimen.system.errors import PreflightError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mujoco_warp") is None, reason="MuJoCo Warp is not installed: make mujoco_warp"),
]

N = 3
ALL, ONE, REST = torch.arange(N), torch.tensor([1]), [0, 2]
GO2 = load("go2")
J = len(GO2.joints)
POSE = torch.tensor([GO2.default_joint_pos] * N)

VALUES = {
    "friction": 3.0,
    "torque_limit": 3.0,
    "gravity_z": -4.0,
    "gravity_x": 3.0,
    "gravity_y": 3.0,
    "terrain_friction": 0.05,
}
ADDED = {"com_x": 0.08, "com_y": 0.08, "com_z": 0.08, "link_x": 0.03, "link_y": 0.03, "link_z": 0.03}
ADDED |= {"joint_friction": 2.0, "joint_damping": 2.0, "joint_spring": 20.0, "joint_low": 1.0, "joint_high": -1.0}
ADDED |= {"contact_time": 0.05, "contact_damping": -0.7, "contact_margin": 0.01, "shape_size": 0.01}
ADDED |= {"contact_depth": 0.05}
WITHOUT_EFFECT = ("torsional_friction", "rolling_friction")
"""Contacts of the Go2 have three dimensions."""


def place(world: World, velocity: tuple[float, ...] = (0.3, 0.1, 0.0, 0.0, 0.2, 0.4)) -> None:
    pose = torch.tensor([[0.0, 0.0, GO2.spawn_height, 1.0, 0.0, 0.0, 0.0]] * N)
    world.reset(ALL, pose, torch.tensor([list(velocity)] * N), POSE, torch.zeros(N, J))
    world.set_joint_targets(POSE + 0.1 * torch.sin(torch.arange(N * J).float()).view(N, J)[1])


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[RandomizedWorld, dict[str, object]]]:
    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    torch.set_num_threads(1)
    world = MujocoWarpWorld(MujocoWarpWorldCfg(render_size=(320, 240)), GO2, N, 1)
    place(world)
    yield world, world.state_dict()
    world.close()


@pytest.fixture
def warp(opened: tuple[RandomizedWorld, dict[str, object]]) -> RandomizedWorld:
    world, start = opened
    world.load_state_dict(start)
    return world


@pytest.fixture
def cpu() -> Iterator[RandomizedWorld]:
    world = MujocoWorld(MujocoWorldCfg(), GO2, N, 1)
    place(world)
    yield world
    world.close()


def assert_alike(warp: World, cpu: World, tolerance: float = 2e-3) -> None:
    """Assert that all readings of both agree: lengths and speeds within `tolerance`, forces within a hundredth."""
    ours, theirs = warp.read().tensors(), cpu.read().tensors()
    assert ours.keys() - theirs.keys() <= {"gravity"}, "read once it has been changed"
    for name, wanted in theirs.items():
        forces = name in ("joint_acc", "joint_torque", "contact_force")
        scale = float(wanted.abs().max()) if forces else 0.2
        torch.testing.assert_close(ours[name], wanted, rtol=0, atol=5 * tolerance * max(scale, 1e-3), msg=name)


def test_names_order_and_types_are_those_of_mujoco(warp, cpu):
    assert (warp.joints, warp.bodies, warp.sites) == (cpu.joints, cpu.bodies, cpu.sites)
    torch.testing.assert_close(warp.joint_range, cpu.joint_range)
    assert all(t.dtype == torch.float32 for t in warp.read().tensors().values())
    assert {name: warp.names_of(name) for name in ("body_mass", "friction")} == {
        name: cpu.names_of(name) for name in ("body_mass", "friction")
    }


def test_a_robot_that_falls_and_stands_moves_as_in_mujoco(warp, cpu):
    place(warp)
    assert_alike(warp, cpu)
    for _ in range(10):
        assert not warp.step(4).any() and not cpu.step(4).any()
        assert_alike(warp, cpu)
    feet = [warp.bodies.index(foot) for foot in GO2.feet]
    assert (warp.read().contact_force[:, feet].sum(1) > 50).all(), "they have landed"


@pytest.mark.parametrize("quantity", [name for name in QUANTITIES if name not in OF_JOINT_ERRORS])
def test_each_quantity_of_one_robot_changes_its_motion_as_in_mujoco(warp, cpu, quantity):
    place(warp)
    nominal = cpu.nominal(quantity)
    torch.testing.assert_close(warp.nominal(quantity), nominal)
    value = torch.full_like(nominal, VALUES[quantity]) if quantity in VALUES else nominal * 0.5
    value = nominal + ADDED[quantity] if quantity in ADDED else value
    columns = torch.arange(len(nominal))
    for world in (warp, cpu):
        world.set_quantity(quantity, ONE, columns, value[None])
    still = [(world.step(24), world.read().tensors())[1] for world in (warp, cpu)]
    assert_alike(warp, cpu, 4e-3)
    names = ("joint_pos", "joint_vel", "root_pos", "root_lin_vel")
    differs = max(float((still[0][n][1] - still[0][n][0]).abs().max()) for n in names)
    assert (differs > 1e-4) == (quantity not in WITHOUT_EFFECT), differs
    assert all(torch.equal(still[0][n][0], still[0][n][2]) for n in names), "the others are left alone"


def test_the_changes_of_tasks_act_as_in_mujoco(warp, cpu):
    place(warp)
    ranges = torch.full((1, J, 2), torch.nan)
    ranges[0, 2] = torch.tensor([-1.55, -1.45])
    wrench = torch.zeros(1, 1, 6, dtype=torch.float64)
    wrench[..., 0], wrench[..., 5] = 40.0, 5.0
    for world in (warp, cpu):
        world.set_effort_limits(ONE, torch.full((1, J), 12.0))
        world.set_gains(torch.tensor([2]), torch.full((1, J), 15.0), torch.full((1, J), 0.7))
        world.set_joint_ranges(ONE, ranges)
        world.add_base_mass(torch.tensor([0]), torch.tensor([4.0]))
        world.set_friction(torch.tensor([2]), torch.tensor([0.1]))
        world.push(ONE, torch.tensor([[0.5, -0.5, 0.0, 0.0, 0.0, 1.0]]))
        world.add_wrench(torch.tensor([2]), torch.tensor([0]), wrench)
        world.step(40)
    assert_alike(warp, cpu, 4e-3)
    assert float(warp.read().joint_torque[1].abs().max()) <= 12.0 + 1e-4
    for world in (warp, cpu):
        world.set_effort_limits(ONE, torch.full((1, J), torch.nan))
        torch.testing.assert_close(world.effort_limits(ALL), torch.tensor([GO2.effort_limit] * N))


def test_a_robot_with_a_bad_number_is_reset_and_reported_once(warp):
    saved = warp.state_dict()
    for name, value in (("qpos", float("nan")), ("qvel", float("inf")), ("qpos", 1e11)):
        broken = {key: part.clone() if isinstance(part, torch.Tensor) else part for key, part in saved.items()}
        broken[name][1, 3] = value
        warp.load_state_dict(broken)
        assert warp.step(2).tolist() == [False, True, False]
        assert warp.step(2).tolist() == [False] * N
        assert all(torch.isfinite(part).all() for part in warp.read().tensors().values())
        beside = warp.read().tensors()
        warp.load_state_dict(saved)
        warp.step(2)
        warp.step(2)
        undisturbed = warp.read().tensors()
        assert all(torch.equal(beside[n][REST], undisturbed[n][REST]) for n in beside), name


def test_a_reset_computes_its_robots_and_leaves_the_readings_of_the_others(warp):
    warp.step(60)
    before = warp.read().tensors()
    pose = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    warp.reset(ONE, pose, torch.zeros(1, 6), POSE[:1], torch.zeros(1, J))
    after = warp.read().tensors()
    assert all(torch.equal(before[n][REST], after[n][REST]) for n in before)
    assert after["contact_force"][1].max() == 0.0
    assert after["site_pos"][1, :, 2].min() > 0.6
    part = warp.read(ONE).tensors()
    assert all(torch.equal(after[n][1:2], part[n]) for n in part)


def test_state_restores_bit_for_bit_with_changed_fields_and_a_wrench(warp):
    warp.step(20)
    warp.add_base_mass(ONE, torch.tensor([3.0]))
    warp.set_effort_limits(ONE, torch.full((1, J), 15.0))
    warp.set_quantity("com_x", ONE, torch.tensor([0]), torch.tensor([[0.05]]))
    warp.add_wrench(ONE, torch.tensor([0]), torch.full((1, 1, 6), 3.0, dtype=torch.float64))
    warp.step(8)
    saved = warp.state_dict()
    warp.step(40)
    expected = warp.read().tensors()
    warp.add_base_mass(ALL, torch.tensor([1.0, -1.0, 2.0]))
    warp.set_friction(ALL, torch.full((N,), 0.1))
    warp.set_quantity("gravity_z", ALL, torch.tensor([0]), torch.full((N, 1), -2.0))
    place(warp)
    warp.step(8)
    warp.load_state_dict(saved)
    warp.step(40)
    restored = warp.read().tensors()
    assert all(torch.equal(expected[n], restored[n]) for n in expected)


def test_joints_are_moved_by_torques_as_in_mujoco():
    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    knees = [joint for joint in GO2.joints if "calf" in joint]
    worlds = (
        MujocoWarpWorld(MujocoWarpWorldCfg(), GO2, N, 1, torque_joints=knees),
        MujocoWorld(MujocoWorldCfg(), GO2, N, 1, torque_joints=knees),
    )
    torques = torch.tensor([[8.0] * len(knees), [0.0] * len(knees), [60.0] * len(knees)])
    for world in worlds:
        place(world)
        world.set_joint_torques(torques)
        world.step(20)
    assert_alike(*worlds)
    own = [GO2.joints.index(knee) for knee in knees]
    torch.testing.assert_close(worlds[0].read().joint_torque[:, own], torques)


def test_a_device_that_is_not_there_is_named():
    import warp as wp

    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    wp.init()
    if wp.is_cuda_available():
        pytest.skip("there is a GPU")
    with raises_naming(PreflightError, "sim.device=cuda", "hardware=cpu"):
        MujocoWarpWorld(MujocoWarpWorldCfg(device="cuda"), GO2, N, 1)


def test_contacts_that_find_no_room_are_reported(caplog):
    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    world = MujocoWarpWorld(MujocoWarpWorldCfg(nconmax=2), GO2, N, 1)
    place(world)
    world.step(60)
    with caplog.at_level(logging.WARNING):
        world.close()
    assert "sim.nconmax=4" in caplog.text


def test_the_estimated_memory_is_that_of_the_arrays():
    import warp as wp

    from regimen.envs.sims.mujoco_warp import MujocoWarpWorld, MujocoWarpWorldCfg

    many = 64
    reports: list[str] = []
    with wp.ScopedMemoryTracker("world", report_func=reports.append):
        world = MujocoWarpWorld(MujocoWarpWorldCfg(), GO2, many, 1)
        world.step(1)
        world.step(1)
    peak = float(reports[0].split("Peak usage:")[1].split("cpu")[1].split()[0]) * 2**20
    modules, whole = (MujocoWarpWorldCfg().memory_bytes(envs, 48, J) for envs in (0, many))
    assert whole - modules == pytest.approx(peak, rel=0.1)
    world.close()


def test_a_picture_shows_the_robot(warp):
    image = warp.render(0)
    assert image.shape == (240, 320, 3) and image.std() > 5
