"""Gymnasium's tasks behind the VecEnv contract: the last observation of an episode, ranges, and states put back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

from helpers.messages import assert_names, missing_names, raises_naming
from regimen.config.compose import compose_config
from regimen.envs import gym_registry
from regimen.envs.conformance.check import require_env
from regimen.envs.gym import GymEnv, GymEnvCfg, state_of
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, ConfigError, PreflightError

CONF = Path(__file__).resolve().parents[2] / "conf"


class Ramp(gymnasium.Env):
    """Counts its steps, ends at the fifth, or is cut off at the third if told so."""

    observation_space = gymnasium.spaces.Box(-100, 100, (1,), np.float64)
    action_space = gymnasium.spaces.Box(np.array([-1.0, 0.0]), np.array([3.0, 10.0]), dtype=np.float64)
    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, cut: bool = False, render_mode: str | None = None) -> None:
        self.cut, self.t, self.given = cut, 0, None

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.array([0.0]), {}

    def step(self, action):
        self.t, self.given = self.t + 1, action
        return np.array([float(self.t)]), 1.0, self.t == 5, self.cut and self.t == 3, {}


class Parts(gymnasium.Wrapper):
    """`Ramp` whose observation has two parts; it succeeds where the last action was positive."""

    def __init__(self, deep: bool = False, silent: bool = False, every: bool = False) -> None:
        super().__init__(Ramp())
        box = gymnasium.spaces.Box(-100, 100, (2,), np.float64)
        both = {"time": self.env.observation_space, "double": box}
        self.observation_space = gymnasium.spaces.Dict({"parts": gymnasium.spaces.Dict(both)} if deep else both)
        self.silent, self.every = silent, every

    def reset(self, **given):
        obs, info = self.env.reset(**given)
        return {"time": obs, "double": np.array([2 * obs[0], -obs[0]])}, info

    def step(self, action):
        obs, reward, terminated, truncated, info = self.env.step(action)
        told = {} if self.silent or not (terminated or self.every) else {"is_success": bool(action[1] > 5), "tries": 1}
        return {"time": obs, "double": np.array([2 * obs[0], -obs[0]])}, reward, terminated, truncated, info | told


def car() -> gymnasium.Env:
    return gymnasium.make("MountainCarContinuous-v0", max_episode_steps=-1)


@pytest.fixture(autouse=True, scope="module")
def _registered():
    gymnasium.register("Ramp-v0", Ramp, max_episode_steps=5)
    gymnasium.register("Endless-v0", Ramp)
    gymnasium.register("Parts-v0", Parts, max_episode_steps=7)
    gymnasium.register("Flat-v0", lambda: FlattenObservation(car()), max_episode_steps=200)
    gymnasium.register("Stacked-v0", lambda: FlattenObservation(FrameStackObservation(car(), 3)), max_episode_steps=200)
    yield
    for name in ("Ramp-v0", "Endless-v0", "Parts-v0", "Flat-v0", "Stacked-v0"):
        gymnasium.registry.pop(name)


def ramp(num_envs: int = 2, **changes: object) -> GymEnv:
    return GymEnv(GymEnvCfg(**{"id": "Ramp-v0", "num_envs": num_envs, **changes}), seed=0)


def test_pendulum_keeps_every_rule_of_the_contract():
    require_env(lambda n: GymEnv(GymEnvCfg(num_envs=n), seed=0), num_envs=4)


def test_an_episode_ends_with_its_own_last_observation_and_no_step_is_lost():
    env = ramp()
    seen = [float(env.reset(seed=0)["policy"][0])]
    finals = []
    for _ in range(10):
        obs, _, terminated, truncated, info = env.step(torch.zeros(2, 2))
        seen.append(float(obs["policy"][0]))
        if terminated.any():
            finals.append(float(info["final_obs"]["policy"][0]))
        assert not truncated.any()  # where both come together, the end is the task's
    assert seen == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0]
    assert finals == [5.0, 5.0]


def test_a_time_out_is_no_termination():
    env = ramp(episode_length_s=3.0)
    for _ in range(3):
        obs, _, terminated, truncated, info = env.step(torch.zeros(2, 2))
    assert truncated.all() and not terminated.any()
    assert info["final_obs"]["policy"].tolist() == [[3.0], [3.0]] and obs["policy"].tolist() == [[0.0], [0.0]]
    own = ramp(kwargs={"cut": True})
    ends = [own.step(torch.zeros(2, 2))[3].all() for _ in range(3)]
    assert ends == [False, False, True]


def test_an_action_of_one_is_the_end_of_the_tasks_own_range():
    env = ramp(1)
    for action, given in (([1.0, 1.0], [3.0, 10.0]), ([-1.0, -7.0], [-1.0, 0.0]), ([0.0, 0.0], [1.0, 5.0])):
        env.step(torch.tensor([action]))
        assert env.vector.envs[0].unwrapped.given.tolist() == given
    assert (env.io.action.scale, env.io.action.offset, env.io.action.clip) == ([2.0, 5.0], [1.0, 5.0], 1.0)


def test_the_parts_of_an_observation_are_the_terms_of_one_group():
    env = GymEnv(GymEnvCfg(id="Parts-v0", num_envs=3), seed=0)
    sizes = env.io.observations["policy"]
    assert sizes == {"time": 1, "double": 2} and list(sizes) == list(env.vector.single_observation_space.spaces)
    obs, *_ = env.step(torch.zeros(3, 2))
    assert dict(zip(sizes, obs["policy"].split(list(sizes.values()), 1), strict=True))["time"].tolist() == [[1.0]] * 3


def test_success_is_what_the_task_reports_of_it():
    env = GymEnv(GymEnvCfg(id="Parts-v0", num_envs=2, success_key="is_success"), seed=0)
    seen = []
    for _ in range(5):
        *_, terminated, _, info = env.step(torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
        seen.append(info["labels"]["success"].tolist())
    assert terminated.all() and seen == [[False, False]] * 4 + [[True, False]]
    assert GymEnv(GymEnvCfg(id="Parts-v0"), seed=0).step(torch.zeros(8, 2))[-1]["labels"] == {}


def test_success_counts_only_at_the_end_of_the_episode():
    env = GymEnv(GymEnvCfg(id="Parts-v0", num_envs=2, kwargs={"every": True}, success_key="is_success"), seed=0)
    seen = []
    for step in range(5):
        good = 1.0 if step < 4 else -1.0
        *_, info = env.step(torch.tensor([[0.0, good], [0.0, -good]]))
        seen.append(info["labels"]["success"].tolist())
    assert seen == [[False, False]] * 4 + [[False, True]]


@pytest.mark.parametrize(
    ("kwargs", "key", "names"),
    [
        ({}, "success", ("env.success_key=success", "is_success")),
        ({"silent": True}, "is_success", ("success_key=null",)),
    ],
)
def test_an_info_without_the_success_that_is_wanted_is_refused(kwargs, key, names):
    env = GymEnv(GymEnvCfg(id="Parts-v0", num_envs=2, kwargs=kwargs, success_key=key), seed=0)
    for _ in range(4):
        env.step(torch.zeros(2, 2))
    with raises_naming(ConfigError, *names):
        env.step(torch.zeros(2, 2))


def test_a_dict_without_entries_is_no_observation():
    box = gymnasium.spaces.Box(-1, 1, (2,))
    (line,) = gym_registry.space_problems(gymnasium.spaces.Dict({}), box)
    assert "Dict" in line and "no entry" in line


def test_a_dict_within_a_dict_is_no_observation():
    with raises_naming(ConfigError, "parts", "Dict of flat Boxes"):
        GymEnv(GymEnvCfg(id="Parts-v0", kwargs={"deep": True}), seed=0)


def test_neighbouring_seeds_have_no_episode_in_common():
    env = GymEnv(GymEnvCfg(num_envs=64), seed=0)
    zero, one, two = ({tuple(row) for row in env.reset(seed)["policy"].tolist()} for seed in (0, 1, 2))
    assert len(zero | one | two) == 3 * 64
    assert {tuple(row) for row in env.reset(0)["policy"].tolist()} == zero
    state = env.state_dict()
    assert torch.equal(env.restart(state)["policy"], env.restart(state)["policy"])


def test_staggered_envs_are_cut_off_at_different_steps():
    env = GymEnv(GymEnvCfg(num_envs=8), seed=0)
    env.stagger()
    assert len(set(env.age.tolist())) > 4


@pytest.mark.parametrize("task", ["Pendulum-v1", "MountainCar-v0", "Flat-v0", "Hopper-v5", "Ant-v5"])
def test_a_state_goes_through_a_checkpoint_bit_for_bit(tmp_path, task):
    if task in ("Hopper-v5", "Ant-v5"):
        for needed in ("glfw", "imageio"):
            pytest.importorskip(needed, reason="Gymnasium's MuJoCo tasks need: pip install glfw imageio")
    env, other = (GymEnv(GymEnvCfg(id=task, num_envs=3), seed=seed) for seed in (0, 1))
    env.stagger()
    actions = torch.rand(40, 3, env.io.num_actions) * 2 - 1
    for action in actions[:10]:
        env.step(action)
    checkpoint.save(tmp_path / "x.pt", {"format": checkpoint.FORMAT, "env": env.state_dict()})
    other.load_state_dict(checkpoint.load(tmp_path / "x.pt")["env"])
    for either in (env, other):
        either.age += either.max_episode_length - 30  # some are reset on the way
    for action in actions[10:]:
        one, two = env.step(action), other.step(action)
        assert torch.equal(one[0]["policy"], two[0]["policy"]) and torch.equal(one[1], two[1])
        assert torch.equal(one[3], two[3])


def test_a_task_that_hides_its_state_says_so_only_when_it_should_be_put_back():
    env = ramp()
    assert state_of(env.vector.envs[0]) is None
    with raises_naming(CheckpointError, "Ramp-v0", "policy=<run reference>"):
        env.load_state_dict(env.state_dict())


def test_a_wrapper_with_state_is_not_restored_and_one_without_is():
    plain, stacked = (GymEnv(GymEnvCfg(id=id, num_envs=2), seed=0) for id in ("Flat-v0", "Stacked-v0"))
    assert plain.restores(plain.state_dict()) and not stacked.restores(stacked.state_dict())
    assert not stacked.restores(plain.state_dict()), "as an older version saved it"
    with raises_naming(CheckpointError, "Stacked-v0", "wrappers"):
        stacked.load_state_dict(plain.state_dict())


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"id": "Endless-v0"}, ("Endless-v0", "env.episode_length_s=<seconds>")),
        ({"kwargs": {"gravity": 3}}, ("env.kwargs={'gravity': 3}", "gravity")),
    ],
)
def test_a_task_that_does_not_fit_is_refused(changes, names):
    with raises_naming(ConfigError, *names):
        ramp(**changes)


def test_a_wrong_name_and_what_is_not_installed_are_told_before_the_start(monkeypatch):
    import importlib.util

    [line] = GymEnvCfg(id="Pendulm-v1").problems({})
    assert_names(line, "id=Pendulm-v1", "Pendulum-v1")
    assert GymEnvCfg(id="Pendulum-v1").problems({}) == []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "glfw" else True)
    [line] = GymEnvCfg(id="Hopper-v5").problems({})
    assert_names(line, "id=Hopper-v5", "pip install glfw")
    assert missing_names(line, "imageio"), "it is there"


def test_the_length_of_an_episode_is_written_where_stages_look_it_up():
    config = compose_config(["task=gym", "env.num_envs=1"])
    GymEnv.open(config)
    assert config.env.episode_length_s == pytest.approx(10.0)


def test_a_picture_that_cannot_be_drawn_names_what_to_install(monkeypatch):
    env = GymEnv(GymEnvCfg(num_envs=1), seed=0, render=True)

    def broken() -> None:
        raise gymnasium.error.DependencyNotInstalled("pygame is missing")

    monkeypatch.setattr(env.vector.envs[0].unwrapped, "render", broken)
    with raises_naming(PreflightError, "Pendulum-v1", "pygame", "video=true"):
        env.render()


OWN_TASKS = """
import gymnasium as gym
import numpy as np
from gymnasium import spaces

class Drift(gym.Env):
    metadata = {"render_modes": [], "render_fps": 10}

    def __init__(self, low=-2.0, high=2.0, action=None):
        self.observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float32)
        self.action_space = action or spaces.Box(np.float32(low), np.float32(high), (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        return np.array([self.x], np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, self.action_space.dtype)), action
        self.given = action
        return np.array([self.x], np.float32), 0.0, False, False, {}

gym.register("Drift-v0", entry_point=Drift, max_episode_steps=20)
gym.register("Unlimited-v0", entry_point=Drift)
gym.register("Choice-v0", entry_point=lambda: Drift(action=spaces.Discrete(3, start=1)), max_episode_steps=5)
gym.register("Choices-v0", entry_point=lambda: Drift(action=spaces.MultiDiscrete([3, 2])), max_episode_steps=5)
gym.register("Broken-v0", entry_point="gym_tasks_of_ones_own:Nothing", max_episode_steps=5)
"""
OWN = "gym_tasks_of_ones_own"


@pytest.fixture
def own_tasks(tmp_path, monkeypatch):
    """A module of the user that registers tasks, in the current folder."""
    before = dict(gymnasium.registry)
    (tmp_path / f"{OWN}.py").write_text(OWN_TASKS)
    (tmp_path / "needs_more.py").write_text("import a_library_that_is_not_there")
    (tmp_path / "no_python.py").write_text("def (:")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in (OWN, "needs_more", "no_python"):
        sys.modules.pop(name, None)
    for name in set(gymnasium.registry) - set(before):
        gymnasium.registry.pop(name)


@pytest.mark.usefixtures("own_tasks")
def test_the_limit_of_a_task_of_ones_own_is_the_registered_one():
    assert GymEnv(GymEnvCfg(id=f"{OWN}:Drift-v0", num_envs=1), seed=0).max_episode_length == 20
    assert GymEnv(GymEnvCfg(id=f"{OWN}:Drift-v0", num_envs=1, episode_length_s=3.0), seed=0).max_episode_length == 30
    env = GymEnv(GymEnvCfg(id=f"{OWN}:Unlimited-v0", num_envs=1, episode_length_s=1.0), seed=0)
    assert env.max_episode_length == 10


@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize(
    ("low", "high", "given"),  # for the actions -9, -1, 0, 1
    [
        (0.0, np.inf, [0.0, 0.0, 1.0, 2.0]),
        (5.0, np.inf, [5.0, 5.0, 6.0, 7.0]),
        (-np.inf, 3.0, [-7.0, 1.0, 2.0, 3.0]),
        (-np.inf, np.inf, [-9.0, -1.0, 0.0, 1.0]),
        (-3e38, 3e38, [-9.0, -1.0, 0.0, 1.0]),
        (0.1, 0.7, [0.1, 0.1, 0.4, 0.7]),
    ],
)
def test_an_action_of_one_is_the_bound_of_a_range_that_has_one(low, high, given):
    env = GymEnv(GymEnvCfg(id=f"{OWN}:Drift-v0", num_envs=1, kwargs={"low": low, "high": high}), seed=0)
    for action, expected in zip([-9.0, -1.0, 0.0, 1.0], given, strict=True):
        env.step(torch.full((1, 2), action))
        assert env.vector.envs[0].unwrapped.given.tolist() == pytest.approx([expected] * 2)


@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"id": f"{OWN}:Drft-v0"}, (OWN, "Drft-v0", "Drift-v0")),
        ({"id": "no_such_module:Drift-v0"}, ("no_such_module",)),
        ({"id": "needs_more:Drift-v0"}, ("needs_more", "a_library_that_is_not_there")),
        ({"id": "no_python:Drift-v0"}, ("no_python", "SyntaxError")),
        ({"id": f"{OWN}:Unlimited-v0"}, ("env.episode_length_s=<seconds>",)),
        ({"id": f"{OWN}:Broken-v0"}, ("Broken-v0", "Nothing")),
        ({"id": f"{OWN}:Drift-v0", "kwargs": {"hihg": 1}}, ("kwargs=", "hihg", "high")),
        ({"id": "Pendulum-v1", "kwargs": {"gravity": 3}}, ("kwargs=", "gravity")),
    ],
)
def test_what_is_wrong_with_a_task_is_told_before_the_start(changes, names):
    [line] = GymEnvCfg(**changes).problems({})
    assert_names(line, *names)


@pytest.mark.usefixtures("own_tasks")
def test_a_task_without_images_is_refused_where_a_video_is_wanted():
    cfg = GymEnvCfg(id=f"{OWN}:Drift-v0")
    assert cfg.problems({"video": False}) == []
    [line] = cfg.problems({"video": True})
    assert_names(line, "Drift-v0", "rgb_array", "video=true")
    [line] = cfg.problems({"choices": {"stage": "collect"}, "policy": "human"})
    assert_names(line, "rgb_array", "policy=human")
    human = {"interventions": {"enabled": True, "by": "human"}}
    [line] = cfg.problems({"choices": {"stage": "train"}, "agent": human})
    assert_names(line, "rgb_array", "agent.interventions.by=human")
    assert cfg.problems({"choices": {"stage": "evaluate"}, "agent": human}) == []


def test_the_task_of_a_human_is_drawn(compose_config):
    overrides = ["task=gym", "env.id=CartPole-v1", "env.num_envs=1", "stage=collect", "policy=human", "agent=bc"]
    env = GymEnv.open(compose_config(overrides))
    assert env.vector.envs[0].render_mode == "rgb_array"
    env.close()


@pytest.mark.slow
@pytest.mark.usefixtures("own_tasks")
@pytest.mark.parametrize(
    ("task", "what", "space"),
    [(f"{OWN}:Choices-v0", "action", "MultiDiscrete"), ("FrozenLake-v1", "observation", "Discrete(16)")],
)
def test_the_dry_run_refuses_other_spaces_and_loads_no_torch(task, what, space):
    code = (
        "import sys; from pathlib import Path; from regimen.cli.launch import launch; "
        f"code = launch(['task=gym', 'env.id={task}', 'dry_run=true'], Path({str(CONF)!r})); "
        "assert not {'torch', 'mujoco'} & set(sys.modules); sys.exit(code)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.returncode == 2
    assert_names(said.stderr, task, what, space, "Box")


@pytest.mark.usefixtures("own_tasks")
def test_of_discrete_actions_the_choice_with_the_largest_score_is_made():
    env = GymEnv(GymEnvCfg(id=f"{OWN}:Choice-v0", num_envs=3), seed=0)
    assert env.discrete_actions and env.io.action.discrete and env.io.num_actions == 3
    env.step(torch.tensor([[0.0, 5.0, 1.0], [2.0, 0.0, 0.0], [-3.0, -2.0, -1.0]]))
    assert [int(copy.unwrapped.given) for copy in env.vector.envs] == [2, 1, 3], "numbered from the space's start"
    env.close()


def test_new_episodes_begin_where_a_state_cannot_be_restored():
    env, other = ramp(8), ramp(8)
    for _ in range(2):
        env.step(torch.zeros(8, 2))
    state = env.state_dict()
    assert not env.restores(state)
    obs = other.restart(state)
    assert obs["policy"].tolist() == [[0.0]] * 8
    assert len(set(other.age.tolist())) > 1, "time-outs would come all at once"
    assert GymEnv(GymEnvCfg(num_envs=1), seed=0).restores(GymEnv(GymEnvCfg(num_envs=1), seed=0).state_dict())
