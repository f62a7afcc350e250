"""Settings of Isaac Lab's tasks, checked against a recorded catalogue: neither Isaac Lab nor a simulator is needed."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_library import recorded_interpreter
from regimen.envs.foreign import installed
from regimen.envs.foreign.catalogue import Catalogue
from regimen.envs.isaaclab import assets, settings
from regimen.envs.isaaclab.config import IsaacLabEnvCfg
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.system.errors import ConfigError, PreflightError

RECORDED = Path(__file__).resolve().parents[2] / "fixtures" / "isaaclab"
H1 = "Isaac-Velocity-Flat-H1"


@pytest.fixture(scope="module")
def h1():
    return Catalogue(ISAAC_LAB, "no python is started", RECORDED).description(H1)


def only(lines) -> str:
    (line,) = lines
    return line


@pytest.mark.parametrize(
    "given",
    [
        {"decimation": 8},
        {"sim": {"dt": 0.004}},
        {"rewards": {"track_lin_vel_xy_exp": {"weight": 2}}},
        {"events": {"push_robot": None}},
        {"events": {"push_robot": {"interval_range_s": [1.0, 2.0]}}},
        {"events": {"reset_base": {"params": {"pose_range": {"yaw": [0.0, 0.1]}}}}},
        {"scene": {"height_scanner": None}},
    ],
)
def test_a_value_of_the_task_is_accepted(h1, given):
    assert list(h1.problems(given)) == []


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"decimaton": 8}, ("isaac.decimaton=8", "decimation")),
        ({"events": {"push_robt": None}}, ("isaac.events.push_robt", "push_robot")),
        ({"push_robot": None}, ("env.isaac.events.push_robot",)),
        ({"decimation": "hello"}, ("isaac.decimation=hello", "4")),
        ({"decimation": 2.5}, ("isaac.decimation=2.5",)),
        ({"decimation": None}, ("isaac.decimation=null",)),
        ({"sim": {"dt": True}}, ("isaac.sim.dt=True",)),
        ({"sim": 3}, ("isaac.sim=3", "env.isaac.sim.dt")),
        ({"events": {"push_robot": {"interval_range_s": [1.0, 2.0, 3.0]}}}, ("interval_range_s",)),
        ({"events": {"push_robot": {"params": {"velocity_rnge": {}}}}}, ("velocity_range",)),
        ({"events": {"reset_base": {"params": {"pose_range": {"yw": [0.0, 0.1]}}}}}, ("yaw",)),
        ({"scene": {"num_envs": 8}}, ("env.num_envs",)),
        ({"episode_length_s": 8.0}, ("env.episode_length_s",)),
    ],
)
def test_a_wrong_value_is_refused_with_its_key_and_the_right_one(h1, given, named):
    assert_names(only(h1.problems(given)), *named)


def test_every_wrong_value_is_reported(h1):
    assert len(list(h1.problems({"decimaton": 1, "sim": {"dt": "x"}, "events": {"nothing_like_it": None}}))) == 3


def test_an_unknown_task_and_preset_are_refused_with_the_nearest(h1):
    with raises_naming(ConfigError, H1):
        Catalogue(ISAAC_LAB, "no python is started", RECORDED).description("Isaac-Velocity-Flat-H2")
    assert_names(only(h1.preset_problems(["newton_mjwrp"])), "newton_mjwarp")
    assert list(h1.preset_problems(["newton_mjwarp"])) == []


def test_an_interpreter_without_isaac_lab_is_named_with_what_it_lacks():
    lines = " ".join(installed.problems(ISAAC_LAB, sys.executable))
    assert_names(lines, "isaaclab", "newton", "make isaaclab", "hardware.interpreters.isaaclab")


def test_an_interpreter_with_other_versions_is_named_with_them(tmp_path):
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("")
    (tmp_path / "pyvenv.cfg").write_text("")
    packages = tmp_path / "lib" / "python3.12" / "site-packages"
    for name, begin in ISAAC_LAB.needed.items():
        version = "2.3.2" if name == "isaaclab" else f"{begin}.0"
        (packages / f"{name.replace('-', '_')}-{version}.dist-info").mkdir(parents=True)
    assert_names(only(installed.problems(ISAAC_LAB, str(python))), "isaaclab 2.3.2", "3.0")


def test_a_reader_that_fails_is_told_by_its_last_line(tmp_path):
    with raises_naming(PreflightError, sys.executable):
        Catalogue(ISAAC_LAB, sys.executable, tmp_path).tasks()  # this Python has no Isaac Lab


def test_files_that_a_task_needs_are_looked_for_before_the_start(tmp_path, monkeypatch):
    monkeypatch.delenv(assets.ROOT, raising=False)
    robot = next(iter(assets.MODELS))
    assert list(assets.problems(None, [robot])) == []
    assert_names(only(assets.problems(None, ["Robots/other.usd"])), "Robots/other.usd", assets.ROOT, "env.assets")
    assert_names(only(assets.problems(str(tmp_path), [robot])), robot, str(tmp_path))
    assert_names(only(assets.problems(str(tmp_path / "none"), [])), str(tmp_path / "none"))
    (tmp_path / robot).parent.mkdir(parents=True)
    (tmp_path / robot).write_text("")
    assert list(assets.problems(str(tmp_path), [robot])) == []
    monkeypatch.setenv(assets.ROOT, str(tmp_path))
    assert list(assets.problems(None, [robot])) == []
    assert list(assets.problems("nvidia", ["Robots/other.usd"])) == []


@dataclass
class Sensor:
    update_period: float = 0.02


@dataclass
class Scene:
    contact: Sensor = field(default_factory=Sensor)
    height: Sensor = field(default_factory=lambda: Sensor(0.3))


@dataclass
class Sim:
    dt: float = 0.005
    render_interval: int = 4


@dataclass
class Task:
    decimation: int = 4
    sim: Sim = field(default_factory=Sim)
    scene: Scene = field(default_factory=Scene)
    ranges: dict[str, tuple[float, float]] = field(default_factory=lambda: {"x": (0.0, 1.0)})
    names: list[str] = field(default_factory=list)


def test_settings_take_the_types_of_the_configuration():
    task = Task()
    settings.apply(task, {"sim": {"dt": 1}, "ranges": {"x": [1, 2]}, "names": ["a"]})
    assert (task.sim.dt, type(task.sim.dt), task.ranges["x"], task.names) == (1.0, float, (1, 2), ["a"])


def test_periods_follow_a_new_step_time():
    task = Task()
    settings.apply(task, {"decimation": 8, "sim": {"dt": 0.0025}})
    assert task.sim.render_interval == 8
    assert (task.scene.contact.update_period, task.scene.height.update_period) == (0.02, 0.3)
    settings.apply(task, {"decimation": 4})
    assert (task.sim.render_interval, task.scene.contact.update_period) == (4, 0.01)


def test_an_event_is_switched_off_for_an_evaluation():
    cfg = IsaacLabEnvCfg(isaac={"events": {"other": {"mode": "reset"}}})
    cfg.switch_off_event("push_robot")
    assert cfg.isaac == {"events": {"other": {"mode": "reset"}, "push_robot": None}}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"physics": "newton_mjwrp"}, ("physics=newton_mjwrp", "newton_mjwarp")),
        ({"physics": "newton_mjwarp"}, ("env.presets=[newton_mjwarp]",)),
        ({"id": "Kit", "physics": None}, ("id=Kit", "isaacsim", "env.physics=newton_mjwarp")),
        ({"id": "Kit", "physics": "ovphysx"}, ("id=Kit", "ovphysx")),
        (
            {"id": "Kit", "physics": "newton_mjwarp", "isaac": {"sim": {"physics": {"solver": 1}}}},
            ("env.isaac.sim.physics",),
        ),
    ],
)
def test_a_simulator_that_does_not_fit_is_refused_with_one_that_does(h1, tmp_path, monkeypatch, changes, named):
    kit = copy.deepcopy(h1)
    kit.presets = {}
    kit.tree["f"]["sim"]["f"]["physics"] = {
        "c": "PhysxCfg",
        "n": False,
        "f": {"solver": {"k": ["int"], "v": 0, "n": False}},
    }
    monkeypatch.setattr(Catalogue, "description", lambda _, task, presets=(): kit if task == "Kit" else h1)
    python = recorded_interpreter(tmp_path, ISAAC_LAB, RECORDED)
    config = {"hardware": {"interpreters": {"isaaclab": str(python)}}, "env": {"interpreter": "isaaclab"}}
    assert_names(only(IsaacLabEnvCfg(**changes).problems(config)), *named)
    assert IsaacLabEnvCfg(id="Kit", physics="newton_mjwarp").problems(config) == []


@pytest.mark.parametrize(
    ("declared", "sets"),
    [
        ({}, {"actor": ["policy"], "critic": ["policy"]}),
        ({"critic": ["policy", "state"]}, {"actor": ["policy"], "critic": ["policy", "state"]}),
    ],
)
def test_sets_of_observations_that_a_task_leaves_to_rsl_rl_are_filled_in(tmp_path, monkeypatch, declared, sets):
    monkeypatch.setenv("HOME", str(tmp_path))
    recorded = tmp_path / "recorded"
    shutil.copytree(RECORDED, recorded)
    for library in ("rsl_rl", "skrl"):
        text = json.dumps({"settings": {"obs_groups": declared}})
        (recorded / f"{H1}@{library}.json").write_text(text, encoding="utf-8")
    python = recorded_interpreter(tmp_path / "venv", ISAAC_LAB, recorded)
    config = {"hardware": {"interpreters": {"isaaclab": str(python)}}, "env": {"interpreter": "isaaclab"}}
    assert IsaacLabEnvCfg().agent_settings("rsl_rl", config) == {"obs_groups": sets}
    assert IsaacLabEnvCfg().agent_settings("skrl", config) == {"obs_groups": declared}
