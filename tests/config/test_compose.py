"""Every configuration mistake is refused with the place it stands in and what to type instead."""

from __future__ import annotations

import itertools
import os
import re
import time
from pathlib import Path

import pytest
import yaml
from hydra.types import RunMode
from omegaconf import OmegaConf

from helpers.messages import assert_names, missing_names, raises_naming
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.config.compose import ComposedConfig, compose
from regimen.config.overrides import make_loader
from regimen.config.schema import Config
from regimen.config.structured import build, field_types, load_config, to_plain
from regimen.config.task_schema import EventTermCfg, ManagerEnvCfg
from regimen.system.errors import ConfigError, ConfigErrors

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return make_lab(tmp_path)


def age(folder: Path) -> None:
    """Have all files look older than a clock tick, so that what was read of them may be used again."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))


def composed(*overrides: str, lab: Path | None = None) -> ComposedConfig:
    return compose(list(overrides), [CONF, *([lab] if lab else [])])


def refusal(*overrides: str, lab: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides, lab=lab)
    text = str(caught.value)
    assert "https://" not in text
    assert "use +" not in text
    return text


def problems(*overrides: str, lab: Path | None = None) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        composed(*overrides, lab=lab)
    return caught.value.lines


def about(problems: list[str], place: str) -> str:
    """Return the one problem that names an argument or a line of a file."""
    (problem,) = [problem for problem in problems if not missing_names(problem, place)]
    return problem


@pytest.mark.parametrize("task", [p.stem for p in (CONF / "task").glob("*.yaml")])
def test_every_task_composes(task: str) -> None:
    assert composed(f"task={task}").choices["task"] == task


@pytest.mark.parametrize("experiment", [p.stem for p in (CONF / "experiment").glob("*.yaml")])
def test_every_experiment_composes_and_stays_small(experiment: str) -> None:
    assert composed(f"experiment={experiment}").choices["experiment"] == experiment
    assert len((CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()) < 30


def test_an_experiment_keeps_task_and_agent_with_another_stage(tmp_path: Path) -> None:
    run = composed("experiment=gear_pictures", "stage=actor")
    assert (run.choices["task"], run.choices["stage"]) == ("gear_assembly", "actor")
    assert run.plain["agent"] == composed("experiment=gear_pictures").plain["agent"]
    (line,) = run.unused
    assert_names(line, "stage=actor", "stage.checkpoint_interval", "stage.keep_checkpoints", "stage=train")
    assert composed("experiment=gear_pictures", "stage=train").unused == []
    assert composed("experiment=gear_pictures").plain["stage"]["checkpoint_interval"] == 1000
    said = refusal("experiment=gear_pictures", "stage=actor", "stage.checkpoint_interval=10")
    assert_names(said, "stage.checkpoint_interval=10")
    text = "# @package _global_\n# Mine\nstage: {checkpoint_interval: 10, reconect_s: 1.0}\n"
    write(tmp_path / "conf/experiment/mine.yaml", text)
    for stage in ([], ["stage=actor"]):
        assert_names(refusal("experiment=mine", *stage, lab=tmp_path / "conf"), "mine.yaml:3", "reconect_s")


def test_an_experiment_of_another_stage_keeps_what_both_stages_have(tmp_path: Path) -> None:
    text = "# @package _global_\n# Mine\ndefaults: [{override /stage: serve}]\nstage: {port: 5077, host: 127.0.0.2}\n"
    write(tmp_path / "conf/experiment/mine.yaml", text)
    assert composed("experiment=mine", lab=tmp_path / "conf").plain["stage"]["port"] == 5077
    run = composed("experiment=mine", "stage=train", lab=tmp_path / "conf")
    assert_names(run.unused[0], "stage.port", "stage.host", "stage=serve")


STAGES, HARDWARE = ([p.stem for p in sorted((CONF / name).glob("*.yaml"))] for name in ("stage", "hardware"))
PAIRS = [
    pytest.param(stage, hardware, marks=() if stage == "train" or hardware == "cpu" else pytest.mark.slow)
    for stage, hardware in itertools.product(STAGES, HARDWARE)
]


@pytest.mark.parametrize(("stage", "hardware"), PAIRS)
def test_every_stage_and_hardware_composes(stage: str, hardware: str) -> None:
    config = composed("task=reach", f"stage={stage}", f"hardware={hardware}").plain
    assert config["choices"] | {"stage": stage, "hardware": hardware} == config["choices"]


def test_paths_follow_the_current_directory_and_options_stay_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf, elsewhere = tmp_path / "here" / "conf", tmp_path / "elsewhere"
    write(conf / "task/mine.yaml", "# @package env\ndefaults: [reach]\nepisode_length_s: 3.0\n")
    elsewhere.mkdir()
    age(conf)
    for folder, shown in ((conf.parent, "conf/task/mine.yaml"), (elsewhere, str(conf / "task/mine.yaml"))):
        monkeypatch.chdir(folder)
        for _ in range(2):
            run = composed("task=mine", lab=conf)
            assert run.tree.history["env.episode_length_s"][-1][0].label == shown
            assert run.hydra_record()["hydra"]["runtime"]["cwd"] == str(folder)
            assert composed("task=reach").hydra_record()["hydra"]["runtime"]["cwd"] == str(folder)


def test_the_overrides_of_the_manual_work() -> None:
    config = composed(
        *("task=h1_failure", "env.events.change_joint_torque=null"),
        *("agent.trainer.timesteps=64000", "env.num_envs=256"),
    ).plain
    assert config["env"]["events"]["change_joint_torque"] is None
    assert config["agent"]["trainer"]["timesteps"] == 64000
    assert config["env"]["num_envs"] == 256


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("env.rewards.gait_contact.params.command=gait", ("rewards", "gait_contact", "params", "command"), "gait"),
        ("env.observations.policy.terms.actions.scale=2", ("observations", "policy", "terms", "actions", "scale"), 2.0),
        ("env.evaluation.grid.0=[1,0,0]", ("evaluation", "grid", 0), [1.0, 0, 0]),
        ("env.events.extra={func: randomize_rigid_body_mass, mode: startup, params: {mass_distribution_params: [0,1]}}",
         ("events", "extra", "mode"), "startup"),
    ],
)  # fmt: skip
def test_a_valid_key_that_no_file_sets_needs_no_plus(override: str, path: tuple[str | int, ...], value: object) -> None:
    node = composed("task=go2_flat", override).plain["env"]
    for key in path:
        node = node[key]
    assert node == value


def test_a_removed_term_is_gone() -> None:
    assert "push_robot" not in composed("task=go2_flat", "~env.events.push_robot").plain["env"]["events"]


WRONG: dict[str, tuple[str, ...]] = {
    "num_envs=8": ("env.num_envs",),
    "processes=2": ("hardware.processes",),
    "tsk=reach": ("tsk", "task"),
    "task=go3_flat": ("go3_flat", "go2_flat"),
    "agent=null": ("agent", "skrl_ppo", "fast_sac"),
    "experiment=null": ("experiment=none",),
    "experiment=h1_helthy": ("h1_helthy", "h1_healthy"),
    "+experiment=none": ("experiment=none",),
    "~agent": ("agent", "skrl_ppo", "fast_sac"),
    "agent@foo=skrl_ppo": ("agent",),
    "env.events.chnage_joint_torque=null": ("chnage_joint_torque", "change_joint_torque"),
    "env.events.push_robt.mode=reset": ("push_robt", "push_robot", "func"),
    "~seed=1": ("seed", "0", "~seed"),
    "~env.events.push_robt": ("env.events.push_robt", "push_robot"),
    "env.rewrds.alive.weight=1": ("rewrds", "env", "rewards"),
    "env.rewards.alive.weigth=1": ("weigth", "env.rewards.alive", "weight"),
    "env.rewards.feet_height.params.hight=1": ("feet_height_exp", "hight", "height"),
    "env.rewards.alive.func=is_alvie": ("is_alvie", "regimen.envs.terms.rewards", "is_alive"),
    "env.rewards.alive.func=my_terms:alive": ("my_terms", "PYTHONPATH"),
    "env.events.push_robot.mode=intervall": ("intervall", "interval"),
    "env.events.push_robot.params.velocity_range=3": ("env.events.push_robot.params.velocity_range", "3", "mapping"),
    "agent.trainer.timestep=9": ("timestep", "TrainerCfg", "timesteps"),
    "agent.agent.learning_rat=1": ("learning_rat", "PPO_CFG", "learning_rate"),
    "agent.agent.learning_rate=fast": ("agent.agent.learning_rate", "fast", "number", "list"),
    "agent.agent.experiment.wnadb=true": ("wnadb", "ExperimentCfg", "wandb"),
    "hardware.thread=2": ("thread", "hardware", "threads"),
    "sim.dtt=0.1": ("dtt", "sim", "dt"),
    "stage.keep_checkpoint=1": ("keep_checkpoint", "stage", "keep_checkpoints"),
    "seed=hello": ("seed", "hello", "number"),
    "seed=1e3": ("seed", "1000.0", "number"),
    "seed='-5'": ("seed", "0 to 4294967295"),
    "hardware.threads='0'": ("hardware.threads", "1 or more"),
    "sim.render_size=['640','8']": ("sim.render_size", "16 to 8192"),
    "hardware.processes=${oc.env:NO_PROCESSES}": ("1 or more",),
    "hardware.processes=0": ("hardware.processes=0", "1 or more"),
    "agent.agent.learning_rate=nan": ("agent.agent.learning_rate", "finite"),
    "agent.agent.learning_rate=[1e-3,inf]": ("agent.agent.learning_rate.1", "finite"),
    "env.rewards.alive.weight=nan": ("env.rewards.alive.weight", "finite"),
    "env.rewards.alive.weight='nan'": ("env.rewards.alive.weight", "finite"),
    "~env": ("task=<name>",),
    "env.num_envs=many": ("env.num_envs", "many", "number"),
    "env=3": ("env", "3", "env.num_envs"),
    "sim._target_=nope.Nope": ("sim=<name>", "sim/<name>.yaml"),
    "env={_target_: nope.Nope}": ("task=<name>", "task/<name>.yaml"),
    "~stage._target_": ("stage=<name>", "stage/<name>.yaml"),
    "+env.foo=3": ("foo", "env"),
    "++agent.foo=1": ("foo", "agent", "trainer"),
    "seed": ("seed=<value>", "--cfg job"),
    "task": ("task=<name>", "go2_flat"),
    "env.evaluation.grid[0]=1": ("env.evaluation.grid.0=1",),
    "name=a b(c": ("""'name="a b(c"'""",),
    "seed=1,2": ("-m", "seed=[1,2]"),
    "seed=${nothing}": ("seed", "nothing"),
    "nan_dump=${nothing.seed}": ("nan_dump", "nothing"),
    "hydra.foo=1": ("hydra.foo", "foo"),
    "env.evaluation.grid.99=[1,0,0]": ("list",),
    "env.evaluation.grid.first=[1,0,0]": ("list",),
    "hydra.searchpath=[x]": ("--config-dir",),
    "hydra.run.dir=x": ("name=<word>",),
    "hydra.sweep.dir=x": ("name=<word>",),
    "++resume=x": ("resume=<run reference>",),
    "choices.task=reach": ("choices", "task=<name>"),
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_argument_is_refused_by_name(override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROCESSES", "0")
    said = refusal("task=h1_failure", override) if not override.lstrip("+~").startswith("task") else refusal(override)
    assert_names(said, override)
    assert_names(said.replace(override, "", 1), *WRONG[override])  # what it says besides repeating the argument


@pytest.mark.parametrize("sim", ["mujoco", "mujoco_warp", "genesis", "isaaclab", "remote"])
def test_a_physics_step_is_more_than_no_time(sim: str) -> None:
    for dt in ("0", "-0.005", "'-0.005'"):
        (line,) = problems("task=go2_flat", f"sim={sim}", f"sim.dt={dt}")
        assert_names(line, f"argument `sim.dt={dt}`", "more than 0")


def test_the_class_of_a_logger_is_chosen_by_its_option() -> None:
    assert_names(refusal("task=reach", "logger=csv", "logger.csv._target_=a.B"), "a.B", "logger=<name>")
    target = composed("task=reach").plain["sim"]["_target_"]
    assert composed("task=reach", f"sim._target_={target}").plain["sim"]["_target_"] == target


def test_a_mode_without_its_interval_names_the_line_of_the_term_and_the_key() -> None:
    said = refusal("task=h1_failure", "env.events.push_robot.interval_range_s=null")
    assert re.search(r"task/h1_flat\.yaml:\d+", said)
    assert_names(said, "env.events.push_robot", "interval", "interval_range_s", "[shortest, longest]")


def test_all_problems_are_said_at_once() -> None:
    wrong = ("seed=hello", "env.num_envs=many", "env.rewrds.x=1")
    found = problems(*wrong)
    assert len({about(found, override) for override in wrong}) == len(found) == 3
    first = problems("tsk=1", "task=go3_flat", "agent=nothing")  # choices first: keys depend on them
    assert len({about(first, choice) for choice in ("task=go3_flat", "agent=nothing")}) == len(first) == 2


def test_a_typo_in_an_experiment_names_file_and_line(lab: Path) -> None:
    write(
        lab / "experiment/typo.yaml",
        "# @package _global_\n# Wrong\ndefaults:\n  - override /task: reach\nenv:\n  events:\n    reset_robt: null\n"
        "agent:\n  trainer: {timestep: 3}\nnam: x\n",
    )
    found = problems("experiment=typo", lab=lab)
    assert_names(about(found, "typo.yaml:7"), "reset_robt", "reset_robot_joints")
    assert_names(about(found, "typo.yaml:9"), "timestep", "TrainerCfg", "timesteps")
    assert_names(about(found, "typo.yaml:10"), "nam", "name")


def test_a_wrong_choice_in_an_experiment_names_the_file(lab: Path) -> None:
    file = write(lab / "experiment/gone.yaml", "# @package _global_\ndefaults:\n  - override /task: reech\n")
    assert_names(refusal("experiment=gone", lab=lab), file, "task", "reech", "reach")


def test_typos_in_task_and_agent_files_name_file_and_line(lab: Path) -> None:
    write(lab / "task/bad.yaml", "# @package env\ndefaults: [reach, _self_]\nrewards:\n  near: {wieght: 1}\n")
    write(lab / "agent/bad.yaml", "_target_: regimen.agents.skrl_ppo.SkrlPpo\nmodles: {}\n")
    found = problems("task=bad", "agent=bad", lab=lab)
    assert_names(about(found, "task/bad.yaml:4"), "wieght", "env.rewards.near", "weight")
    assert_names(about(found, "agent/bad.yaml:2"), "modles", "agent", "models")


def test_missing_values_name_the_task_file(lab: Path) -> None:
    file = write(lab / "task/empty.yaml", "# @package env\nrobot: reach_arm\n")
    found = problems("task=empty", lab=lab)
    for key in ("env.num_envs", "env.episode_length_s", "env.actions.scale"):
        assert_names(about(found, key), file)


@pytest.mark.parametrize(
    ("chosen", "files"),
    [
        ("experiment=own", {"experiment/own": "/experiment: own"}),
        ("experiment=one", {"experiment/one": "two", "experiment/two": "one"}),
        ("task=own", {"task/own": "own"}),
    ],
)
def test_options_that_include_each_other_are_refused(lab: Path, chosen: str, files: dict[str, str]) -> None:
    for name, included in files.items():
        package = "env" if name.startswith("task") else "_global_"
        write(lab / f"{name}.yaml", f"# @package {package}\ndefaults:\n  - {included}\n  - _self_\n")
    assert_names(refusal(chosen, lab=lab), " -> ".join([*files, next(iter(files))]))


@pytest.mark.parametrize("group", ["experiment", "task", "agent"])
def test_a_list_in_place_of_keys_is_refused_with_its_file(lab: Path, group: str) -> None:
    file = write(lab / group / "listed.yaml", "# @package _global_\n- a\n")
    assert_names(refusal(f"{group}=listed", lab=lab), file, "key: value")


def test_a_missing_header_line_is_named(lab: Path) -> None:
    write(lab / "task/headless.yaml", "robot: reach_arm\n")
    write(lab / "experiment/headless.yaml", "defaults:\n  - override /task: reach\n")
    assert_names(refusal("task=headless", lab=lab), "task/headless.yaml", "# @package env")
    assert_names(refusal("experiment=headless", lab=lab), "experiment/headless.yaml", "# @package _global_")


def test_broken_yaml_names_file_and_line(lab: Path) -> None:
    write(lab / "agent/broken.yaml", "_target_: a.B\nx: [1\ny: 2\n")
    assert_names(refusal("agent=broken", lab=lab), "agent/broken.yaml:3", "YAML")


def test_a_wrong_class_names_the_file(lab: Path) -> None:
    write(lab / "agent/wrong.yaml", "_target_: regimen.agents.skrl_ppo.SkrlPpoo\n")
    write(lab / "agent/none.yaml", "x: 1\n")
    target = "_target_: regimen.agents.skrl_ppo.SkrlPpoo"
    assert_names(refusal("agent=wrong", lab=lab), "agent/wrong.yaml", target, "SkrlPpo")
    assert_names(refusal("agent=none", lab=lab), "agent/none.yaml", "_target_: pkg.mod.Class")


def test_an_option_hidden_by_a_built_in_one_is_refused(lab: Path) -> None:
    yours = write(lab / "task/reach.yaml", "# @package env\nrobot: h1\n")
    said = refusal("task=reach", lab=lab)
    assert_names(said, yours)
    assert_names(said.replace(str(yours), ""), "conf/task/reach.yaml")


def test_a_missing_config_dir_offers_the_near_one(lab: Path) -> None:
    assert_names(refusal(lab=lab.parent / "cnof"), "--config-dir", lab.parent / "cnof", "conf")


def test_own_terms_and_options_work_and_are_checked(lab: Path) -> None:
    config = composed("task=lean", "env.rewards.leaning.params.limit=0.2", lab=lab).plain
    assert config["env"]["rewards"]["leaning"]["params"] == {"limit": 0.2}
    assert config["env"]["rewards"]["near"]["weight"] == 1.0  # of the task it builds on
    said = refusal("task=lean", "env.rewards.leaning.params.axes=y", lab=lab)
    assert_names(said, "lab_terms:leaning", "axes", "axis")
    said = refusal("task=lean", "env.rewards.leaning.func=lab_terms:leening", lab=lab)
    assert_names(said.replace("env.rewards.leaning.func", ""), "lab_terms", "leening", "leaning")


def test_an_experiment_beats_the_task_and_an_argument_beats_both(lab: Path) -> None:
    write(lab / "experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /task: reach\nenv: {num_envs: 5}\n")
    assert composed("experiment=e", lab=lab).plain["env"]["num_envs"] == 5
    assert composed("experiment=e", "env.num_envs=6", lab=lab).plain["env"]["num_envs"] == 6


def test_an_experiment_may_use_another_agent_with_its_own_type(lab: Path) -> None:
    write(lab / "agent/zero.yaml", "_target_: lab_agent.Zero\ngain: 2\n")
    code = "from dataclasses import dataclass\n\n@dataclass\nclass ZeroCfg:\n    gain: float = 1.0\n\nclass Zero: ...\n"
    write(lab.parent / "lab_agent.py", code.replace("gain", "_target_: str = 'lab_agent.Zero'\n    gain", 1))
    write(lab / "experiment/z.yaml", "# @package _global_\ndefaults:\n  - override /agent: zero\nagent: {gain: 3}\n")
    assert composed("experiment=z", "agent.gain=4", lab=lab).plain["agent"]["gain"] == 4.0
    assert_names(refusal("experiment=z", "agent.gian=4", lab=lab), "gian", "agent", "gain")


UNIONS = """
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass
class DecayCfg:
    start: float = 1.0

@dataclass
class VariedCfg:
    _target_: str = "varied_agent.Varied"
    rate: float | list[float] = 0.1
    decay: float | DecayCfg | None = None
    layer: tuple[str, float] = ("elu", 1.0)
    bounded: float | list[float] = field(default=1.0, metadata={"least": 0})

class Varied: ...
"""


def test_unions_and_mixed_tuples_of_an_own_dataclass_are_checked_and_converted(lab: Path) -> None:
    write(lab / "agent/varied.yaml", "_target_: varied_agent.Varied\n")
    write(lab.parent / "varied_agent.py", UNIONS)
    given = ("agent.rate=['1',2]", "agent.decay={start: 2}", "agent.layer=[relu,'3']", "agent.bounded='4'")
    agent = composed("task=reach", "agent=varied", *given, lab=lab).config.agent
    assert (agent.rate, agent.layer, agent.bounded) == ([1.0, 2.0], ("relu", 3.0), 4.0)
    assert agent.decay.start == 2.0 and isinstance(agent.rate[0], float)
    wrong = {
        "agent.rate=abc": ("number", "list", "abc"),
        "agent.rate=[1,abc]": ("agent.rate.1", "number", "abc"),
        "agent.rate=null": ("null",),
        "agent.decay={stat: 2}": ("`stat`", "`start`"),
        "agent.layer=[relu,wide]": ("agent.layer.1", "number"),
        "agent.bounded='-4'": ("0 or more",),
    }
    for override, named in wrong.items():
        (line,) = problems("task=reach", "agent=varied", override, lab=lab)
        assert_names(line, override, *named)


def test_interpolations_are_resolved_and_then_checked(lab: Path) -> None:
    assert composed("seed=${env.decimation}").plain["seed"] == 4
    said = refusal("agent.agent.entropy_loss_scale=${agent.agent.class}")
    assert_names(said, "agent.agent.entropy_loss_scale", "number", "PPO")


def test_the_frozen_configuration_reads_back_typed(tmp_path: Path) -> None:
    config = composed("task=h1_failure", "env.events.push_robot=null").plain
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    typed = load_config(file)
    assert isinstance(typed.env, ManagerEnvCfg)
    assert isinstance(typed.env.events["change_joint_torque"], EventTermCfg)
    assert typed.env.events["push_robot"] is None
    assert typed.env.observations["policy"].terms["joint_pos"].noise == 0.01
    assert typed.hardware.num_threads() >= 1
    assert to_plain(typed) == config


def test_a_frozen_configuration_of_other_code_is_refused_by_key() -> None:
    with raises_naming(ConfigError, "ManagerEnvCfg", "num_env", "num_envs"):
        build(ManagerEnvCfg, {"num_env": 3})


def test_what_only_the_launcher_sets_is_refused_in_a_file(lab: Path) -> None:
    write(lab / "experiment/sly.yaml", "# @package _global_\n# Sly\nresume: latest\nchoices: {task: reach}\n")
    found = problems("experiment=sly", lab=lab)
    assert_names(about(found, "sly.yaml:3"), "resume", "resume=<run reference>")
    assert_names(about(found, "sly.yaml:4"), "choices", "task=<name>")


def test_another_primary_config_and_a_resume_with_a_plus(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lab.parent)
    assert launch(["--config-name", "other", "task=reach"], CONF) == 2
    assert_names(capsys.readouterr().err, "--config-name other", "config.yaml", "experiment=<name>")
    assert launch(["+resume=nothing"], CONF) == 2
    assert_names(capsys.readouterr().err, "nothing", "outputs", "multirun")


def test_what_changed_between_two_compositions_is_read_again(lab: Path) -> None:
    file = write(lab / "experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /task: lean\nseed: 5\n")
    age(lab)
    first = composed("experiment=e", "name=a", lab=lab)
    assert first.plain["seed"] == 5
    file.write_text(file.read_text().replace("seed: 5", "seed: 6\nagent: {gian: 1}"))
    assert_names(refusal("experiment=e", "name=a", lab=lab), "e.yaml:5", "gian", "agent")
    file.write_text(file.read_text().replace("seed: 6\nagent: {gian: 1}", "seed: 7"))
    assert composed("experiment=e", "name=a", lab=lab).plain["seed"] == 7
    write(lab / "agent/wrong.yaml", "x: 1\n")
    assert_names(refusal("experiment=e", "agent=wrong", lab=lab), "agent/wrong.yaml", "_target_")
    file.unlink()
    assert_names(refusal("experiment=e", "name=a", lab=lab), "experiment=e", "no experiment")


def test_compositions_of_the_same_options_share_nothing_that_can_change(lab: Path) -> None:
    age(lab)
    a, b = (composed("task=lean", "env.evaluation.grid.0=[1,0]", f"seed={seed}", lab=lab) for seed in (1, 2))
    a.plain["env"]["rewards"].clear()
    a.plain["choices"]["task"] = a.config.choices["task"] = "other"
    a.config.env.rewards.clear()
    a.tree.data["env"]["evaluation"]["grid"][0][0] = 9
    a.hydra.hydra.job.num = 3
    again = composed("task=lean", "seed=2", lab=lab)
    assert b.plain["env"]["rewards"] and again.plain["env"]["rewards"] == b.plain["env"]["rewards"]
    assert again.plain["env"]["evaluation"]["grid"][0] != [1, 0]
    assert again.choices["task"] == again.config.choices["task"] == "lean"
    assert again.config.env.rewards
    assert again.hydra_record()["hydra"]["overrides"]["task"] == ["task=lean", "seed=2"]
    assert "num" not in again.hydra_record()["hydra"]["job"] or again.hydra_record()["hydra"]["job"]["num"] == "???"
    assert a.types == again.types


def test_the_typed_configuration_and_what_is_frozen_stay_equal() -> None:
    first = composed("task=reach", "logger=[csv]", "data=[a,b]")
    changed = first.copy()
    for key, value in {"policy": "p.pt", "data.1": "c", "hardware.threads": 3, "runs": ["r"]}.items():
        changed.set_value(key, value)
    assert (changed.config.policy, changed.config.data, changed.config.runs) == ("p.pt", ["a", "c"], ["r"])
    assert changed.config.hardware.threads == changed.plain["hardware"]["threads"] == 3
    assert (first.config.policy, first.config.data, first.config.hardware.threads) == (None, ["a", "b"], None)
    for one in (first, changed):
        assert to_plain(one.config) == one.plain
        assert list(one.plain) == list(field_types(Config))


def test_a_further_composition_is_quick(lab: Path) -> None:
    age(lab)
    composed("task=lean", "seed=0", lab=lab)
    seconds = []
    for seed in range(1, 12):
        began = time.process_time()
        composed("task=lean", f"seed={seed}", lab=lab)
        seconds.append(time.process_time() - began)
    assert sorted(seconds)[2] < 0.05, "the files are read again for each job of a sweep"


@pytest.mark.parametrize(
    "overrides",
    [
        ["task=reach"],
        ["experiment=go2_genesis", "hydra.mode=RUN"],
        ["hydra/sweeper=basic", "logger=[csv]", "task=go2_flat"],
        ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=3"],
    ],
)
def test_the_node_of_hydra_equals_the_one_that_hydra_composes(overrides: list[str]) -> None:
    hydra = make_loader([CONF]).load_configuration("config", overrides, RunMode.RUN).hydra
    node = compose(overrides, [CONF], sweep=True).node
    assert node.plain == OmegaConf.to_container(node.config, enum_to_str=True)
    assert node.plain == OmegaConf.to_container(hydra, enum_to_str=True)
    assert OmegaConf.get_type(node.config) is OmegaConf.get_type(hydra)


def test_settings_of_hydra_in_an_experiment_are_in_its_node(lab: Path) -> None:
    text = "# @package _global_\n# E\nhydra:\n  job:\n    env_set:\n      MODEL: ${seed}\n"
    write(lab / "experiment/variables.yaml", text)
    made = composed("experiment=variables", "seed=7", lab=lab)
    assert made.hydra_record()["hydra"]["job"]["env_set"] == {"MODEL": "${seed}"}
    assert made.environment == {"MODEL": "7"}
    assert composed("task=reach", lab=lab).environment == {}
    write(lab / "experiment/variables.yaml", text.replace("MODEL", "OTHER"))
    assert composed("experiment=variables", lab=lab).environment == {"OTHER": "0"}


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("hydra.job.env_set.LAB_TOKEN=abcdef", "hydra.job.env_set.LAB_TOKEN"),
        ("hydra.job.env_set.STORE=s3://me:abcdef@host", "hydra.job.env_set.STORE"),
        ("hydra.job.env_set.NUMBER='${nothing}'", "nothing"),
    ],
)
def test_a_variable_that_no_record_may_hold_or_that_has_no_value_is_refused(argument: str, key: str) -> None:
    with raises_naming(ConfigError, key) as error:
        composed("task=reach", argument)
    assert "abcdef" not in str(error.value)


def test_options_of_hydra_in_a_folder_of_the_user_are_read_again(lab: Path) -> None:
    text = "# @package hydra.sweeper\n_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\n"
    option = lab / "hydra/sweeper/mine.yaml"
    for batch in (3, 4):
        write(option, f"{text}max_batch_size: {batch}\nparams: null\n")
        made = compose(["hydra/sweeper=mine"], [CONF, lab], sweep=True)
        assert made.hydra_record()["hydra"]["sweeper"]["max_batch_size"] == batch


def test_the_composition_of_another_task_is_quick() -> None:
    composed("task=reach")
    seconds = []
    for task in ("go2_flat", "h1_flat", "go2_amp", "h1_failure"):
        began = time.process_time()
        composed(f"task={task}", "hardware.max_jobs=3")
        seconds.append(time.process_time() - began)
    assert min(seconds) < 0.1, "Hydra's own options are composed again for each task"
