"""skrl's PPO behind the agent seam: complete resume, true successors, policies that load and fit by name."""

from __future__ import annotations

import math
import random
import signal

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from helpers.trainings import new_run, train, training_config
from regimen.agents.skrl_ppo import SkrlPpo, SkrlPpoCfg
from regimen.agents.skrl_ppo.ppo import build
from regimen.agents.training_session import TrainingSession
from regimen.config.compose import compose
from regimen.config.task_schema import ObservationGroupCfg, ObservationTermCfg
from regimen.envs.vec_env import IOSpec
from regimen.orchestration.preflight import preflight
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError, ConfigErrors, DivergedError, IOMismatchError, StopRequested
from regimen.system.seeding import seed_all

pytestmark = pytest.mark.usefixtures("blank_figures")


def flatten(value: object, path: str = "") -> dict[str, object]:
    """Leaves of nested dicts and lists by path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else None
    if items is None:
        return {path: value}
    return {k: v for key, item in items for k, v in flatten(item, f"{path}/{key}").items()}


def assert_equal(a: dict, b: dict) -> None:
    left, right = flatten(a), flatten(b)
    assert left.keys() == right.keys()
    for path, value in left.items():
        other = right[path]
        if isinstance(value, torch.Tensor):
            assert torch.equal(value.nan_to_num(), other.nan_to_num()), path
        elif not (isinstance(value, float) and math.isnan(value)):
            assert value == other, path


def with_critic(config):
    """The same training with a value network that reads a group of its own, `critic`, and normalises it."""
    term = {"lag": ObservationTermCfg(func="joint_vel_rel", history=3, scale=0.1)}
    config.env.observations["critic"] = ObservationGroupCfg(extends="policy", terms=term)
    config.agent.models["value"]["network"][0]["input"] = "STATES"
    config.agent.agent["state_preprocessor"] = "RunningStandardScaler"
    return config


@pytest.mark.parametrize(
    ("task", "num_envs"),
    [("reach", 16), ("critic", 16), ("go2_flat", 8)],
)
@pytest.mark.slow
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, task, num_envs):
    config = training_config("reach" if task == "critic" else task, timesteps=144, num_envs=num_envs)
    config = with_critic(config) if task == "critic" else config
    whole = new_run(tmp_path, config)
    train(whole, config)

    parts = new_run(tmp_path, config)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, config)  # stops after the first update
    parts.stop_signal = None
    train(parts, config)

    first, second = (checkpoint.load(r.checkpoints / "last.pt") for r in (whole, parts))
    assert first["step"] == second["step"] == 144
    assert_equal({**first, "run": ""}, {**second, "run": ""})
    same = [{k: v for k, v in row.items() if k not in ("time_s", "Perf/samples_per_s")} for row in whole.metrics()]
    for row, other in zip(same, parts.metrics(), strict=True):
        assert {k: v for k, v in other.items() if k in row and "time (ms)" not in k} == {
            k: v for k, v in row.items() if "time (ms)" not in k
        }


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_figures")
def test_reach_is_learned(tmp_path):
    config = training_config("reach", timesteps=960, num_envs=64, interval=480)
    run = new_run(tmp_path, config)
    train(run, config)
    rows = run.metrics()
    assert rows[-1]["Metrics/distance"] < 0.75 * rows[0]["Metrics/distance"]
    assert imread(run.dir / "figures" / "learning_curve.png").std() > 0, "something is drawn"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a short training of `reach`."""
    config = training_config("reach", timesteps=48, num_envs=4)
    run = new_run(tmp_path_factory.mktemp("outputs"), config)
    train(run, config)
    return run.checkpoints / "last.pt"


def test_policy_loads_and_acts_as_the_trained_mean(trained):
    bundle = checkpoint.load(trained)
    io = IOSpec.from_dict(bundle["io"])
    policy = SkrlPpo.load_policy(bundle, io, torch.device("cpu"))
    obs = {"policy": torch.randn(5, io.size())}
    first, _ = policy.act(obs, None)
    second, _ = policy.act(obs, None)
    assert torch.equal(first, second)
    assert first.shape == (5, 2)


def test_loading_a_policy_leaves_the_global_generators_as_they_are(trained):
    bundle = checkpoint.load(trained)
    drawn = []
    for loads in (False, True):
        seed_all(5)
        if loads:
            SkrlPpo.load_policy(bundle, IOSpec.from_dict(bundle["io"]), torch.device("cpu"))
        drawn.append((torch.rand(3).tolist(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]


def test_a_value_network_reads_the_group_of_the_critic_and_the_policy_its_own(tmp_path):
    config = with_critic(training_config("reach", timesteps=48, num_envs=4))
    run = new_run(tmp_path, config)
    train(run, config)
    bundle = checkpoint.load(run.checkpoints / "last.pt")
    io = IOSpec.from_dict(bundle["io"])
    assert io.size("critic") == io.size() + 6
    agent = SkrlPpo(config.agent, io, 4, torch.device("cpu"), seed=0)
    for name, tensors in bundle["training"]["agent"]["modules"].items():
        agent.ppo.checkpoint_modules[name].load_state_dict(tensors)
    states = torch.randn(2, 4, io.size("critic"))
    first, second = (agent.ppo.value.act({"observations": None, "states": s}, role="value")[0] for s in states)
    assert not torch.equal(first, second)
    assert agent.ppo._state_preprocessor.running_mean.abs().sum() > 0, "it has seen states"
    policy = SkrlPpo.load_policy(bundle, io, torch.device("cpu"))
    assert policy.act({"policy": states[0, :, : io.size()]}, None)[0].shape == (4, 2)


def test_states_without_a_group_for_them_are_refused_by_name(tmp_path):
    states = "agent.models.value.network=[{name: net, input: STATES, layers: [8], activations: elu}]"
    with raises_naming(ConfigErrors, "STATES", "critic", "env.observations.critic"):
        preflight(compose(["task=reach", "agent=skrl_ppo", states], [CONF]), tmp_path)
    config = training_config("reach", timesteps=24, num_envs=4)
    config.agent.models["value"]["network"][0]["input"] = "STATES"
    with raises_naming(ConfigError, "STATES", "critic"):
        SkrlPpo(config.agent, make_env("reach", 4).io, 4, torch.device("cpu"), seed=0)


def test_policy_of_another_robot_is_refused_by_name(tmp_path, trained):
    other = training_config("go2_flat", timesteps=24, num_envs=4)
    other.policy = str(trained)
    with raises_naming(IOMismatchError, "FL_hip_joint", "shoulder"):
        train(new_run(tmp_path, other), other)


def test_training_can_start_from_another_policy(trained):
    config = training_config("reach", timesteps=48, num_envs=4)
    env = make_env("reach", 4)
    agent = SkrlPpo(config.agent, env.io, 4, torch.device("cpu"), seed=99)
    agent.load_policy_state(checkpoint.load(trained)["policy"])
    saved = checkpoint.load(trained)["policy"]["policy"]
    assert all(torch.equal(saved[k], v) for k, v in agent.ppo.policy.state_dict().items())


def test_nan_in_the_policy_is_named(tmp_path):
    wild = {"learning_rate": 1e30, "grad_norm_clip": 0.0, "learning_rate_scheduler": None}
    config = training_config("reach", timesteps=48, num_envs=4, **wild)
    with pytest.raises(DivergedError, match=r"(policy|value network)\W.*`\w+(\.\w+)*`|`Loss\b[^`]*`"):
        train(new_run(tmp_path, config), config)


def test_successor_of_a_truncated_episode_is_the_observation_before_the_reset(tmp_path):
    config = training_config("reach", timesteps=240, num_envs=4)
    env = make_env("reach", 4, episode_length_s=0.1)
    agent = SkrlPpo(config.agent, env.io, 4, torch.device("cpu"), seed=0)
    agent.ppo.enable_training_mode(True)
    seen: list[torch.Tensor] = []
    record = agent.ppo.record_transition
    agent.ppo.record_transition = lambda **kw: (seen.append(kw["next_observations"]), record(**kw))
    obs = env.reset(seed=0)
    for step in range(5):
        with torch.no_grad():
            action, _ = agent.ppo.act(obs["policy"], None, timestep=step, timesteps=10)
            before = obs
            obs, reward, terminated, truncated, info = env.step(action)
            agent._record(before, action, reward, obs, terminated, truncated, info, step)
    assert truncated.all()
    assert torch.equal(seen[-1], info["final_obs"]["policy"])
    assert not torch.equal(seen[-1], obs["policy"])


def test_settings_of_a_task_for_skrl_1_are_those_of_skrl_2():
    given = {
        "models": {"separate": False},
        "agent": {"lambda": 0.9, "state_preprocessor": None, "learning_starts": 0, "experiment": {}, "rollouts": 8},
        "trainer": {"timesteps": 16},
    }
    agent = {"gae_lambda": 0.9, "observation_preprocessor": None, "rollouts": 8}
    assert SkrlPpoCfg.of_task(given) == {**given, "agent": agent}
    unclipped = {"agent": {"value_clip": 0.2, "clip_predicted_values": False}}
    assert SkrlPpoCfg.of_task(unclipped) == {"agent": {"value_clip": 0.0}}


def test_same_seed_gives_the_same_initial_weights():
    env, cfg = make_env("reach", 2), training_config("reach", 24, 2).agent
    one, two, three = (build(cfg, env.io, 2, torch.device("cpu"), seed) for seed in (1, 1, 2))
    weights = [torch.cat([p.flatten() for p in a.policy.parameters()]) for a in (one, two, three)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_session_averages_the_last_episodes():
    class Silent:
        stop_signal = None

    session = TrainingSession(Silent(), Silent(), num_envs=2, total_steps=10)
    done, not_done = torch.tensor([True, False]), torch.zeros(2, dtype=torch.bool)
    for ended in (not_done, done):
        session.step(torch.tensor([1.0, 5.0]), ended, not_done, {"log": {}, "metrics": {}})
    assert session.mean_return() == 2.0
    assert session.mean_length() == 2.0
