"""Settings of mjlab's tasks, checked against recorded documents: neither mjlab nor a simulator is needed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_library import asked, recorded_interpreter
from regimen.cli.list_options import list_verb
from regimen.config.task_schema import EvaluationCfg
from regimen.envs.foreign import installed
from regimen.envs.foreign.catalogue import Catalogue
from regimen.envs.mjlab.config import MjlabEnvCfg
from regimen.envs.mjlab.library import MJLAB
from regimen.system.errors import ConfigError, PreflightError

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "mjlab"
GO1 = "Mjlab-Velocity-Flat-Unitree-Go1"
TRACKING = "Mjlab-Tracking-Flat-Unitree-G1"


@pytest.fixture(scope="module")
def go1():
    return Catalogue(MJLAB, "no python is started", RECORDED).description(GO1)


@pytest.fixture
def python(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return recorded_interpreter(tmp_path / "venv", MJLAB, RECORDED)


def problems(cfg: MjlabEnvCfg, python: Path) -> list[str]:
    return cfg.problems({"env": {"interpreter": "mjlab"}, "hardware": {"interpreters": {"mjlab": str(python)}}})


def only(lines) -> str:
    (line,) = lines
    return line


@pytest.mark.parametrize(
    "given",
    [
        {"decimation": 8},
        {"sim": {"mujoco": {"timestep": 0.004, "solver": "cg", "gravity": [0, 0, -1.62]}}},
        {"rewards": {"track_linear_velocity": {"weight": 3}}},
        {"rewards": {"foot_slip": None}},
        {"events": {"push_robot": None}},
        {"events": {"push_robot": {"params": {"velocity_range": {"x": [-1.0, 1.0]}}}}},
        {"events": {"base_com": {"params": {"ranges": {"0": [-0.1, 0.1]}}}}},
        {"observations": {"critic": None}},
        {"viewer": {"origin_type": "WORLD"}},
        {"actions": {"joint_pos": {"actuator_names": [".*_hip_joint", ".*_calf_joint"]}}},
    ],
)
def test_a_value_of_the_task_is_accepted(go1, given):
    assert list(go1.problems(given)) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"decimaton": 8}, ("mjlab.decimaton=8", "decimation")),
        ({"events": {"push_robt": None}}, ("mjlab.events.push_robt", "push_robot")),
        ({"push_robot": None}, ("env.mjlab.events.push_robot",)),
        ({"recorders": {"mine": 1}}, ("mjlab.recorders.mine",)),
        ({"decimation": "hello"}, ("mjlab.decimation=hello", "4")),
        ({"decimation": None}, ("mjlab.decimation=null",)),
        ({"scene": None}, ("mjlab.scene=null",)),
        ({"sim": {"mujoco": {"timestep": True}}}, ("mjlab.sim.mujoco.timestep=True",)),
        ({"sim": {"mujoco": {"solver": "newtn"}}}, ("mjlab.sim.mujoco.solver=newtn", "newton", "cg", "pgs")),
        ({"sim": {"mujoco": {"gravity": [0.0, -9.81]}}}, ("mjlab.sim.mujoco.gravity",)),
        ({"viewer": {"origin_type": "WORD"}}, ("mjlab.viewer.origin_type=WORD", "WORLD")),
        ({"sim": 3}, ("mjlab.sim=3", "env.mjlab.sim.nconmax")),
        ({"events": {"push_robot": {"params": {"velocity_rnge": {}}}}}, ("velocity_range",)),
        ({"scene": {"num_envs": 8}}, ("env.num_envs",)),
        ({"episode_length_s": 8.0}, ("env.episode_length_s",)),
        ({"auto_reset": True}, ("mjlab.auto_reset=True",)),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_right_one(go1, given, named):
    assert_names(only(go1.problems(given)), *named)


def test_the_configuration_is_listed_by_the_keys_that_set_it(python, capsys):
    list_verb(["mjlab", GO1, "--python", str(python)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["env.mjlab.decimation", "4"] in lines
    assert ["env.mjlab.sim.mujoco.solver", "newton"] in lines


def test_a_document_is_read_once_and_kept(python, tmp_path):
    for _ in range(2):
        assert problems(MjlabEnvCfg(id=GO1), python) == []
    assert asked(tmp_path / "venv") == ["index", f"config {GO1}"]


def test_an_unknown_task_is_refused_with_the_nearest(python):
    assert_names(only(problems(MjlabEnvCfg(id="Mjlab-Velocity-Flat-Unitree-Go2"), python)), GO1)
    with raises_naming(ConfigError, GO1):
        Catalogue(MJLAB, str(python)).description("Mjlab-Velocity-Flat-Unitree-Go2")


@pytest.mark.parametrize(
    ("cfg", "named"),
    [
        (MjlabEnvCfg(id=GO1, num_envs=0), ("num_envs",)),
        (MjlabEnvCfg(id=GO1, episode_length_s=0.0), ("episode_length_s",)),
        (MjlabEnvCfg(id=GO1, mjlab={"decimaton": 8}), ("decimation",)),
        (MjlabEnvCfg(id=GO1, evaluation=EvaluationCfg(command="twst")), ("twst", "twist")),
        (MjlabEnvCfg(id=GO1, evaluation=EvaluationCfg(disturbances=["push"])), ("push", "push_robot")),
        (
            MjlabEnvCfg(id=GO1, mjlab={"commands": {"twist": None}}, evaluation=EvaluationCfg(command="twist")),
            ("env.mjlab.commands.twist",),
        ),
        (MjlabEnvCfg(id=TRACKING), ("env.mjlab.commands.motion.motion_file",)),
        (
            MjlabEnvCfg(id=TRACKING, mjlab={"commands": {"motion": {"motion_file": "none.npz"}}}),
            ("motion_file=none.npz",),
        ),
    ],
)
def test_a_run_that_cannot_start_is_refused_before_the_simulator(python, cfg, named):
    assert_names(only(problems(cfg, python)), *named)


def test_a_motion_that_exists_is_accepted(python, tmp_path):
    (tmp_path / "walk.npz").write_bytes(b"")
    motion = {"commands": {"motion": {"motion_file": str(tmp_path / "walk.npz")}}}
    assert problems(MjlabEnvCfg(id=TRACKING, mjlab=motion), python) == []


def test_an_event_is_switched_off_for_an_evaluation():
    cfg = MjlabEnvCfg(mjlab={"events": {"other": {"mode": "reset"}}})
    cfg.switch_off_event("push_robot")
    assert cfg.mjlab == {"events": {"other": {"mode": "reset"}, "push_robot": None}}


def test_an_interpreter_without_mjlab_is_named_with_what_it_lacks():
    lines = " ".join(installed.problems(MJLAB, sys.executable))
    assert_names(lines, "mjlab", "mujoco-warp", "make mjlab", "hardware.interpreters.mjlab")


def test_a_reader_that_fails_is_told_by_its_last_line(tmp_path):
    with raises_naming(PreflightError, sys.executable):
        Catalogue(MJLAB, sys.executable, tmp_path).tasks()  # this Python has no mjlab
