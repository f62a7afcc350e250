"""Joint failures: drawn for each env alone, applied at their onset, labelled exactly, gone at the reset."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import make_env, open_config, task_config
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.sims.mujoco_model import MujocoModelWorld
from regimen.system.errors import ConfigError

ZERO = 19
LEGS = 8


def open_failure(n: int, **params: Any) -> ManagerEnv:
    cfg = task_config("h1_failure", num_envs=n, events={"add_base_mass": None})
    cfg.events["change_joint_torque"].params.update(params)
    env = open_config(cfg)
    env.reset(seed=0)
    return env


def step(env: ManagerEnv) -> dict[str, torch.Tensor]:
    return env.step(torch.zeros(env.num_envs, ZERO))[-1]["labels"]


def limits(env: ManagerEnv) -> torch.Tensor:
    return torch.from_numpy(env.world.batch.expanded("actuator_forcerange")[:, :, 1].copy()).float()


def test_joints_are_drawn_uniformly_and_independently():
    fault = open_failure(4096, probability=1.0).events.terms["change_joint_torque"]
    counts = torch.bincount(fault.joint.long(), minlength=ZERO)[fault.candidates].double()
    expected = 4096 / LEGS
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 18.48  # 7 degrees of freedom, p = 0.01
    assert counts.sum() == 4096
    # Neighbouring envs share neither joint nor onset more often than chance allows.
    assert (fault.joint[1:] == fault.joint[:-1]).float().mean() < 0.16
    assert fault.onset.unique().numel() > 300


def test_share_of_faulty_episodes_follows_the_probability():
    fault = open_failure(4096, probability=0.3).events.terms["change_joint_torque"]
    assert (fault.joint >= 0).float().mean() == pytest.approx(0.3, abs=0.03)
    assert ((fault.joint < 0) == (fault.onset < 0)).all()


def test_onset_applies_before_the_physics_of_its_step_and_labels_that_step():
    env = open_failure(6, probability=1.0, onset_s=[0.06, 0.06])  # step 3
    drawn = env.events.terms["change_joint_torque"].joint.clone()
    for _ in range(3):
        assert (step(env)["fault_joint"] == -1).all()
        assert env.world.batch.expanded("actuator_forcerange") is None
    labels = step(env)
    assert torch.equal(labels["fault_joint"], drawn)
    assert (labels["fault_onset_step"] == 3).all()
    chosen = limits(env)[torch.arange(6), drawn.long()]
    assert torch.allclose(chosen, labels["fault_limit"])


def test_absolute_severity_depends_on_the_joint():
    ranges = {"hip_yaw": [2.0, 2.0], "hip_roll": [10.0, 11.0], "hip_pitch": [20.0, 25.0], "knee": [50.0, 90.0]}
    severity = {f".*_{kind}": limits for kind, limits in ranges.items()}
    env = open_failure(64, probability=1.0, onset_s=[0.0, 0.0], severity=severity)
    labels = step(env)
    for joint, limit in zip(labels["fault_joint"].tolist(), labels["fault_limit"].tolist(), strict=True):
        low, high = ranges[env.joints[joint].split("_", 1)[1]]
        assert low <= limit <= high
    assert len(labels["fault_limit"].unique()) > 20


def test_only_one_joint_of_an_env_differs_from_nominal():
    env = open_failure(64, probability=1.0, onset_s=[0.0, 0.0])
    step(env)
    assert ((limits(env) != env.effort_limit).sum(1) == 1).all()


def test_scale_mode_multiplies_the_nominal_limit():
    env = open_failure(8, probability=1.0, onset_s=[0.0, 0.0], mode="scale", severity=[0.1, 0.2])
    limit = step(env)["fault_limit"]
    assert (limit >= 30.0).all()
    assert (limit <= 60.0).all()


def drawn(quantity: str, mode: str, between: list[float], **params: Any) -> dict[str, Any]:
    return {"func": "randomize", "mode": mode, "params": {"quantity": quantity, "between": between, **params}}


def go2_with_fault(events: dict[str, Any], mode: str, **params: Any) -> ManagerEnv:
    fault = {"joints": "FL_calf_joint", "probability": 1.0, "onset_s": [0.04, 0.04], "mode": mode, **params}
    fault = {"func": "change_joint_torque", "mode": "reset", "params": fault}
    return make_env("go2_flat", 2, events={"add_base_mass": None, **events, "fault": fault})


def test_a_fault_leaves_what_was_drawn_of_all_joints_and_a_seeded_reset_repeats():
    motors = {
        "weak": drawn("motor_strength", "reset", [0.5, 0.9]),
        "limits": drawn("torque_limit", "startup", [0.6, 0.9]),
    }
    env = go2_with_fault(motors, "scale", severity=0.5)
    calf = env.joints.index("FL_calf_joint")

    def episodes() -> torch.Tensor:
        env.reset(seed=3)
        observed = []
        for episode in range(2):
            own = (env.events.terms["weak"].values * env.events.terms["limits"].values).float()
            expected = own.clone()
            expected[:, calf] *= 0.5
            for moment in range(4):
                obs, *_, info = env.step(torch.zeros(2, 12))
                observed.append(obs["policy"])
                faulty = moment >= 2
                torch.testing.assert_close(limits(env), expected if faulty else own)
                if faulty:
                    torch.testing.assert_close(info["labels"]["fault_limit"], expected[:, calf])
            if episode == 0:
                env.reset()
        return torch.stack(observed)

    assert torch.equal(episodes(), episodes()), "the second one began with a fault in place"


def test_a_lock_leaves_the_drawn_ranges_of_all_joints():
    env = go2_with_fault({"ends": drawn("joint_high", "reset", [0.9, 1.1])}, "lock")
    env.reset(seed=0)
    calf = env.joints.index("FL_calf_joint")
    for _ in range(2):
        for _ in range(3):
            env.step(torch.zeros(2, 12))
        ranges = torch.from_numpy(env.world.batch.expanded("jnt_range")[:, 1:].copy())
        healthy = torch.arange(12) != calf
        assert torch.equal(ranges[:, healthy, 1], env.events.terms["ends"].values[:, healthy])
        assert (ranges[:, calf].diff() < 0.02).all()
        env.reset()
        high = torch.from_numpy(env.world.batch.expanded("jnt_range")[:, 1:, 1].copy())
        assert torch.equal(high, env.events.terms["ends"].values)


def test_free_mode_leaves_no_torque():
    env = open_failure(8, probability=1.0, onset_s=[0.0, 0.0], mode="free", severity=None)
    for _ in range(3):
        labels = step(env)
    joint = labels["fault_joint"].long()
    assert (env.state.joint_torque[torch.arange(8), joint] == 0.0).all()


def test_a_draw_in_the_middle_of_a_fault_changes_the_healthy_joints_alone():
    weak = drawn("motor_strength", "interval", [0.5, 0.9]) | {"interval_range_s": [0.08, 0.08]}
    env = go2_with_fault({"weak": weak}, "absolute", severity=5.0)
    env.reset(seed=0)
    calf = env.joints.index("FL_calf_joint")
    for _ in range(6):
        labels = env.step(torch.zeros(2, 12))[-1]["labels"]
    expected = (env.effort_limit * env.events.terms["weak"].values).float()
    assert (env.events.terms["weak"].values < 0.95).all()
    expected[:, calf] = 5.0
    torch.testing.assert_close(limits(env), expected)
    assert (labels["fault_limit"] == 5.0).all()
    env.reset()
    torch.testing.assert_close(limits(env), (env.effort_limit * env.events.terms["weak"].values).float())


def test_lock_mode_holds_the_joint_against_its_target():
    env = open_failure(8, probability=1.0, onset_s=[0.1, 0.1], mode="lock", severity=None)
    for _ in range(6):
        labels = step(env)
    joint, rows = labels["fault_joint"].long(), torch.arange(8)
    held = env.state.joint_pos[rows, joint].clone()
    for _ in range(15):
        env.step(torch.full((8, ZERO), 0.5))
    moved = (env.state.joint_pos[rows, joint] - held).abs()
    alive = env.episode_length > 15
    assert alive.any()
    assert (moved[alive] < 0.03).all()


def test_reset_clears_exactly_the_reset_envs():
    env = open_failure(6, probability=1.0, onset_s=[0.0, 0.0])
    step(env)
    before = limits(env)
    env.episode_length[[1, 4]] = env.max_episode_length - 1
    assert env.step(torch.zeros(6, ZERO))[3].tolist() == [False, True, False, False, True, False]
    after = limits(env)
    assert torch.equal(after[[1, 4]], env.effort_limit.repeat(2, 1))
    assert torch.equal(after[[0, 2, 3, 5]], before[[0, 2, 3, 5]])


def test_truncation_clears_the_label():
    env = open_failure(4, probability=1.0, onset_s=[0.0, 0.0])
    step(env)
    env.events.terms["change_joint_torque"].onset_steps = [5000, 5000]
    env.episode_length[:] = env.max_episode_length - 1
    assert (step(env)["fault_joint"] >= 0).all()  # the last step of the faulty episode is still faulty
    assert (step(env)["fault_joint"] == -1).all()


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"mode": "scael"}, ("scael", "scale")),
        ({"severity": None}, ("mode=absolute", "severity")),
        ({"severity": {".*_knee": 50.0}}, ("severity", "left_hip_yaw", ".*_knee")),
    ],
)
def test_wrong_parameters_are_refused(params, names):
    from regimen.envs.terms.events import change_joint_torque

    env = make_env("h1_flat", 2)
    arguments = {"probability": 1.0, "onset_s": [0.0, 1.0], "mode": "absolute", "severity": 5.0, **params}
    with raises_naming(ConfigError, "change_joint_torque", *names):
        change_joint_torque(env, torch.tensor([0, 1]), **arguments)


def test_a_simulator_of_an_earlier_version_is_refused_when_it_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MujocoModelWorld, "effort_limits")
    with raises_naming(ConfigError, "change_joint_torque", "effort_limits"):
        make_env("h1_failure", num_envs=1)


def test_healthy_task_is_the_failure_task_without_the_event():
    env = make_env("h1_failure", 2, events={"change_joint_torque": None})
    flat = make_env("h1_flat", 2).io
    assert env.io.differences(flat) == [] and env.io.observations["policy"] == flat.observations["policy"]
    env.reset(seed=0)
    assert env.step(torch.zeros(2, ZERO))[-1]["labels"] == {}


def test_a_fixed_fault_is_each_envs_own_and_comes_back_in_every_episode():
    env = open_failure(3, probability=1.0)
    knee, roll = env.joints.index("left_knee"), env.joints.index("right_hip_roll")
    given = torch.tensor([knee, -1, roll])
    env.fix_event("change_joint_torque", joint=given, onset_s=torch.full((3,), 0.04), severity=torch.arange(3.0))
    for _ in range(2):
        env.reset()
        seen = [step(env) for _ in range(4)]
        assert [labels["fault_joint"].tolist() for labels in seen[1:3]] == [[-1] * 3, given.tolist()]
        assert seen[3]["fault_onset_step"].tolist() == [2, -1, 2]
        assert seen[3]["fault_limit"].nan_to_num(nan=-1.0).tolist() == [0.0, -1.0, 2.0]


def test_fixed_faults_outlive_a_restored_state_and_must_fit():
    env = open_failure(2, probability=1.0)
    other = open_failure(2, probability=1.0)
    env.fix_event("change_joint_torque", joint=torch.tensor([3, -1]), onset_s=torch.zeros(2), severity=torch.ones(2))
    other.load_state_dict(env.state_dict())
    other.reset()
    assert step(other)["fault_joint"].tolist() == [3, -1]
    with raises_naming(ConfigError, "change_joint_torque", "joint", 3, 2):
        env.fix_event("change_joint_torque", joint=torch.zeros(3), onset_s=torch.zeros(2), severity=torch.zeros(2))
    with raises_naming(ConfigError, "change_joint_torque", 0, 18):
        env.fix_event(
            "change_joint_torque", joint=torch.tensor([19, 0]), onset_s=torch.zeros(2), severity=torch.ones(2)
        )
    with raises_naming(ConfigError, "reset_base", "change_joint_torque"):
        env.fix_event("reset_base", joint=torch.zeros(2))


def test_a_fault_begun_by_hand_holds_at_once_and_in_later_episodes_until_it_is_ended():
    env = open_failure(4, probability=1.0, onset_s=[0.0, 0.0])
    step(env)
    fault = env.events.terms["change_joint_torque"]
    knee, nominal = env.joints.index("right_knee"), env.effort_limit.clone()
    fault.start_now(knee, 60.0)
    for _ in range(2):
        labels = step(env)
        assert labels["fault_joint"].tolist() == [knee] * 4
        expected = nominal.repeat(4, 1)
        expected[:, knee] = 60.0
        assert torch.equal(limits(env), expected), "no other joint is broken any more"
    env.reset()
    assert step(env)["fault_joint"].tolist() == [knee] * 4
    fault.start_now(-1, 0.0)
    assert step(env)["fault_joint"].tolist() == [-1] * 4 and torch.equal(limits(env), nominal.repeat(4, 1))
    env.reset()
    assert step(env)["fault_joint"].tolist() == [-1] * 4
    with raises_naming(ConfigError, "0 to 18"):
        fault.start_now(19, 60.0)
