"""The Isaac Lab world: every change per robot has the physical effect its name promises, on that robot alone.

These tests need the interpreter of `make isaaclab`, in which `tests/end_to_end/test_isaaclab_world.py` runs them. A
process has one simulation at a time and opening it takes a quarter of a minute, so one scene serves all tests of a
robot.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from regimen.envs.robots.robot import Robot, load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("isaaclab") is None, reason="this Python has no Isaac Lab: make isaaclab"),
]

N = 4
ALL, ONE, REST = torch.arange(N), torch.tensor([1]), torch.tensor([0, 2, 3])
GO2 = load("go2")
POSE = torch.tensor([GO2.default_joint_pos] * N)
J = len(GO2.joints)


def open_world(robot: Robot):
    from regimen.envs.isaaclab.world import IsaacLabWorld, IsaacLabWorldCfg

    torch.set_num_threads(1)
    return IsaacLabWorld(IsaacLabWorldCfg(render_size=[320, 240]), robot, N, 1)


@pytest.fixture(scope="module")
def scene():
    world = open_world(GO2)
    yield world
    world.close()


@pytest.fixture
def go2(scene):
    scene.set_gains(ALL, torch.tensor([GO2.stiffness] * N), torch.tensor([GO2.damping] * N))
    scene.set_effort_limits(ALL, torch.tensor([GO2.effort_limit] * N))
    scene.set_joint_ranges(ALL, scene.joint_range.repeat(N, 1, 1))
    scene.add_base_mass(ALL, torch.zeros(N))
    scene.set_friction(ALL, torch.full((N,), 0.8))
    place(scene, GO2)
    return scene


@pytest.fixture
def mujoco():
    from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg

    world = MujocoWorld(MujocoWorldCfg(), GO2, N, 1)
    place(world, GO2)
    return world


def place(world, robot: Robot, velocity: torch.Tensor | None = None) -> None:
    pose = torch.tensor([[0.0, 0.0, robot.spawn_height, 1.0, 0.0, 0.0, 0.0]] * N)
    start = torch.tensor([robot.default_joint_pos] * N)
    world.reset(ALL, pose, torch.zeros(N, 6) if velocity is None else velocity, start, torch.zeros_like(start))
    world.set_joint_targets(start)


def test_actuators_apply_the_torques_of_mujoco():
    """The first test: its scene is closed before that of the others is opened."""
    from regimen.config.task_schema import ActuatorCfg
    from regimen.envs.actuators.world import with_actuators
    from regimen.envs.isaaclab.world import IsaacLabWorld, IsaacLabWorldCfg
    from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg

    driven = [joint for joint in GO2.joints if "hip" not in joint]
    motors = [GO2.joints.index(joint) for joint in driven]
    motor = {"legs": ActuatorCfg("dc_motor", {}, [".*_thigh_joint", ".*_calf_joint"], (1, 1))}
    newton = IsaacLabWorld(IsaacLabWorldCfg(), GO2, N, 1, torque_joints=driven)
    reference = MujocoWorld(MujocoWorldCfg(), GO2, N, 1, torque_joints=driven)
    worlds = [with_actuators(sim, motor, GO2, torch.rand) for sim in (newton, reference)]
    try:
        for world in worlds:
            place(world, GO2)
        assert newton.read().joint_torque.abs().max() == 0.0
        draws = torch.Generator().manual_seed(0)
        for _ in range(6):
            targets = POSE + 0.3 * torch.randn(N, J, generator=draws)
            for world in worlds:
                world.set_joint_targets(targets)
                world.step(4)
            torque, expected = (world.read().joint_torque[:, motors] for world in worlds)
            assert expected.abs().max() > 3.0
            torch.testing.assert_close(torque, expected, atol=0.05, rtol=0.03)
    finally:
        newton.close()


def test_names_and_ranges_are_those_of_mujoco(go2, mujoco):
    assert go2.joints == list(GO2.joints)
    assert go2.bodies == mujoco.bodies
    assert go2.sites == mujoco.sites
    torch.testing.assert_close(go2.joint_range, mujoco.joint_range)
    assert all(t.dtype == torch.float32 for t in go2.read().tensors().values())


def test_the_robot_moves_as_in_mujoco(go2, mujoco):
    """The same targets from the same state, until contacts that open and close amplify what rounding leaves."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(15):
        targets = POSE + 0.05 * torch.randn(N, J, generator=generator)
        for world in (go2, mujoco):
            world.set_joint_targets(targets)
            world.step(4)
    here, there = go2.read(), mujoco.read()
    for name, least in (("joint_pos", 1e-3), ("joint_torque", 0.1), ("root_pos", 1e-3), ("root_quat", 1e-3)):
        torch.testing.assert_close(getattr(here, name), getattr(there, name), atol=least, rtol=0.0)


def test_standing_feet_carry_the_weight_and_the_base_touches_nothing(go2):
    go2.step(400)
    state = go2.read()
    feet = [go2.bodies.index(f) for f in GO2.feet]
    assert state.contact_force[0, feet].sum().item() == pytest.approx(GO2.total_mass * 9.81, rel=0.1)
    assert state.contact_force[0, go2.bodies.index("base")] == 0.0
    assert state.site_pos[0, :, 2].abs().max() < 0.012


def test_velocities_are_linear_in_the_world_and_angular_in_the_body(go2):
    """As MuJoCo's: held against what was set and the way the base has moved, for a tilted robot."""
    half = 0.5**0.5
    tilted = torch.tensor([[0.0, 0.0, 1.0, half, 0.0, half, 0.0]] * N)
    velocity = torch.tensor([[1.0, 2.0, 3.0, 0.1, 0.2, 0.3]] * N)
    go2.reset(ALL, tilted, velocity, POSE, torch.zeros(N, J))
    before = go2.read()
    torch.testing.assert_close(before.root_lin_vel, velocity[:, :3])
    torch.testing.assert_close(before.root_ang_vel, velocity[:, 3:])
    go2.step(1)
    moved = (go2.read().root_pos - before.root_pos) / go2.dt
    torch.testing.assert_close(moved[0], torch.tensor([1.0, 2.0, 3.0 - 9.81 * go2.dt]), atol=0.02, rtol=0)


def test_a_reading_of_some_robots_equals_their_rows(go2):
    go2.step(7)
    whole, part = go2.read().tensors(), go2.read(ONE).tensors()
    assert all(torch.equal(whole[name][1:2], part[name]) for name in whole)


def test_a_robot_just_placed_has_no_contact_yet_and_the_others_keep_theirs(go2):
    go2.step(200)
    pose = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
    go2.reset(ONE, pose, torch.zeros(1, 6), POSE[:1], torch.zeros(1, J))
    state = go2.read()
    assert state.contact_force[1].max() == 0.0
    assert state.joint_acc[1].abs().max() == 0.0
    assert (state.contact_force[REST].sum(1) > 100).all()


def test_no_effort_lets_only_that_robot_sink(go2):
    go2.set_effort_limits(ONE, torch.zeros(1, J))
    go2.step(100)
    state = go2.read()
    assert (state.root_pos[REST, 2] > 0.26).all()
    assert state.root_pos[1, 2] < 0.2
    assert state.joint_torque[1].abs().max() == 0.0


def test_one_knee_without_effort_gives_way_and_the_other_joints_hold(go2):
    knee = go2.joints.index("FL_calf_joint")
    limits = torch.tensor([GO2.effort_limit])
    limits[0, knee] = 0.0
    go2.set_effort_limits(ONE, limits)
    go2.step(100)
    state = go2.read()
    assert state.joint_torque[1, knee] == 0.0
    assert state.joint_torque[1].abs().max() > 1.0
    assert state.joint_pos[1, knee] < state.joint_pos[REST, knee].min() - 0.3


def test_a_robot_with_soft_joints_sinks_and_the_others_stay(go2):
    go2.set_gains(ONE, torch.full((1, J), 2.0), torch.full((1, J), 0.5))
    go2.step(200)
    height = go2.read().root_pos[:, 2]
    assert (height[REST] > 0.26).all()
    assert height[1] < 0.2


def test_effort_limits_bound_the_applied_torque(go2):
    go2.set_effort_limits(ALL, torch.full((N, J), 3.0))
    go2.step(50)
    assert go2.read().joint_torque.abs().max() == pytest.approx(3.0)
    go2.set_effort_limits(ALL, torch.full((N, J), torch.nan))
    torch.testing.assert_close(go2.effort_limits(ALL), torch.tensor([GO2.effort_limit] * N))
    go2.step(1)
    assert go2.read().joint_torque.abs().max() > 3.5


def test_a_locked_joint_stays_while_its_target_moves(go2):
    knee = go2.joints.index("FL_calf_joint")
    ranges = torch.full((1, J, 2), torch.nan)
    ranges[0, knee] = -1.5  # of zero width
    go2.set_joint_ranges(ONE, ranges)
    targets = POSE.clone()
    targets[:, knee] = -1.2
    go2.set_joint_targets(targets)
    go2.step(100)
    position = go2.read().joint_pos[:, knee]
    assert (position[REST] > -1.4).all()
    assert position[1] == pytest.approx(-1.5, abs=0.03)


def test_a_heavier_base_presses_harder(go2):
    go2.add_base_mass(ONE, torch.tensor([5.0]))
    go2.step(400)
    force = go2.read().contact_force.sum(1)
    assert (force[1] - force[0]).item() == pytest.approx(5.0 * 9.81, rel=0.1)


def test_low_friction_lets_a_pushed_robot_slide_farther(go2):
    go2.step(100)
    go2.set_friction(ALL, torch.tensor([1.0, 0.05, 1.0, 1.0]))
    before = go2.read()
    go2.push(ALL, torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * N))
    pushed = go2.read()
    torch.testing.assert_close(
        pushed.root_lin_vel - before.root_lin_vel, torch.tensor([[1.0, 0.0, 0.0]] * N), atol=1e-5, rtol=0.0
    )
    go2.step(100)
    travelled = go2.read().root_pos[:, 0] - pushed.root_pos[:, 0]
    assert travelled[1] > 1.6 * travelled[0]


def test_a_push_turns_a_tilted_robot_about_its_own_axes(go2):
    half = 0.5**0.5
    tilted = torch.tensor([[0.0, 0.0, 1.0, half, half, 0.0, 0.0]] * N)
    go2.reset(ALL, tilted, torch.zeros(N, 6), POSE, torch.zeros(N, J))
    velocity = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    go2.push(ONE, velocity)
    state = go2.read()
    torch.testing.assert_close(state.root_lin_vel[ONE], velocity[:, :3])
    torch.testing.assert_close(state.root_ang_vel[ONE], velocity[:, 3:])
    assert state.root_ang_vel[REST].abs().max() == 0.0


def test_a_robot_is_reported_each_time_it_breaks_and_leaves_the_others_alone(go2):
    for _ in range(2):
        pose = torch.tensor([[float("nan"), 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
        go2.reset(ONE, pose, torch.zeros(1, 6), POSE[:1], torch.zeros(1, J))
        assert go2.step(1).tolist() == [False, True, False, False]
        assert go2.step(1).tolist() == [False] * N
    assert all(torch.isfinite(values).all() for values in go2.read().tensors().values())


def test_state_restores_bit_for_bit_with_changed_masses_and_limits(go2):
    place(go2, GO2, torch.tensor([[0.5, 0.2, 0.0, 0.3, 0.2, 0.1]] * N))
    go2.add_base_mass(ONE, torch.tensor([3.0]))
    go2.set_effort_limits(ONE, torch.full((1, J), 15.0))
    go2.set_gains(ONE, torch.full((1, J), 20.0), torch.full((1, J), 0.7))
    go2.step(20)
    saved = go2.state_dict()
    go2.step(30)
    expected = go2.read().tensors()
    go2.add_base_mass(ALL, torch.tensor([1.0, -1.0, 0.0, 2.0]))
    go2.set_friction(ALL, torch.full((N,), 0.1))
    go2.set_gains(ALL, torch.full((N, J), 5.0), torch.full((N, J), 0.1))
    go2.load_state_dict(saved)
    go2.step(30)
    assert all(torch.equal(expected[n], t) for n, t in go2.read().tensors().items())


def test_a_picture_shows_the_robot(go2):
    from regimen.envs.sims.render import pick_backend
    from regimen.system.errors import PreflightError

    try:
        pick_backend()
    except PreflightError as error:
        pytest.skip(str(error))
    picture = go2.render(0)
    assert picture.shape == (240, 320, 3)
    assert picture.std() > 5
