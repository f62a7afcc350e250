"""The Genesis world: every change per robot has the physical effect its name promises, on that robot alone.

Compiling takes most of a minute once, building some seconds each time, so one scene serves all tests.
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from regimen.envs.robots.robot import Robot, load

pytestmark = [  # not importorskip: to import Genesis takes seconds, and has effects on what is imported later
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
    pytest.mark.skipif(find_spec("genesis") is None, reason="Genesis is not installed: make genesis"),
]

N = 4
ALL, ONE, REST = torch.arange(N), torch.tensor([1]), torch.tensor([0, 2, 3])
GO2 = load("go2")
POSE = torch.tensor([GO2.default_joint_pos] * N)
J = len(GO2.joints)


@pytest.fixture(scope="module")
def scene():
    from regimen.envs.sims.genesis import GenesisWorld
    from regimen.envs.sims.genesis_scene import GenesisWorldCfg

    torch.set_num_threads(1)
    world = GenesisWorld(GenesisWorldCfg(render_size=[320, 240]), GO2, N, 1)
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


def place(world, robot: Robot, velocity: torch.Tensor | None = None) -> None:
    pose = torch.tensor([[0.0, 0.0, robot.spawn_height, 1.0, 0.0, 0.0, 0.0]] * N)
    world.reset(ALL, pose, torch.zeros(N, 6) if velocity is None else velocity, POSE, torch.zeros(N, J))
    world.set_joint_targets(POSE)


def test_names_mass_and_shapes_follow_the_robot(go2):
    state = go2.read()
    assert go2.joints == list(GO2.joints)
    assert go2.bodies == [*GO2.feet, *GO2.fall_bodies]
    assert state.site_pos.shape == (N, 4, 3)
    assert float(go2.entity.get_mass().reshape(-1)[0]) == pytest.approx(GO2.total_mass, rel=1e-4)
    assert all(t.dtype == torch.float32 for t in state.tensors().values())


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
    torch.testing.assert_close(moved[0], torch.tensor([1.0, 2.0, 3.0 - 9.81 * go2.dt]), atol=1e-3, rtol=0)


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
    ranges[0, knee] = torch.tensor([-1.505, -1.495])
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
    go2.push(ALL, torch.tensor([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]] * N))
    start = go2.read().root_pos[:, 0].clone()
    go2.step(100)
    travelled = go2.read().root_pos[:, 0] - start
    assert travelled[1] > 1.6 * travelled[0]


def test_a_robot_is_reported_each_time_it_breaks_and_leaves_the_others_alone(go2):
    for _ in range(2):
        wrong = go2.entity.get_qpos()[ONE].clone()
        wrong[:, 0] = float("nan")
        go2.entity.set_qpos(wrong, envs_idx=ONE)
        assert go2.step(1).tolist() == [False, True, False, False]
        assert go2.step(1).tolist() == [False] * N
    assert torch.isfinite(go2.read().joint_pos).all()


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
    picture = go2.render(0)
    assert picture.shape == (240, 320, 3)
    assert picture.std() > 5


def test_torch_compiles_beside_it(go2):
    """Genesis' packages load the standard library's distutils, beside which setuptools cannot be imported."""
    from torch.utils import cpp_extension

    assert cpp_extension.include_paths()


def test_the_environment_keeps_its_contract():
    from regimen.config.compose import compose_config
    from regimen.envs.conformance.check import factory, require_env

    config = compose_config(["task=h1_flat", "sim=genesis", "env.episode_length_s=1.0"])
    require_env(factory(config), command=config.env.evaluation.command, grid=config.env.evaluation.grid)
