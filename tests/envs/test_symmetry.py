"""Mirror images: of observations and actions, of rewards, and of the physics itself."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from regimen.envs.robot_state import RobotState
from regimen.envs.robots.robot import load
from regimen.envs.sims.world import WorldState
from regimen.envs.symmetry import Symmetry, mirrors
from regimen.system.errors import ConfigError

TASKS = ("k1_walk", "h1_flat", "go2_flat")
QUIET = {"observation_noise": False, "events": {"physics_material": None, "add_base_mass": None, "push_robot": None}}
FLIP_Y, AXIAL = torch.tensor([1.0, -1.0, 1.0]), torch.tensor([-1.0, 1.0, -1.0])


def in_the_mirror(env, world):
    """Return the reading of the same robots seen in the x-z plane of the world."""
    order, signs = env.robot.mirror.joints(env.joints)
    bodies, sites = env.robot.mirror.order(env.bodies), env.robot.mirror.order(env.sites)
    joints = {f: getattr(world, f)[:, order] * torch.tensor(signs) for f in vars(world) if f.startswith("joint")}
    return WorldState(
        **joints,
        root_pos=world.root_pos * FLIP_Y,
        root_quat=world.root_quat * torch.tensor([1.0, -1.0, 1.0, -1.0]),
        root_lin_vel=world.root_lin_vel * FLIP_Y,
        root_ang_vel=world.root_ang_vel * AXIAL,
        contact_force=world.contact_force[:, bodies],
        site_pos=world.site_pos[:, sites] * FLIP_Y,
        site_vel=world.site_vel[:, sites] * FLIP_Y,
    )


def random_world(env, n):
    draw = {name: torch.randn(n, *value.shape[1:]) for name, value in env.state.world.tensors().items()}
    draw["root_quat"] = torch.nn.functional.normalize(draw["root_quat"], dim=1)
    draw["contact_force"] = draw["contact_force"].abs()
    return WorldState(**draw)


def beside_its_image(task, n=64):
    """Return an env whose last n rows are the mirror images of its first n, everything in it random."""
    torch.manual_seed(0)
    env = make_env(task, 2 * n, **QUIET)
    env.reset(seed=0)
    world = random_world(env, n)
    image = in_the_mirror(env, world)
    both = {k: torch.cat((v, image.tensors()[k])) for k, v in world.tensors().items()}
    env.state = RobotState(WorldState(**both), env.default_joint_pos)
    actions = torch.randn(2, n, env.io.num_actions)
    env.action, env.previous_action = torch.cat((actions, env.symmetry.mirror_action(actions)), dim=1)
    velocity, gait = env.commands["base_velocity"], env.commands["gait"]
    velocity.fix(torch.cat((velocity.value[:n], velocity.value[:n] * torch.tensor([1.0, -1.0, -1.0]))))
    gait.phase[n:] = (gait.phase[:n] + 0.5).remainder(1.0)
    gait._update()
    return env


@pytest.mark.parametrize("task", TASKS)
def test_the_mirror_image_of_the_observation_is_the_observation_of_the_mirror_image(task):
    env = beside_its_image(task)
    obs = env.observations.compute({})["policy"]
    image = env.symmetry.mirror_obs({"policy": obs})["policy"]
    assert torch.allclose(image[:64], obs[64:], atol=1e-5)
    assert torch.equal(env.symmetry.mirror_obs({"policy": image})["policy"], obs)
    assert torch.equal(env.symmetry.mirror_action(env.symmetry.mirror_action(env.action)), env.action)
    minibatches = obs.reshape(4, 32, -1)  # as FastSAC draws them
    assert torch.equal(env.symmetry.mirror_obs({"policy": minibatches})["policy"].reshape(obs.shape), image)


@pytest.mark.parametrize("task", TASKS)
def test_the_mirror_image_earns_the_same_by_every_reward(task):
    env = beside_its_image(task)
    for name, term in env.rewards.terms.items():
        one, other = term().split(64)
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5), name


def test_the_legs_swap_in_the_gait_of_the_mirror_image():
    env = beside_its_image("k1_walk")
    gait = env.commands["gait"]
    assert gait.stance.any(1).all()
    assert not gait.stance.all()
    assert torch.equal(gait.stance[64:], gait.stance[:64].flip(1))
    assert torch.allclose(gait.swing_height[64:], gait.swing_height[:64].flip(1), atol=1e-5)


@pytest.mark.parametrize(("task", "tolerance"), [("k1_walk", 0.03), ("go2_flat", 0.03)])
def test_the_physics_of_the_mirror_image_is_the_mirror_image_of_the_physics(task, tolerance):
    env = make_env(task, 2, **QUIET)
    env.reset(seed=0)
    env.commands["base_velocity"].fix(torch.tensor([[0.5, 0.2, 0.4], [0.5, -0.2, -0.4]]))
    start = in_the_mirror(env, env.state.world)
    pose = torch.cat((start.root_pos, start.root_quat), dim=1)
    speed = torch.cat((start.root_lin_vel, start.root_ang_vel), dim=1)
    env.world.reset(torch.tensor([1]), pose[:1], speed[:1], start.joint_pos[:1], start.joint_vel[:1])
    env.state = env._read()
    torch.manual_seed(1)
    first = env.state.joint_pos.clone()
    for _ in range(15):
        action = torch.randn(1, env.io.num_actions)
        env.step(torch.cat((action, env.symmetry.mirror_action(action))))
    image = in_the_mirror(env, env.state.world)
    assert (env.state.joint_pos - first).abs().max() > 0.1
    assert env.state.contact_force.max() > 10.0
    for name in ("joint_pos", "root_pos", "root_quat", "site_pos"):
        assert torch.allclose(getattr(image, name)[0], getattr(env.state, name)[1], atol=tolerance), name


def test_what_is_on_another_device_than_the_envs_is_mirrored_there():
    env = make_env("k1_walk", 2)
    obs = env.symmetry.mirror_obs({"policy": torch.zeros(4, env.io.size(), device="meta")})["policy"]
    action = env.symmetry.mirror_action(torch.zeros(4, env.io.num_actions, device="meta"))
    assert env.device.type == "cpu" and {obs.device.type, action.device.type} == {"meta"}


def test_without_a_declaration_there_is_no_mirror_image():
    assert make_env("reach", 2).symmetry is None
    env = make_env("k1_walk", 2)
    env.robot = replace(env.robot, mirror=None)
    assert Symmetry.of(env, env.io, env.cfg.observations) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"observations": {"policy": {"terms": {"feet": {"func": "site_position"}}}}},
        {"commands": {"gait": {"params": {"offsets": [0.0, 0.3]}}}},
        {"actions": {"joints": ["Left_.*"]}},
    ],
)
def test_what_has_no_mirror_image_leaves_the_task_without_one(changes):
    assert make_env("k1_walk", 2, **changes).symmetry is None


@mirrors("command")
def nameless(env):
    return env.commands["base_velocity"].value


def test_a_term_without_the_parameter_of_its_kind_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "test_symmetry", sys.modules[__name__])
    terms = {"own": {"func": "test_symmetry:nameless"}}
    with raises_naming(ConfigError, "test_symmetry:nameless", '@mirrors("command")', "`command`"):
        make_env("go2_flat", 2, observations={"policy": {"terms": terms}})


def test_a_pose_or_an_action_with_two_sides_leaves_the_task_without_one():
    env = make_env("k1_walk", 2)
    assert Symmetry.of(env, env.io, env.cfg.observations) is not None
    env.default_joint_pos[env.joints.index("Left_Hip_Roll")] += 0.1  # both outwards would be -0.1 on the right
    assert Symmetry.of(env, env.io, env.cfg.observations) is None
    env.default_joint_pos[env.joints.index("Right_Hip_Roll")] -= 0.1
    assert Symmetry.of(env, env.io, env.cfg.observations) is not None
    env.io.action.scale[env.io.action.joints.index("Left_Knee_Pitch")] *= 2
    assert Symmetry.of(env, env.io, env.cfg.observations) is None


def test_feet_that_hop_together_have_the_same_clock_in_the_mirror():
    hopping = make_env("k1_walk", 2, commands={"gait": {"params": {"offsets": [0.0, 0.0]}}})
    assert hopping.commands["gait"].image() == ([0, 1], [1.0, 1.0])


def test_names_swap_sides():
    mirror = load("k1").mirror
    assert mirror.image("ALeft_Shoulder_Pitch") == "ARight_Shoulder_Pitch"
    assert mirror.image("right_foot_link") == "left_foot_link"
    assert mirror.image("Trunk") == "Trunk"
    assert mirror.order(["Left_Hip_Yaw"]) is None
    assert mirror.joints(["Head_pitch", "AAHead_yaw"]) == ([0, 1], [1.0, -1.0])
