"""A value that is not finite ends the run, and the message names where it came from: simulator, term, or policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from helpers.messages import assert_names, raises_naming
from helpers.point_env import PointEnv
from helpers.tasks import make_env
from regimen.envs.gym import GymEnv, GymEnvCfg
from regimen.envs.hidden_goal import PointGoal, PointGoalCfg
from regimen.envs.manager_env import ManagerEnv
from regimen.envs.nan_dump import NanDump
from regimen.envs.watched_env import WatchedEnv
from regimen.system.errors import ConfigError, DivergedError, IOMismatchError, RunReferenceError

NAN, INF = float("nan"), float("inf")
AT = 6
"""Step at which the terms of these tests go wrong, in env 2."""


def observed(env: Any, value: float = NAN) -> torch.Tensor:
    return _column(env, value)[:, None]


def rewarded(env: Any, value: float = NAN) -> torch.Tensor:
    return _column(env, value)


def _column(env: Any, value: float) -> torch.Tensor:
    values = torch.zeros(env.num_envs)
    values[2] = value if env.common_step_counter == AT else 0.0
    return values


def acceleration(env: Any) -> torch.Tensor:
    return env.state.joint_acc


class Target:
    """A command whose value goes wrong in a step."""

    def __init__(self, env: Any) -> None:
        self.env, self.value = env, torch.zeros(env.num_envs, 2)

    def reset(self, env_ids: torch.Tensor) -> None:
        self.value[env_ids] = 0.5

    def step(self) -> None:
        self.value[2, 1] = _column(self.env, NAN)[2]

    def metrics(self) -> dict[str, torch.Tensor]:
        return {}


def starts(env: Any, env_ids: torch.Tensor) -> None:
    env.reset_joint_vel[env_ids[:1]] = NAN if env.common_step_counter == AT else 0.0


def pushes(env: Any, env_ids: torch.Tensor) -> None:
    env.world._qvel[env_ids.numpy(), 0] = INF


def level(env: Any, env_ids: torch.Tensor) -> float:
    return NAN if env.common_step_counter == AT else 1.0


def one_column(env: Any) -> torch.Tensor:
    return torch.zeros(env.num_envs, 1)


def row(env: Any) -> torch.Tensor:
    return torch.zeros(env.num_envs)


def double(env: Any) -> torch.Tensor:
    return torch.ones(env.num_envs, 1, dtype=torch.float64)


def boolean(env: Any) -> torch.Tensor:
    return torch.ones(env.num_envs, dtype=torch.bool)


def imaginary(env: Any) -> torch.Tensor:
    return torch.zeros(env.num_envs, 1, dtype=torch.complex64)


def text(env: Any, env_ids: torch.Tensor) -> str:
    return "level"


def term(function: Any, **more: Any) -> dict[str, Any]:
    return {"bad": {"func": f"{__name__}:{function.__name__}", **more}}


def reach(kept: int = 4, **changes: Any) -> WatchedEnv:
    return WatchedEnv(make_env("reach", 4, **changes), kept, {"task": "reach"})


class Pictured:
    """An env that gives an image beside its observations, and a reward that is NaN in env 2 at step `AT`."""

    def __init__(self, env: Any) -> None:
        self.inner = env
        env.io.images = {"wrist": [4, 6, 3]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def pictured(self, obs: Any) -> Any:
        picture = torch.full((self.num_envs, 4, 6, 3), 255, dtype=torch.uint8)
        return obs | {"wrist": picture}

    def reset(self, seed: int | None = None) -> Any:
        return self.pictured(self.inner.reset(seed))

    def step(self, action: torch.Tensor) -> Any:
        obs, reward, *ends, info = self.inner.step(action)
        if self.common_step_counter == AT:
            reward = reward.index_fill(0, torch.tensor([2]), NAN)
        return self.pictured(obs), reward, *ends, info | {"final_obs": self.pictured(info["final_obs"])}


def test_the_dump_keeps_the_image_of_the_failing_step(tmp_path):
    error = run_to_failure(WatchedEnv(Pictured(make_env("reach", 4)), 4, {"task": "reach"}))
    error.dump.write(tmp_path / "dump.npz", "run")
    dump = NanDump.read(tmp_path / "dump.npz")
    assert (dump.arrays["after/observation/wrist"] == np.full((1, 4, 6, 3), 255, np.uint8)).all()
    assert dump.head["images"] == {"wrist": [4, 6, 3]}


def run_to_failure(env: WatchedEnv, steps: int = 40) -> DivergedError:
    env.reset(seed=0)
    with pytest.raises(DivergedError) as caught:
        for _ in range(steps):
            env.step(torch.zeros(env.num_envs, env.io.num_actions))
    return caught.value


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"observations": {"policy": {"terms": term(observed)}}}, ("observation", "bad", "policy", "env 2", AT)),
        ({"observations": {"policy": {"terms": term(observed, params={"value": INF})}}}, ("bad", "env 2", AT)),
        ({"observations": {"critic": {"terms": term(observed)}}}, ("observation", "bad", "critic", "env 2", AT)),
        ({"rewards": term(rewarded, weight=1.0)}, ("reward", "bad", "env 2", AT)),
        ({"rewards": term(rewarded, weight=-1.0, params={"value": INF})}, ("reward", "bad", "env 2", AT)),
        ({"commands": term(Target)}, ("command", "bad", "env 2", AT)),
        ({"events": term(starts, mode="reset"), "episode_length_s": 0.12}, ("reset_joint_vel", "event", "bad", AT)),
        (
            {"events": term(pushes, mode="interval", interval_range_s=[0.12, 0.12])},
            ("simulator", "joint_vel", "shoulder", "bad", "envs 0, 1, 2, 3"),
        ),
        ({"curriculum": term(level), "episode_length_s": 0.12}, ("curriculum", "bad", AT)),
    ],
)
def test_the_source_of_a_value_that_is_not_finite_is_named(changes: dict[str, Any], names: tuple[object, ...]) -> None:
    error = run_to_failure(reach(**changes))
    assert_names(str(error), *names)
    assert "policy's" not in str(error)


def test_a_state_that_is_not_finite_is_blamed_before_the_terms_that_read_it() -> None:
    env = reach(observations={"policy": {"terms": term(acceleration)}})
    env.reset(seed=0)
    read = env.env.world.read

    def with_nan(env_ids: torch.Tensor | None = None) -> Any:
        state = read(env_ids)
        state.joint_acc[1, 1] = NAN
        return state

    env.env.world.read = with_nan
    with raises_naming(DivergedError, "simulator", "joint_acc", "elbow", "env 1"):
        env.step(torch.zeros(4, 2))


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"observations": {"policy": {"terms": term(row)}}}, ("env.observations.policy.terms.bad", "(4,)", "(4, d)")),
        ({"observations": {"policy": {"terms": term(imaginary)}}}, ("bad", "torch.complex64", "torch.float32")),
        ({"rewards": term(one_column, weight=1.0)}, ("env.rewards.bad", "(4, 1)", "(4,)")),
        ({"terminations": term(row)}, ("env.terminations.bad", "torch.float32", "torch.bool")),
        ({"commands": term(one_column)}, ("env.commands.bad", "value", "step")),
        ({"curriculum": term(text), "episode_length_s": 0.1}, ("env.curriculum.bad", "str")),
    ],
)
def test_an_output_of_another_shape_or_type_is_named(changes: dict[str, Any], names: tuple[object, ...]) -> None:
    with raises_naming(ConfigError, *names):
        env = reach(**changes)
        env.reset(seed=0)
        for _ in range(AT):
            env.step(torch.zeros(4, 2))


def test_other_real_numbers_are_converted() -> None:
    env = reach(observations={"policy": {"terms": term(double)}}, rewards=term(boolean, weight=3.0))
    obs = env.reset(seed=0)
    assert obs["policy"].dtype == torch.float32 and (obs["policy"][:, -1] == 1).all()
    _, reward, *_ = env.step(torch.zeros(4, 2))
    assert reward.dtype == torch.float32 and (reward > 0).all()


def test_the_policy_is_blamed_where_its_action_is_not_finite() -> None:
    env = reach()
    env.reset(seed=0)
    action = torch.zeros(4, 2)
    action[3, 1] = NAN
    with raises_naming(DivergedError, "policy's", "elbow", "env 3", "step 0"):
        env.step(action)
    with raises_naming(IOMismatchError, "(4, 1)", "(4, 2)"):
        env.step(torch.zeros(4, 1))


def test_the_dump_holds_the_last_steps_of_the_envs_concerned(tmp_path: Path) -> None:
    env = reach(observations={"policy": {"terms": term(observed)}})
    error = run_to_failure(env)
    assert error.dump is not None
    error.dump.write(tmp_path / "dump.npz", "my-run")
    dump = NanDump.read(tmp_path / "dump.npz")
    assert dump.head["env_ids"] == [2] and dump.head["step"] == AT and dump.head["run"] == "my-run"
    assert dump.arrays["step"].tolist() == [2, 3, 4, 5]
    assert dump.arrays["state/joint_pos"].shape == (4, 1, 2)
    assert np.isfinite(dump.arrays["observation"]).all()
    assert np.isnan(dump.arrays["after/observation/policy"][0, -1])
    again = make_env("reach", 4)
    again.reset(seed=0)
    for step in range(AT):
        if step >= 2:
            assert np.array_equal(dump.arrays["state/joint_pos"][step - 2, 0], again.state.joint_pos[2].numpy())
        _, reward, *_ = again.step(torch.zeros(4, 2))
        if step >= 2:
            assert dump.arrays["reward"][step - 2, 0] == reward[2]


def test_a_damaged_dump_and_a_switched_off_one(tmp_path: Path) -> None:
    (tmp_path / "dump.npz").write_bytes(b"PK damaged")
    with raises_naming(RunReferenceError, tmp_path / "dump.npz"):
        NanDump.read(tmp_path / "dump.npz")
    assert run_to_failure(reach(kept=0, rewards=term(rewarded, weight=1.0))).dump is None


def test_an_env_that_is_watched_is_otherwise_the_same() -> None:
    plain, watched = make_env("reach", 4), reach()
    a, b = plain.reset(seed=1), watched.reset(seed=1)
    for _ in range(12):
        action = torch.rand(4, 2)
        assert torch.equal(a["policy"], b["policy"])
        (a, *rest), (b, *others) = plain.step(action), watched.step(action)
        assert all(torch.equal(x, y) for x, y in zip(rest[:3], others[:3], strict=True))
    assert isinstance(watched.env, ManagerEnv) and watched.max_episode_length == plain.max_episode_length


class NanPendulum(gymnasium.Env):
    """A task of Gymnasium whose observation or reward goes wrong."""

    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, reward: float = 0.0, observation: float = 0.0, render_mode: str | None = None) -> None:
        self.at, self.bad = 0, (reward, observation)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.at = 0
        return np.zeros(3, np.float32), {}

    def step(self, action: Any) -> Any:
        self.at += 1
        reward, observation = self.bad if self.at == 3 else (0.0, 0.0)
        return np.full(3, observation, np.float32), reward, False, False, {}


gymnasium.register("NanPendulum-v0", NanPendulum, max_episode_steps=20)


@pytest.mark.parametrize(("wrong", "names"), [("observation", ("observation", "policy")), ("reward", ("reward",))])
def test_tasks_of_gymnasium(wrong: str, names: tuple[str, ...]) -> None:
    cfg = GymEnvCfg(id="NanPendulum-v0", kwargs={wrong: NAN}, num_envs=2)
    error = run_to_failure(WatchedEnv(GymEnv(cfg, 0), 8, {}))
    assert_names(str(error), *names, "envs 0, 1", "step 3")
    assert error.dump is not None


def test_tasks_with_a_hidden_goal_and_of_ones_own() -> None:
    env = WatchedEnv(PointGoal(PointGoalCfg(num_envs=3), 0), 8, {})
    env.reset(seed=0)
    with raises_naming(DivergedError, "policy's", "y", "env 1"):
        env.step(torch.tensor([[0.0, 0.0], [0.0, NAN], [0.0, 0.0]]))

    class Lost(PointEnv):
        def observe(self) -> Any:
            obs = super().observe()
            obs["policy"][0, 3] = NAN if int(self.age[0]) == AT else 0.0
            return obs

    error = run_to_failure(WatchedEnv(Lost(), 8, {}))
    assert_names(str(error), "observation", "goal", "env 0", AT)
