"""The description of an exported policy says how to compute its commands: what is computed by it alone is the same."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from agents.export.made_policies import run_with
from helpers.tasks import make_env
from regimen.agents.export import header
from regimen.agents.policy_file import load_bundle, load_policy
from regimen.cli.export_policy import export
from regimen.runs import checkpoint

needs_onnx = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [onnx]")


class FollowedClip:
    """A robot's own computation of the reference, from the keys of the description and nothing else."""

    def __init__(self, told: dict[str, Any], time: float, place: np.ndarray, heading: float) -> None:
        """Begin at `time` of the clip, with the robot at `place` (2,) and `heading`."""
        self.step_dt, command = told["step_dt"], told["commands"]["motion"]
        self.clip = command["clips"][0]
        assert self.clip["joint_names"] == told["robot"]["joint_names"]
        self.default = np.array(told["robot"]["default_joint_pos"])
        self.time, self.heading = time, heading
        self.shift = place - self._turned(self._at("root_pos")[:2])

    def _turned(self, point: Any) -> np.ndarray:
        return Rotation.from_euler("z", self.heading).apply([*point, 0.0])[:2]

    def _at(self, name: str) -> np.ndarray:
        position = min(self.time * self.clip["fps"], len(self.clip[name]) - 1.0)
        below = min(int(position), len(self.clip[name]) - 2)
        first, second = (np.array(self.clip[name][i]) for i in (below, below + 1))
        return first + (position - below) * (second - first)

    def advance(self) -> None:
        """One control step."""
        self.time += self.step_dt
        if self.clip["cyclic"] and self.time > self.clip["duration_s"]:
            self.time -= self.clip["duration_s"]
            self.shift += self._turned(self.clip["cycle_shift"])
            self.heading += self.clip["cycle_turn"]

    def terms(self, root_pos: np.ndarray, root_quat: np.ndarray) -> dict[str, np.ndarray]:
        """The observation terms that read the command, for the present base of the robot (quaternion w x y z)."""
        base = Rotation.from_quat(root_quat, scalar_first=True).inv()
        wanted = self._at("root_pos")
        wanted[:2] = self.shift + self._turned(wanted[:2])
        turn = Rotation.from_euler("z", self.heading) * Rotation.from_quat(self._at("root_quat"), scalar_first=True)
        return {
            "motion": np.concatenate((self._at("joint_pos") - self.default, self._at("joint_vel"))),
            "motion_anchor_pos": base.apply(wanted - root_pos),
            "motion_anchor_ori": (base * turn).as_matrix()[:, :2].ravel(),
        }


@pytest.mark.parametrize("name", ["torchscript", pytest.param("onnx", marks=(needs_onnx, pytest.mark.slow))])
def test_a_robot_that_knows_the_description_alone_follows_the_clip(tmp_path: Path, name: str) -> None:
    source = run_with(tmp_path, "rsl_rl_ppo", task="humanoid_track")
    out = tmp_path / f"walker.{'onnx' if name == 'onnx' else 'pt'}"
    export(str(source), name, out)
    told = header.read_description(out).to_dict()
    command: Any = told["commands"]["motion"]  # type: ignore[index]
    clip = command["clips"][0]
    assert (clip["name"], clip["cyclic"], clip["fps"]) == ("humanoid_walk_cycle", True, 30.0)
    assert clip["duration_s"] == pytest.approx(31 / 30) and "BSD" in clip["license"]
    assert command["terms"] == [f"policy.{term}" for term in ("motion", "motion_anchor_pos", "motion_anchor_ori")]

    endless = {name: None for name in ("base_height", "motion_anchor", "motion_anchor_turn", "motion_bodies")}
    env = make_env("humanoid_track", 1, terminations=endless, observation_noise=False)
    obs = env.reset(seed=3)
    reference = env.commands.terms["motion"]
    before = env.kinematics()
    heading = Rotation.from_quat(before["root_quat"][0].numpy(), scalar_first=True).apply([1.0, 0.0, 0.0])
    clip_heading = Rotation.from_quat(clip["root_quat"], scalar_first=True).apply([1.0, 0.0, 0.0])
    start = float(reference.time[0]) - env.step_dt
    place = before["root_pos"][0, :2].numpy()
    at = np.interp(
        start, np.arange(len(clip_heading)) / clip["fps"], np.arctan2(clip_heading[:, 1], clip_heading[:, 0])
    )
    followed = FollowedClip(told, start, place, math.atan2(heading[1], heading[0]) - float(at))

    exported, policy = (load_policy(b, env, seed=0) for b in (load_bundle(str(out)), checkpoint.load(source)))
    sizes, wraps = env.io.observations["policy"], 0
    for _ in range(45):  # more than a cycle
        was = followed.time
        followed.advance()
        wraps += followed.time < was
        base = {key: value[0].numpy() for key, value in env.kinematics().items()}
        terms = followed.terms(base["root_pos"], base["root_quat"])
        parts = dict(zip(sizes, obs["policy"].split(list(sizes.values()), dim=1), strict=True))
        own = {
            key: torch.tensor(terms[key], dtype=torch.float32)[None] if key in terms else parts[key] for key in parts
        }
        for key in terms:
            torch.testing.assert_close(own[key], parts[key], rtol=1e-4, atol=2e-4, msg=lambda m, k=key: f"{k}: {m}")
        wanted, _ = policy.act(obs, None)
        found, _ = exported.act({"policy": torch.cat(list(own.values()), dim=1)}, None)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=2e-3)
        obs, *_ = env.step(0.1 * wanted.clamp(-1, 1))
    assert wraps >= 1


def test_a_gait_clock_is_described_with_its_frequency(tmp_path: Path) -> None:
    out = tmp_path / "walker.pt"
    export(str(run_with(tmp_path, "skrl_ppo", task="go2_flat")), "torchscript", out)
    told = header.read_description(out)
    clock = told.commands["gait"]
    assert clock.params["frequency_hz"] == 2.0 and clock.params["stance_ratio"] == 0.55
    assert clock.terms == ["policy.gait_phase"] and clock.clips == []
    assert "sine" in clock.value and "frequency_hz" in clock.computed

    env = make_env("go2_flat", 3)
    env.fix_command("base_velocity", torch.tensor([[0.5, 0.0, 0.0]] * 3))
    env.reset(seed=0)
    phase = torch.atan2(*env.commands["gait"].value.T) / (2 * math.pi)
    for _ in range(7):
        env.step(torch.zeros(3, 12))
        phase = (phase + clock.params["frequency_hz"] * told.step_dt) % 1.0
        expected = torch.stack((torch.sin(2 * math.pi * phase), torch.cos(2 * math.pi * phase)), dim=1)
        torch.testing.assert_close(env.commands["gait"].value, expected, rtol=0, atol=1e-4)
    assert told.commands["base_velocity"].computed == "", "a person or a planner chooses it"


def test_a_task_without_commands_has_none(tmp_path: Path) -> None:
    out = tmp_path / "arm.pt"
    export(str(run_with(tmp_path, "skrl_ppo")), "torchscript", out)
    assert all(not command.clips for command in header.read_description(out).commands.values())
