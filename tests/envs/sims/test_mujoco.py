"""The MuJoCo world: every change per robot has the physical effect its name promises, on that robot alone."""

from __future__ import annotations

import pytest
import torch

from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg

BOTH = torch.arange(2)
ONE = torch.tensor([1])


@pytest.fixture
def go2() -> MujocoWorld:
    robot = load("go2")
    world = MujocoWorld(MujocoWorldCfg(), robot, 2, 1)
    place(world, robot.spawn_height)
    world.set_joint_targets(torch.tensor([robot.default_joint_pos] * 2))
    return world


def place(world: MujocoWorld, height: float) -> None:
    pose = torch.tensor([[0.0, 0.0, height, 1.0, 0.0, 0.0, 0.0]] * 2)
    joints = torch.tensor([load("go2").default_joint_pos] * 2)
    world.reset(BOTH, pose, torch.zeros(2, 6), joints, torch.zeros(2, 12))


def test_standing_feet_carry_the_weight_and_the_base_touches_nothing(go2):
    go2.step(400)
    state = go2.read()
    feet = [go2.bodies.index(f) for f in load("go2").feet]
    weight = load("go2").total_mass * 9.81
    assert state.contact_force[0, feet].sum().item() == pytest.approx(weight, rel=0.1)
    assert state.contact_force[0, go2.bodies.index("base")] == 0.0


def test_names_and_shapes_follow_the_robot(go2):
    state = go2.read()
    assert go2.joints == list(load("go2").joints)
    assert state.joint_pos.shape == (2, 12)
    assert state.site_pos.shape == (2, 4, 3)
    assert all(t.dtype == torch.float32 for t in state.tensors().values())


def test_a_reading_of_some_robots_equals_their_rows(go2):
    go2.step(7)
    whole, part = go2.read().tensors(), go2.read(ONE).tensors()
    assert all(torch.equal(whole[name][1:], part[name]) for name in whole)


def test_no_effort_lets_only_that_robot_sink(go2):
    go2.set_effort_limits(ONE, torch.zeros(1, 12))
    go2.step(100)
    height = go2.read().root_pos[:, 2]
    assert height[0] > 0.28
    assert height[1] < 0.2
    assert go2.read().joint_torque[1].abs().max() == 0.0


def test_a_robot_with_soft_joints_sinks_and_the_other_stays(go2):
    gains = torch.full((1, 12), 2.0), torch.full((1, 12), 0.5)
    go2.set_gains(ONE, *gains)
    go2.step(200)
    height = go2.read().root_pos[:, 2]
    assert height[0] > 0.26
    assert height[1] < 0.2


def test_effort_limits_bound_the_applied_torque(go2):
    go2.set_effort_limits(BOTH, torch.full((2, 12), 3.0))
    go2.step(50)
    assert go2.read().joint_torque.abs().max() == pytest.approx(3.0)
    go2.set_effort_limits(BOTH, torch.full((2, 12), torch.nan))
    torch.testing.assert_close(go2.effort_limits(BOTH), torch.tensor([load("go2").effort_limit] * 2))
    go2.step(1)
    assert go2.read().joint_torque.abs().max() > 3.5


def test_a_locked_joint_stays_while_its_target_moves(go2):
    knee = go2.joints.index("FL_calf_joint")
    ranges = torch.full((1, 12, 2), torch.nan)
    ranges[0, knee] = torch.tensor([-1.505, -1.495])
    go2.set_joint_ranges(ONE, ranges)
    targets = torch.tensor([load("go2").default_joint_pos] * 2)
    targets[:, knee] = -1.2
    go2.set_joint_targets(targets)
    go2.step(100)
    position = go2.read().joint_pos[:, knee]
    assert position[0] > -1.4
    assert position[1] == pytest.approx(-1.5, abs=0.03)


def test_a_heavier_base_presses_harder(go2):
    go2.add_base_mass(ONE, torch.tensor([5.0]))
    go2.step(400)
    force = go2.read().contact_force.sum(1)
    assert (force[1] - force[0]).item() == pytest.approx(5.0 * 9.81, rel=0.1)


def test_low_friction_lets_a_pushed_robot_slide_farther(go2):
    go2.step(100)
    go2.set_friction(BOTH, torch.tensor([1.0, 0.05]))
    go2.push(BOTH, torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * 2))
    start = go2.read().root_pos[:, 0].clone()
    go2.step(100)
    travelled = go2.read().root_pos[:, 0] - start
    assert travelled[1] > 1.6 * travelled[0]


def test_a_robot_is_reported_each_time_it_breaks_and_leaves_the_other_alone(go2):
    for _ in range(3):
        go2._qvel[1, 0] = float("nan")
        assert go2.step(1).tolist() == [False, True]
        assert go2.step(1).tolist() == [False, False]
    assert torch.isfinite(go2.read().joint_pos).all()


def test_state_restores_bit_for_bit_with_changed_masses_and_limits(go2):
    go2.add_base_mass(ONE, torch.tensor([3.0]))
    go2.set_effort_limits(ONE, torch.full((1, 12), 15.0))
    go2.set_gains(ONE, torch.full((1, 12), 20.0), torch.full((1, 12), 0.7))
    go2.step(20)
    saved = go2.state_dict()
    go2.step(30)
    expected = go2.read().tensors()
    go2.add_base_mass(BOTH, torch.tensor([1.0, -1.0]))
    go2.set_friction(BOTH, torch.tensor([0.1, 0.1]))
    go2.set_gains(BOTH, torch.full((2, 12), 5.0), torch.full((2, 12), 0.1))
    go2.load_state_dict(saved)
    go2.step(30)
    assert all(torch.equal(expected[n], t) for n, t in go2.read().tensors().items())


def test_results_do_not_depend_on_the_number_of_threads():
    def after(threads: int) -> torch.Tensor:
        robot = load("go2")
        world = MujocoWorld(MujocoWorldCfg(), robot, 2, threads)
        place(world, robot.spawn_height)
        world.step(50)
        return world.read().joint_pos

    assert torch.equal(after(1), after(2))
