"""The conformance checker passes what is right and names every way of being wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from helpers.messages import assert_names, missing_names, raises_naming
from helpers.point_env import PointEnv
from regimen.cli.check_env import check_env_verb
from regimen.config.determinism import CLASSES
from regimen.envs.conformance.check import check_env, require_env
from regimen.envs.conformance.rollouts import Probe
from regimen.envs.conformance.rules import RULES
from regimen.envs.robots.robot import load
from regimen.system.errors import ConfigError, EnvContractError


class WideFloat(PointEnv):
    def step(self, action):
        obs, reward, *rest = super().step(action)
        return obs, reward.double(), *rest


class WrongWidth(PointEnv):
    def observe(self):
        return {"policy": super().observe()["policy"][:, :3]}


class NotFinite(PointEnv):
    def step(self, action):
        obs, reward, *rest = super().step(action)
        return obs, reward / (self.age > 3), *rest


class ActionChanged(PointEnv):
    def move(self, action):
        super().move(action.clamp_(-0.5, 0.5))


class ShortScale(PointEnv):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.io.action.scale = [1.0]


class GlobalRandom(PointEnv):
    def observe(self):
        return {"policy": super().observe()["policy"] + 1e-6 * torch.randn(self.num_envs, 4)}


class SeedIgnored(PointEnv):
    def reset(self, seed=None):
        return super().reset(0 if seed is not None else None)


class FinalAfterReset(PointEnv):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        info["final_obs"] = {k: v.clone() for k, v in obs.items()}
        return obs, reward, terminated, truncated, info


class FinalStale(PointEnv):
    def step(self, action):
        before = self.observe() if not hasattr(self, "last") else self.last
        obs, reward, terminated, truncated, info = super().step(action)
        self.last = {k: v.clone() for k, v in obs.items()}
        info["final_obs"] = before
        return obs, reward, terminated, truncated, info


class FinalOfNeighbour(PointEnv):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        info["final_obs"] = {k: v.roll(1, 0) + 3.0 for k, v in info["final_obs"].items()}
        return obs, reward, terminated, truncated, info


class BothEnds(PointEnv):
    def step(self, action):
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated | truncated, truncated, info


class LateTruncation(PointEnv):
    def step(self, action):
        self.max_episode_length += 1
        out = super().step(action)
        self.max_episode_length -= 1
        return out


class Coupled(PointEnv):
    def move(self, action):
        super().move(action + 1e-3 * action[:1])


class DeafFirst(PointEnv):
    def step(self, action):
        return super().step(torch.where(torch.arange(self.num_envs)[:, None] == 0, torch.zeros(()), action))


class AgeForgotten(PointEnv):
    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.age.zero_()


class LiveState(PointEnv):
    def state_dict(self):
        return super().state_dict() | {"position": self.position}


class TensorLog(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["log"]["distance"] = out[1].mean()
        return out


class ScalarLabel(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["labels"]["side"] = torch.zeros(())
        return out


class IntegerMetric(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["metrics"]["steps"] = self.age.clone()
        return out


class NoMetrics(PointEnv):
    def step(self, action):
        out = super().step(action)
        del out[-1]["metrics"]
        return out


class LabelOfNextEpisode(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["labels"]["age"] = self.age.clone()
        return out


class MetricOfNextEpisode(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["metrics"]["goal_x"] = self.goal[:, 0].clone()
        return out


class MetricsReused(PointEnv):
    def step(self, action):
        out = super().step(action)
        out[-1]["metrics"]["x"] = self.position[:, 0]
        return out


class NoStagger(PointEnv):
    def stagger(self):
        pass


class StaggerTooFar(PointEnv):
    def stagger(self):
        self.age = torch.arange(self.num_envs) - 2


class CommandForgotten(PointEnv):
    def step(self, action):
        if (self.age + 1 >= self.max_episode_length).any():
            self.fixed_goal = None
        return super().step(action)


class OneCommandForAll(PointEnv):
    def fix_command(self, name, values):
        super().fix_command(name, values[:1].expand_as(values))


class AnyWidth(PointEnv):
    def fix_command(self, name, values):
        super().fix_command(name, values[:, :2])


class NeedsTwo(PointEnv):
    def step(self, action):
        obs, reward, *rest = super().step(action)
        return obs, reward.squeeze(), *rest


class ReusedReward(PointEnv):
    def step(self, action):
        obs, reward, *rest = super().step(action)
        self.buffer = getattr(self, "buffer", torch.zeros(self.num_envs)).copy_(reward)
        return obs, self.buffer, *rest


class OtherJoints(PointEnv):
    robot = load("reach_arm")
    world = SimpleNamespace(joints=["elbow", "shoulder"])


class Seen(PointEnv):
    """The points with an image of their place, (N, 6, 8, 3)."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.io.images = {"above": [6, 8, 3]}

    def observe(self):
        return super().observe() | {"above": self.picture()}

    def picture(self):
        values = (40 * (self.position.repeat(1, 72) + 2)).to(torch.uint8)
        return values.reshape(self.num_envs, 6, 8, 3)


class FloatImage(Seen):
    def picture(self):
        return super().picture().float()


class ChannelsFirst(Seen):
    def picture(self):
        return super().picture().permute(0, 3, 1, 2)


class ImageNotNamed(Seen):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.io.images = {}


class ImageOfNoSize(Seen):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.io.images = {"above": [6, 8]}


class ImageOfNextEpisode(Seen):
    def step(self, action):
        out = super().step(action)
        out[-1]["final_obs"]["above"] = out[0]["above"].clone()
        return out


class RandomImage(Seen):
    def picture(self):
        return torch.randint(0, 255, (self.num_envs, 6, 8, 3), dtype=torch.uint8)


class ReusedImage(Seen):
    def picture(self):
        self.buffer = getattr(self, "buffer", torch.zeros(self.num_envs, 6, 8, 3, dtype=torch.uint8))
        return self.buffer.copy_(super().picture())


GRID = [[0.0, 0.0], [0.8, 0.0]]
BROKEN = [
    (OtherJoints, "robot", ("elbow", "shoulder")),
    (WideFloat, "shapes", ("reward", "torch.float64", "torch.float32")),
    (WrongWidth, "shapes", ("reset()['policy']", "(8, 3)", "(8, 4)")),
    (NotFinite, "shapes", ("reward", "finite")),
    (ActionChanged, "shapes", ("step()", "action")),
    (ShortScale, "io spec", ("io.action.scale", 1, 2)),
    (GlobalRandom, "determinism", ("obs['policy']", "step 1")),
    (SeedIgnored, "determinism", ("seeds", 0, 1)),
    (FinalAfterReset, "final observation", ("info['final_obs']", "reset")),
    (FinalStale, "final observation", ("info['final_obs']", "step")),
    (FinalOfNeighbour, "final observation", ("0%", 8)),
    (BothEnds, "episode ends", ("terminated", "truncated")),
    (LateTruncation, "episode ends", (8, "max_episode_length=25")),
    (Coupled, "independence", ("env 0", "reward", "step 1")),
    (DeafFirst, "independence", ("action", "env 0")),
    (AgeForgotten, "state restore", ("truncated", "step 5")),
    (LiveState, "state restore", ("reward", "step 1")),
    (TensorLog, "log and labels", ("log", "distance", "Tensor", "float")),
    (ScalarLabel, "log and labels", ("label", "side", "()")),
    (IntegerMetric, "log and labels", ("metric", "steps", "torch.int64", "torch.float32")),
    (NoMetrics, "shapes", ("info", "metrics", "['final_obs', 'labels', 'log']")),
    (LabelOfNextEpisode, "labels at ends", ("info['labels']['age']", "100%", 8)),
    (MetricOfNextEpisode, "labels at ends", ("info['metrics']['goal_x']", "100%", 8)),
    (MetricsReused, "no aliasing", ("info['metrics']['x']",)),
    (NoStagger, "stagger", (8, 25)),
    (StaggerTooFar, "stagger", (2, 25)),
    (CommandForgotten, "fixed command", ("goal", "[0, 0]", "[0.8, 0]")),
    (OneCommandForAll, "fixed command", ("envs", "values")),
    (AnyWidth, "fixed command", ("fix_command", 4)),
    (NeedsTwo, "one env", ("reward", "()", "(1,)")),
    (ReusedReward, "no aliasing", ("reward",)),
    (FloatImage, "shapes", ("above", "torch.float32", "torch.uint8")),
    (ChannelsFirst, "shapes", ("above", "(8, 3, 6, 8)", "(8, 6, 8, 3)")),
    (ImageNotNamed, "shapes", ("above", "env.io")),
    (ImageOfNoSize, "io spec", ("above", "[6, 8]")),
    (ImageOfNextEpisode, "final observation", ("above", "100%")),
    (RandomImage, "determinism", ("above",)),
    (GlobalRandom, "determinism class", ("none", "bit")),
    (ReusedImage, "no aliasing", ("above",)),
]


def test_a_conforming_env_passes_every_rule() -> None:
    results = list(check_env(PointEnv, num_envs=8, command="goal", grid=GRID))
    assert [r.rule for r in results if r.ok] == list(RULES), [str(r) for r in results]
    require_env(PointEnv, num_envs=8, command="goal", grid=GRID)
    require_env(Seen, num_envs=8, command="goal", grid=GRID)


@pytest.mark.parametrize(("broken", "rule", "names"), BROKEN, ids=lambda x: getattr(x, "__name__", None))
def test_each_rule_catches_its_break(broken: type[PointEnv], rule: str, names: tuple[object, ...]) -> None:
    probe = Probe(broken, num_envs=8, seed=0, command="goal", grid=GRID)
    with raises_naming(EnvContractError, *names):
        RULES[rule](probe)


def test_every_rule_has_a_break() -> None:
    assert {rule for _, rule, _ in BROKEN} | {"ground"} == set(RULES), "the ground has a module of its own"


class Forgetful(PointEnv):
    """Its state lacks a part: a run from its start repeats, one from a restored state does not."""

    def load_state_dict(self, state):
        super().load_state_dict(state | {"position": torch.zeros_like(state["position"])})


@pytest.mark.slow
@pytest.mark.parametrize(("env", "measured"), [(GlobalRandom, "none"), (Forgetful, "run"), (PointEnv, "bit")])
def test_the_measured_class_is_the_strongest_that_holds_and_breaks_only_stronger_declarations(
    env: type[PointEnv], measured: str
) -> None:
    for declared in CLASSES:
        results = {r.rule: r for r in check_env(env, num_envs=4, declared=declared)}
        kept = CLASSES.index(declared) <= CLASSES.index(measured)
        assert_names(results["determinism class"].seen, measured, declared)
        of_class = ("determinism", "state restore", "determinism class", "independence")
        assert all(results[rule].ok for rule in of_class) == kept, declared


def test_a_crash_is_a_broken_rule_with_its_place() -> None:
    class Crashing(PointEnv):
        def state_dict(self):
            raise RuntimeError("no state")

    [failed] = [r for r in check_env(Crashing, num_envs=4) if not r.ok]
    assert failed.rule == "state restore"
    assert_names(failed.seen, "RuntimeError", "no state", "test_check.py")


def test_require_env_raises_with_one_line_per_broken_rule() -> None:
    with raises_naming(EnvContractError, "FAILED", "episode ends"):
        require_env(BothEnds)


@pytest.mark.slow
def test_the_command_checks_a_task_of_the_repository(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_env_verb(["task=reach", "env.episode_length_s=0.5", "hardware.threads=1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert_names(lines[0], "reach", "mujoco", "seed 0")
    for line, rule in zip(lines[1:-1], RULES, strict=True):
        assert line.startswith("ok") and not missing_names(line, rule)
    assert_names(lines[-1], len(RULES))


def test_the_command_names_what_a_users_own_env_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "points.yaml").write_text("# @package env\n_target_: helpers.point_env.PointEnv\n")
    monkeypatch.setattr(PointEnv, "open", lambda config: BothEnds(config.env.num_envs))
    assert check_env_verb(["task=points", "--config-dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    [failed] = [line for line in lines if line.startswith("FAILED")]
    assert_names(failed, "episode ends")
    assert_names(lines[-1], 1, len(RULES))


def test_the_command_refuses_a_typo_before_anything_is_opened() -> None:
    with raises_naming(ConfigError, "reech", "reach"):
        check_env_verb(["task=reech"])
