"""Models of motors in a real rollout: laws, delays, networks, faults and randomisation, and their exact restore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env
from helpers.torque_networks import LstmNetwork, PdNetwork, save, save_lstm_onnx, save_pd_onnx
from regimen.envs.conformance.check import require_env
from regimen.envs.conformance.robot_rule import check_robot
from regimen.envs.conformance.rollouts import Probe
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.robots.robot import load
from regimen.envs.sims.mujoco import MujocoWorld, MujocoWorldCfg
from regimen.system.errors import ConfigError, EnvContractError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

STILL = dict.fromkeys(("physics_material", "add_base_mass", "push_robot", "reset_base"))
GO2 = load("go2")
ARM = torch.tensor([load("reach_arm").stiffness, load("reach_arm").damping])


def go2(num_envs: int = 2, events: dict[str, Any] | None = None, **actuator: Any) -> ManagerEnv:
    """Go2s whose legs have one actuator; without its name the simulator's servo."""
    legs = {"legs": {"func": "ideal_pd", **actuator}} if actuator else {}
    return started(make_env("go2_flat", num_envs, actuators=legs, events={**STILL, **(events or {})}))


def arm(num_envs: int = 2, **actuator: Any) -> ManagerEnv:
    return started(make_env("reach", num_envs, actuators={"motors": actuator} if actuator else {}))


def started(env: ManagerEnv) -> ManagerEnv:
    env.reset(seed=0)
    return env


def rollout(env: ManagerEnv, steps: int, size: float = 0.5, seed: int = 1) -> list[dict[str, torch.Tensor]]:
    """Readings of a rollout of random actions, drawn for each step."""
    draws, readings = torch.Generator().manual_seed(seed), []
    for _ in range(steps):
        env.step(size * torch.randn(env.num_envs, env.io.num_actions, generator=draws))
        readings.append({name: value.clone() for name, value in env.state.world.tensors().items()})
    return readings


def physics_steps(world: Any, targets: torch.Tensor, steps: int) -> list[tuple[torch.Tensor, ...]]:
    """State before, and torque in, each physics step towards fixed targets."""
    world.set_joint_targets(targets)
    found = []
    for _ in range(steps):
        position, velocity = (part.clone() for part in world.joint_state())
        world.step(1)
        found.append((position, velocity, world.read().joint_torque))
    return found


class Elsewhere(torch.Tensor):
    """Values of a simulator on another device, of which the CPU has the numbers."""

    device = torch.device("meta")


def test_nominal_values_are_on_the_device_of_the_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    world = arm(func="ideal_pd").world
    nominal = world.sim.nominal
    monkeypatch.setattr(world.sim, "nominal", lambda quantity: nominal(quantity).as_subclass(Elsewhere))
    assert world.nominal("stiffness").device.type == "meta" and world.nominal("motor_strength").device.type == "meta"


def test_at_a_small_physics_step_an_ideal_pd_moves_as_the_servo_of_mujoco() -> None:
    """The servo integrates its damping implicitly, the model does not: the difference falls with the step."""
    targets = torch.tensor([GO2.default_joint_pos]) + 0.2 * torch.sin(torch.arange(12.0))

    def moved(dt: float, **actuator: Any) -> torch.Tensor:
        env = go2(1, **actuator)
        world = MujocoWorld(MujocoWorldCfg(dt=dt), GO2, 1, 1, torque_joints=GO2.joints if actuator else ())
        if actuator:
            env.world.sim, world = world, env.world
        pose = torch.tensor([[0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0]])
        start = torch.tensor([GO2.default_joint_pos])
        world.reset(torch.arange(1), pose, torch.zeros(1, 6), start, torch.zeros(1, 12))
        world.set_joint_targets(targets)
        world.step(round(0.1 / dt))
        return world.read().joint_pos

    apart = {dt: float((moved(dt) - moved(dt, func="ideal_pd")).abs().max()) for dt in (0.004, 0.0005)}
    assert apart[0.0005] < 2e-3 and apart[0.0005] < 0.3 * apart[0.004]


def test_an_ideal_pd_applies_its_law_at_each_physics_step() -> None:
    limits = {".*_hip_joint": 5.0}
    env = go2(3, params={"stiffness": 20.0, "damping": {".*_calf_joint": 0.1}, "effort_limit": limits})
    rollout(env, 3)
    targets = env.default_joint_pos + 0.4 * torch.randn(3, 12, generator=torch.Generator().manual_seed(0))
    damping = torch.tensor([0.5, 0.5, 0.1] * 4)
    limit = torch.tensor([5.0, 23.5, 23.5] * 4)
    reached = torch.zeros(12, dtype=torch.bool)
    for position, velocity, torque in physics_steps(env.world, targets, 6):
        wanted = 20.0 * (targets - position) - damping * velocity
        torch.testing.assert_close(torque, wanted.clamp(-limit, limit), atol=1e-4, rtol=1e-5)
        reached |= (torque.abs() == limit).any(0)
    assert reached[::3].any(), "the limit of the hips is part of the law"
    assert env.effort_limit.tolist() == pytest.approx(limit.tolist()) and env.stiffness.tolist() == [20.0] * 12


def test_a_dc_motor_stays_in_its_torque_speed_polygon() -> None:
    env = go2(8, func="dc_motor", params={"saturation_effort": 30.0, "velocity_limit": 20.0})
    draws, cut, braked = torch.Generator().manual_seed(0), 0, 0
    for _ in range(15):
        targets = env.default_joint_pos + 2.0 * torch.randn(8, 12, generator=draws)
        for _, velocity, torque in physics_steps(env.world, targets, 4):
            most = (30.0 * (1 - velocity / 20.0)).clamp(-23.5, 23.5)
            least = (-30.0 * (1 + velocity / 20.0)).clamp(-23.5, 23.5)
            assert ((torque <= most + 1e-3) & (torque >= least - 1e-3)).all()
            cut += int(((torque - most).abs() < 1e-3)[most < 23.0].sum())
            braked += int((velocity.abs() > 20.0).sum())
    assert cut > 20, "torques reach the line"
    assert braked > 0, "also beyond the speed without load"


def test_joints_of_no_actuator_keep_the_servo() -> None:
    """A motor of half the strength is weaker on its own joints alone."""
    hips = {"joints": [".*_hip_joint"], "params": {"effort_limit": 1.0}}
    torque = torch.stack([reading["joint_torque"] for reading in rollout(go2(**hips), 10)]).abs().amax((0, 1))
    hip = torch.arange(12) % 3 == 0
    assert torque[hip].max() == pytest.approx(1.0) and torque[~hip].min() > 3.0


@pytest.mark.parametrize("delay", [1, 3, 6])
def test_a_target_arrives_after_as_many_physics_steps_as_its_delay(delay: int) -> None:
    env = arm(1, func="ideal_pd", delay=[delay, delay], params={"damping": 0.0})
    home, here = env.default_joint_pos.repeat(1, 1), env.state.joint_pos
    zeros = torch.zeros(1, 7)
    env.world.reset(torch.arange(1), zeros, torch.zeros(1, 6), here, torch.zeros_like(here))
    stiffness = ARM[0]
    for number, (position, _, torque) in enumerate(physics_steps(env.world, here + 0.1, 10)):
        target = home if number < delay else here + 0.1
        torch.testing.assert_close(torque, stiffness * (target - position), atol=1e-4, rtol=1e-4)


def arrivals(env: ManagerEnv, steps: int) -> torch.Tensor:
    """(steps, N): by how many physics steps the target of each env is late, of a target that moves in each step."""
    start = env.state.joint_pos
    ids, zeros = torch.arange(env.num_envs), torch.zeros(env.num_envs, 7)
    env.world.reset(ids, zeros, zeros[:, :6], start, torch.zeros_like(start))
    late = []
    for number in range(steps):
        position = env.world.joint_state()[0].clone()
        env.world.set_joint_targets(torch.full_like(start, 0.01 * number))
        env.world.step(1)
        target = (env.world.read().joint_torque / ARM[0] + position)[:, 0]
        late.append(number - (target / 0.01).round())
    return torch.stack(late)


def test_a_delay_is_drawn_for_each_episode_or_for_each_physics_step() -> None:
    params = {"damping": 0.0, "effort_limit": 1000.0}
    fixed = arrivals(arm(64, func="ideal_pd", delay=[1, 3], params=params), 12)[4:]
    assert (fixed == fixed[0]).all() and set(fixed[0].tolist()) == {1.0, 2.0, 3.0}
    jitter = arrivals(arm(64, func="ideal_pd", delay=[1, 3], delay_drawn="step", params=params), 12)[4:]
    assert set(jitter.unique().tolist()) == {1.0, 2.0, 3.0} and not (jitter == jitter[0]).all()


def test_a_network_that_computes_a_pd_is_the_ideal_pd(tmp_path: Path) -> None:
    expected = rollout(go2(3, func="ideal_pd"), 8)
    for file, more in (
        (save(PdNetwork(25.0, 0.5, 1), tmp_path / "pd.pt"), {}),
        (save(PdNetwork(25.0, 0.5, 3), tmp_path / "pd3.pt"), {"input_idx": [0, 2, 5]}),
        (save(PdNetwork(2.5, 5.0, 1), tmp_path / "pd_scaled.pt"), {"pos_scale": 100.0, "torque_scale": 0.1}),
        (save_pd_onnx(25.0, 0.5, tmp_path / "pd.onnx"), {}),
    ):
        readings = rollout(go2(3, func="actuator_net", params={"network_file": str(file), **more}), 8)
        for one, other in zip(expected, readings, strict=True):
            torch.testing.assert_close(one["joint_torque"], other["joint_torque"], atol=2e-2, rtol=1e-3)


def test_the_columns_of_a_network_are_errors_and_velocities_of_past_physics_steps(tmp_path: Path) -> None:
    """A network that returns one column shows what it is given, from the beginning of the episode."""

    def column(index: int, **params: Any) -> list[tuple[torch.Tensor, ...]]:
        net = torch.nn.Linear(4, 1, bias=False)
        with torch.no_grad():
            net.weight.zero_()[0, index] = 1.0
        file = save(net, tmp_path / f"{index}.pt")
        params |= {"network_file": str(file), "input_idx": [0, 2], "effort_limit": 1e6}
        env = arm(1, func="actuator_net", params=params)
        return physics_steps(env.world, env.state.joint_pos + 0.3, 5)

    def assert_past(steps: list[tuple[torch.Tensor, ...]], back: int, kind: int) -> None:
        target = steps[0][0] + 0.3
        for number, (*_, torque) in enumerate(steps):
            then = steps[number - back] if number >= back else None
            value = torch.zeros_like(torque) if then is None else (target - then[0], then[1])[kind]
            torch.testing.assert_close(torque, value, atol=1e-5, rtol=1e-4)

    for index, (kind, back) in enumerate(((0, 0), (0, 2), (1, 0), (1, 2))):
        assert_past(column(index), back, kind)
    assert_past(column(0, input_order="vel_pos"), 0, 1)
    assert_past(column(3, input_order="vel_pos"), 2, 0)


@pytest.mark.slow
def test_a_recurrent_network_keeps_its_state_within_an_episode(tmp_path: Path) -> None:
    network = LstmNetwork()
    files = save(network, tmp_path / "lstm.pt"), save_lstm_onnx(network, tmp_path / "lstm.onnx")
    for file in files:
        env = arm(2, func="actuator_net", params={"network_file": str(file)})
        targets = env.state.joint_pos + torch.tensor([[0.3], [-0.2]])
        for _ in range(2):  # the second episode begins without the state of the first
            state = (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4))
            for position, velocity, torque in physics_steps(env.world, targets, 5):
                inputs = torch.stack((targets - position, velocity), dim=-1).reshape(4, 1, 2)
                with torch.no_grad():
                    expected, state = network(inputs, state)
                torch.testing.assert_close(torque, expected.reshape(2, 2), atol=1e-5, rtol=1e-4)
            zeros = torch.zeros_like(targets)
            env.world.reset(torch.arange(2), torch.zeros(2, 7), torch.zeros(2, 6), targets - 0.1, zeros)


def test_a_fault_limits_the_torque_of_an_actuator() -> None:
    params = {"joints": "FL_calf_joint", "probability": 1.0, "onset_s": [0.1, 0.1], "severity": 2.0}
    fault = {"fault": {"func": "change_joint_torque", "mode": "reset", "params": params}}
    env = go2(2, events=fault, func="dc_motor", params={"effort_limit": 30.0, "saturation_effort": 60.0})
    calf = torch.stack([reading["joint_torque"][:, 2] for reading in rollout(env, 12)]).abs()
    assert calf[:4].max() > 5.0 and calf[6:].max() == pytest.approx(2.0)
    env.events.terms["fault"].probability = 0.0
    env.reset()
    healthy = torch.stack([reading["joint_torque"] for reading in rollout(env, 40, size=3.0)]).abs()
    assert healthy.max() == pytest.approx(30.0), "the limit of the task, not that of the robot"


@pytest.mark.parametrize(
    ("event", "factors"),
    [
        ({"func": "randomize", "params": {"quantity": "stiffness", "between": [0.5, 0.5]}}, (0.5, 1.0)),
        ({"func": "randomize", "params": {"quantity": "damping", "between": [0.1, 0.1]}}, (1.0, 0.1)),
        ({"func": "randomize", "params": {"quantity": "motor_strength", "between": [0.6, 0.6]}}, (0.6, 0.6)),
        (
            {
                "func": "randomize_actuator_gains",
                "params": {"stiffness_distribution_params": [0.8, 0.8], "damping_distribution_params": [0.5, 0.5]},
            },
            (0.8, 0.5),
        ),
    ],
)
def test_events_change_the_gains_of_actuators_and_of_servos(
    event: dict[str, Any], factors: tuple[float, float]
) -> None:
    """The hips are actuated, with a stiffness of their own; what is drawn is a factor of it."""
    hips = {"joints": [".*_hip_joint"], "params": {"stiffness": 30.0}}
    env = go2(2, events={"drawn": {**event, "mode": "startup"}}, **hips)
    stiffness = factors[0] * torch.tensor([30.0, 25.0, 25.0] * 4)
    targets = env.default_joint_pos + 0.1 * torch.ones(2, 12)
    rollout(env, 2, size=0.1)
    for position, velocity, torque in physics_steps(env.world, targets, 4):
        wanted = stiffness * (targets - position) - factors[1] * 0.5 * velocity
        torch.testing.assert_close(torque, wanted, atol=1e-3, rtol=1e-3)


def test_gains_and_strength_of_an_actuator_multiply_each_other_and_survive_a_fault() -> None:
    """The hips are actuated; every drawn factor is the same for actuators and servos."""
    factors = {"strength": ("motor_strength", 0.5), "kp": ("stiffness", 1.6), "limit": ("torque_limit", 0.8)}
    events: dict[str, Any] = {
        name: {"func": "randomize", "mode": "startup", "params": {"quantity": quantity, "between": [factor] * 2}}
        for name, (quantity, factor) in factors.items()
    }
    params = {"joints": "FL_hip_joint", "probability": 1.0, "onset_s": [0.02, 0.02], "mode": "scale", "severity": 0.5}
    events["fault"] = {"func": "change_joint_torque", "mode": "reset", "params": params}
    env, both = go2(2, events=events, joints=[".*_hip_joint"]), torch.arange(2)
    own = 0.4 * env.effort_limit.repeat(2, 1)
    for _ in range(2):
        torch.testing.assert_close(env.world.effort_limits(both), own)
        rollout(env, 2, size=0.1)
        expected = own.clone()
        expected[:, env.joints.index("FL_hip_joint")] *= 0.5
        torch.testing.assert_close(env.world.effort_limits(both), expected)
        env.reset()
    targets = env.default_joint_pos + 0.1 * torch.ones(2, 12)
    for position, velocity, torque in physics_steps(env.world, targets, 3):
        wanted = 0.8 * env.stiffness * (targets - position) - 0.5 * env.damping * velocity
        torch.testing.assert_close(torque, wanted, atol=1e-3, rtol=1e-3)


def test_torque_limits_and_strength_are_drawn_for_networks_too(tmp_path: Path) -> None:
    file = save(PdNetwork(25.0, 0.5, 1), tmp_path / "pd.pt")
    net = {"func": "actuator_net", "joints": [".*_calf_joint"], "params": {"network_file": str(file)}}

    def drawn(quantity: str, **params: Any) -> ManagerEnv:
        params = {"quantity": quantity, "between": [0.2, 0.2], **params}
        return go2(2, events={"drawn": {"func": "randomize", "mode": "startup", "params": params}}, **net)

    calf = torch.arange(12) % 3 == 2
    for quantity in ("torque_limit", "motor_strength"):
        readings = rollout(drawn(quantity), 10, size=3.0)
        torque = torch.stack([reading["joint_torque"] for reading in readings]).abs().amax((0, 1))
        assert torque.tolist() == pytest.approx([0.2 * 23.5] * 12, rel=1e-3)
    assert drawn("stiffness").events.terms["drawn"].values.shape == (2, int((~calf).sum()))
    with raises_naming(ConfigError, "stiffness", ".*_calf_joint"):
        drawn("stiffness", of=".*_calf_joint")


@pytest.mark.slow
@pytest.mark.parametrize("func", ["dc_motor", "actuator_net", "lstm"])
def test_a_restored_env_continues_bit_for_bit(tmp_path: Path, func: str) -> None:
    actuator: dict[str, Any] = {"func": func, "delay": [0, 3], "delay_drawn": "step"}
    if func == "actuator_net":
        file = save(PdNetwork(25.0, 0.5, 3), tmp_path / "pd.pt")
        actuator["params"] = {"network_file": str(file), "input_idx": [0, 2, 5]}
    elif func == "lstm":
        file = save(LstmNetwork(), tmp_path / "lstm.pt")
        actuator |= {"func": "actuator_net", "params": {"network_file": str(file), "torque_scale": 20.0}}
    drawn = {"func": "randomize", "mode": "reset", "params": {"quantity": "motor_strength", "between": [0.8, 1.2]}}

    def make(num_envs: int) -> ManagerEnv:
        events = {**STILL, "drawn": drawn}
        return make_env("go2_flat", num_envs, actuators={"legs": actuator}, events=events, episode_length_s=0.3)

    env, other = make(3), make(3)
    started(env)
    rollout(env, 10)
    state = env.state_dict()
    expected = rollout(env, 25, seed=2)
    for again in (env, other):
        again.load_state_dict(state)
        for one, reading in zip(expected, rollout(again, 25, seed=2), strict=True):
            assert all(torch.equal(one[name], reading[name]) for name in one)


TWO_MOTORS = {
    "shoulder": {"func": "ideal_pd", "joints": ["shoulder"], "delay": [0, 2]},
    "elbow": {"func": "dc_motor", "joints": ["elbow"]},
}
HIPS_AND_CALVES = {"legs": {"func": "dc_motor", "joints": [".*_hip_joint", ".*_calf_joint"], "delay": [2, 2]}}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "actuators"), [("reach", TWO_MOTORS), ("go2_flat", HIPS_AND_CALVES)])
def test_a_task_with_actuators_keeps_the_contract(task: str, actuators: dict[str, Any]) -> None:
    require_env(lambda n: make_env(task, n, actuators=actuators, episode_length_s=0.5), num_envs=4)


def test_the_rule_on_the_robot_finds_actuators_that_drive_nothing() -> None:
    def make(num_envs: int) -> ManagerEnv:
        env = arm(num_envs, func="ideal_pd")
        if num_envs > 1:
            env.world.sim.set_joint_torques = lambda torques: None
        return env

    with raises_naming(EnvContractError, "shoulder"):
        check_robot(Probe(make, 4, seed=0))


class LinearSpring:
    """A model of a user's own: torque = rate * (target - position)."""

    def __init__(self, group: Any, rate: float) -> None:
        self.rate, self.quantities = rate, {"torque_limit": group.rows("effort_limit", None)}
        self.calls = 0

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.rate * (target - position)

    def reset(self, env_ids: torch.Tensor) -> None:
        self.calls = 0


class SumOfJoints(LinearSpring):
    """A model that returns one torque for all joints."""

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        return super().torque(target, position, velocity).sum(1, keepdim=True)


def test_a_model_of_the_user() -> None:
    env = arm(1, func=f"{__name__}:LinearSpring", params={"rate": 3.0})
    targets = env.state.joint_pos + 0.5
    for position, _, torque in physics_steps(env.world, targets, 3):
        torch.testing.assert_close(torque, 3.0 * (targets - position), atol=1e-5, rtol=1e-5)
    with raises_naming(ConfigError, "motors", "ratte", "rate"):
        arm(1, func=f"{__name__}:LinearSpring", params={"ratte": 3.0})
    with raises_naming(ConfigError, "env.actuators.motors", "(1, 1)", "(1, 2)"):
        rollout(arm(1, func=f"{__name__}:SumOfJoints", params={"rate": 3.0}), 1)
