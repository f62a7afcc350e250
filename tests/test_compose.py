"""Every configuration mistake is refused with the place it stands in and what to type instead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from lab import make_lab, write
from regimen.compose import Composed, Refusal, compose, load_config
from regimen.errors import ConfigError
from regimen.launcher import launch
from regimen.schema import EventTermCfg, ManagerEnvCfg
from regimen.typed import build, plain

CONF = Path(__file__).resolve().parents[1] / "conf"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return make_lab(tmp_path)


def age(folder: Path) -> None:
    """Have all files look older than a clock tick, so that what was read of them may be used again."""
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))


def composed(*overrides: str, lab: Path | None = None) -> Composed:
    return compose(list(overrides), [CONF, *([lab] if lab else [])])


def refusal(*overrides: str, lab: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides, lab=lab)
    text = str(caught.value)
    assert "https://" not in text
    assert "use +" not in text
    return text


@pytest.mark.parametrize("task", [p.stem for p in (CONF / "task").glob("*.yaml")])
def test_every_task_composes(task: str) -> None:
    assert composed(f"task={task}").choices["task"] == task


@pytest.mark.parametrize("experiment", [p.stem for p in (CONF / "experiment").glob("*.yaml")])
def test_every_experiment_composes_and_stays_small(experiment: str) -> None:
    assert composed(f"experiment={experiment}").choices["experiment"] == experiment
    assert len((CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()) < 30


@pytest.mark.parametrize("stage", [p.stem for p in (CONF / "stage").glob("*.yaml")])
@pytest.mark.parametrize("hardware", [p.stem for p in (CONF / "hardware").glob("*.yaml")])
def test_every_stage_and_hardware_composes(stage: str, hardware: str) -> None:
    config = composed("task=reach", f"stage={stage}", f"hardware={hardware}").config
    assert config["choices"] | {"stage": stage, "hardware": hardware} == config["choices"]


def test_the_overrides_of_the_manual_work() -> None:
    config = composed(
        *("task=h1_failure", "env.events.change_joint_torque=null"),
        *("agent.trainer.timesteps=64000", "env.num_envs=256"),
    ).config
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
    node = composed("task=go2_flat", override).config["env"]
    for key in path:
        node = node[key]
    assert node == value


def test_a_removed_term_is_gone() -> None:
    assert "push_robot" not in composed("task=go2_flat", "~env.events.push_robot").config["env"]["events"]


WRONG = {
    "num_envs=8": "argument `num_envs=8`: There is no key `num_envs`. Write `env.num_envs`.",
    "processes=2": "argument `processes=2`: There is no key `processes`. Write `hardware.processes`.",
    "tsk=reach": "argument `tsk=reach`: There is no key `tsk`. Did you mean `task`?",
    "task=go3_flat": "there is no task `go3_flat`. Did you mean `go2_flat`",
    "agent=null": "the group `agent` needs an option",
    "experiment=null": "choose `experiment=none`",
    "experiment=h1_helthy": "Did you mean `h1_healthy`?",
    "+experiment=none": "write `experiment=none`",
    "~agent": "the group `agent` needs an option",
    "agent@foo=skrl_ppo": "agent",
    "env.events.chnage_joint_torque=null": "no event `chnage_joint_torque` to switch off. Did you mean `change",
    "env.events.push_robt.mode=reset": "There is no event `push_robt`. Did you mean `push_robot`? A new one",
    "~env.events.push_robt": "there is no `env.events.push_robt` to remove. Did you mean `push_robot`?",
    "env.rewrds.alive.weight=1": "There is no key `rewrds` in `env`. Did you mean `rewards`?",
    "env.rewards.alive.weigth=1": "There is no key `weigth` in `env.rewards.alive`. Did you mean `weight`?",
    "env.rewards.feet_height.params.hight=1": "`feet_height_exp` has no parameter `hight`. Did you mean `height`?",
    "env.rewards.alive.func=is_alvie": "`is_alvie` is no reward function. `regimen.envs.terms.rewards` defines no",
    "env.rewards.alive.func=my_terms:alive": "There is no module `my_terms`",
    "env.events.push_robot.mode=intervall": "`intervall` is no event mode. Did you mean `interval`?",
    "env.events.push_robot.interval_range_s=null": "needs `interval_range_s: [shortest, longest]`",
    "env.events.push_robot.params.velocity_range=3": "`env.events.push_robot.params.velocity_range` must be a mapping",
    "agent.trainer.timestep=9": "`timestep` is no setting of TrainerCfg. Did you mean `timesteps`?",
    "agent.agent.learning_rat=1": "`learning_rat` is no setting of PPO_CFG. Did you mean `learning_rate`",
    "agent.agent.learning_rate=fast": "`agent.agent.learning_rate` must be a number or a list, not `fast`",
    "agent.agent.experiment.wnadb=true": "`wnadb` is no setting of ExperimentCfg. Did you mean `wandb`?",
    "hardware.thread=2": "There is no key `thread` in `hardware`. Did you mean `threads`?",
    "sim.dtt=0.1": "There is no key `dtt` in `sim`. Did you mean `dt`?",
    "stage.keep_checkpoint=1": "Did you mean `keep_checkpoints`",
    "seed=hello": "`seed` must be a whole number, not `hello`",
    "seed=1e3": "`seed` must be a whole number",
    "env.num_envs=many": "`env.num_envs` must be a whole number, not `many`",
    "env=3": "`env` holds keys, not the value `3`",
    "+env.foo=3": "There is no key `foo` in `env`",
    "++agent.foo=1": "There is no key `foo` in `agent`",
    "seed": "argument `seed`: expected key=value",
    "task": "write `task=<name>`",
    "env.evaluation.grid[0]=1": "write `env.evaluation.grid.0=1`",
    "name=a b(c": "Quote it",
    "seed=1,2": "add `-m`",
    "seed=${nothing}": "argument `seed=${nothing}`: `seed`: Interpolation key 'nothing' not found",
    "hydra.foo=1": "argument `hydra.foo=1`: Could not override 'hydra.foo'",
    "env.evaluation.grid.99=[1,0,0]": "the list has no such element",
    "env.evaluation.grid.first=[1,0,0]": "the list has no such element",
    "hydra.searchpath=[x]": "--config-dir",
    "hydra.run.dir=x": "the launcher names run directories itself",
    "hydra.sweep.dir=x": "the launcher names run directories itself",
    "++resume=x": "`resume` continues a run: write it alone",
    "choices.task=reach": "`choices` is filled in by the launcher",
}


@pytest.mark.parametrize("override", WRONG)
def test_a_wrong_argument_is_refused_by_name(override: str) -> None:
    said = refusal("task=h1_failure", override) if not override.lstrip("+~").startswith("task") else refusal(override)
    assert WRONG[override] in said


def test_all_problems_are_said_at_once() -> None:
    said = refusal("seed=hello", "env.num_envs=many", "env.rewrds.x=1")
    assert said.startswith("3 problems, nothing was started:")
    with pytest.raises(Refusal) as caught:
        composed("tsk=1", "task=go3_flat", "agent=nothing")
    assert len(caught.value.lines) == 2  # choices first: keys depend on them


def test_a_typo_in_an_experiment_names_file_and_line(lab: Path) -> None:
    write(
        lab / "experiment/typo.yaml",
        "# @package _global_\n# Wrong\ndefaults:\n  - override /task: reach\nenv:\n  events:\n    reset_robt: null\n"
        "agent:\n  trainer: {timestep: 3}\nnam: x\n",
    )
    said = refusal("experiment=typo", lab=lab)
    assert "typo.yaml:7: There is no event `reset_robt` to switch off. Did you mean `reset_robot_joints`?" in said
    assert "typo.yaml:9: `timestep` is no setting of TrainerCfg" in said
    assert "typo.yaml:10: There is no key `nam`. Did you mean `name`" in said


def test_a_wrong_choice_in_an_experiment_names_the_file(lab: Path) -> None:
    file = write(lab / "experiment/gone.yaml", "# @package _global_\ndefaults:\n  - override /task: reech\n")
    assert f"{file}: there is no task `reech`. Did you mean `reach`?" in refusal("experiment=gone", lab=lab)


def test_typos_in_task_and_agent_files_name_file_and_line(lab: Path) -> None:
    write(lab / "task/bad.yaml", "# @package env\ndefaults: [reach, _self_]\nrewards:\n  near: {wieght: 1}\n")
    write(lab / "agent/bad.yaml", "_target_: regimen.agents.skrl_ppo.SkrlPpo\nmodles: {}\n")
    said = refusal("task=bad", "agent=bad", lab=lab)
    assert "bad.yaml:4: There is no key `wieght` in `env.rewards.near`. Did you mean `weight`?" in said
    assert "bad.yaml:2: There is no key `modles` in `agent`. Did you mean `models`?" in said


def test_missing_values_name_the_task_file(lab: Path) -> None:
    file = write(lab / "task/empty.yaml", "# @package env\nrobot: reach_arm\n")
    assert f"{file}: `env.num_envs` has no value" in refusal("task=empty", lab=lab)


def test_a_missing_header_line_is_named(lab: Path) -> None:
    write(lab / "task/headless.yaml", "robot: reach_arm\n")
    write(lab / "experiment/headless.yaml", "defaults:\n  - override /task: reach\n")
    assert "headless.yaml: the first line must be `# @package env`" in refusal("task=headless", lab=lab)
    assert "headless.yaml: the first line must be `# @package _global_`" in refusal("experiment=headless", lab=lab)


def test_broken_yaml_names_file_and_line(lab: Path) -> None:
    write(lab / "agent/broken.yaml", "_target_: a.B\nx: [1\ny: 2\n")
    assert "broken.yaml:3: not valid YAML" in refusal("agent=broken", lab=lab)


def test_a_wrong_class_names_the_file(lab: Path) -> None:
    write(lab / "agent/wrong.yaml", "_target_: regimen.agents.skrl_ppo.SkrlPpoo\n")
    write(lab / "agent/none.yaml", "x: 1\n")
    assert "wrong.yaml: `_target_: regimen.agents.skrl_ppo.SkrlPpoo`" in refusal("agent=wrong", lab=lab)
    assert "none.yaml names no class: it needs `_target_: pkg.mod.Class`" in refusal("agent=none", lab=lab)


def test_an_option_hidden_by_a_built_in_one_is_refused(lab: Path) -> None:
    write(lab / "task/reach.yaml", "# @package env\nrobot: h1\n")
    assert "has the same name. Rename yours" in refusal("task=reach", lab=lab)


def test_a_missing_config_dir_offers_the_near_one(lab: Path) -> None:
    assert "there is no folder" in refusal(lab=lab.parent / "cnof")
    assert "Did you mean `conf`?" in refusal(lab=lab.parent / "cnof")


def test_own_terms_and_options_work_and_are_checked(lab: Path) -> None:
    config = composed("task=lean", "env.rewards.leaning.params.limit=0.2", lab=lab).config
    assert config["env"]["rewards"]["leaning"]["params"] == {"limit": 0.2}
    assert config["env"]["rewards"]["near"]["weight"] == 1.0  # of the task it builds on
    said = refusal("task=lean", "env.rewards.leaning.params.axes=y", lab=lab)
    assert "`lab_terms:leaning` has no parameter `axes`. Did you mean `axis`?" in said
    assert "defines no `leening`" in refusal("task=lean", "env.rewards.leaning.func=lab_terms:leening", lab=lab)


def test_an_experiment_beats_the_task_and_an_argument_beats_both(lab: Path) -> None:
    write(lab / "experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /task: reach\nenv: {num_envs: 5}\n")
    assert composed("experiment=e", lab=lab).config["env"]["num_envs"] == 5
    assert composed("experiment=e", "env.num_envs=6", lab=lab).config["env"]["num_envs"] == 6


def test_an_experiment_may_use_another_agent_with_its_own_type(lab: Path) -> None:
    write(lab / "agent/zero.yaml", "_target_: lab_agent.Zero\ngain: 2\n")
    code = "from dataclasses import dataclass\n\n@dataclass\nclass ZeroCfg:\n    gain: float = 1.0\n\nclass Zero: ...\n"
    write(lab.parent / "lab_agent.py", code.replace("gain", "_target_: str = 'lab_agent.Zero'\n    gain", 1))
    write(lab / "experiment/z.yaml", "# @package _global_\ndefaults:\n  - override /agent: zero\nagent: {gain: 3}\n")
    assert composed("experiment=z", "agent.gain=4", lab=lab).config["agent"]["gain"] == 4.0
    assert "Did you mean `gain`?" in refusal("experiment=z", "agent.gian=4", lab=lab)


def test_interpolations_are_resolved_and_then_checked(lab: Path) -> None:
    assert composed("seed=${env.decimation}").config["seed"] == 4
    assert "must be a number" in refusal("agent.agent.entropy_loss_scale=${agent.agent.class}")


def test_the_frozen_configuration_reads_back_typed(tmp_path: Path) -> None:
    config = composed("task=h1_failure", "env.events.push_robot=null").config
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    typed = load_config(file)
    assert isinstance(typed.env, ManagerEnvCfg)
    assert isinstance(typed.env.events["change_joint_torque"], EventTermCfg)
    assert typed.env.events["push_robot"] is None
    assert typed.env.observations["policy"].terms["joint_pos"].noise == 0.01
    assert typed.hardware.num_threads() >= 1
    assert plain(typed) == config


def test_a_frozen_configuration_of_other_code_is_refused_by_key() -> None:
    with pytest.raises(ConfigError, match=r"has no key `num_env`. Did you mean `num_envs`"):
        build(ManagerEnvCfg, {"num_env": 3})


def test_what_only_the_launcher_sets_is_refused_in_a_file(lab: Path) -> None:
    write(lab / "experiment/sly.yaml", "# @package _global_\n# Sly\nresume: latest\nchoices: {task: reach}\n")
    said = refusal("experiment=sly", lab=lab)
    assert "sly.yaml:3: `resume` continues a run" in said
    assert "sly.yaml:4: `choices` is filled in by the launcher" in said


def test_another_primary_config_and_a_resume_with_a_plus(
    lab: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(lab.parent)
    assert launch(["--config-name", "other", "task=reach"], CONF) == 2
    assert "there is one primary config, config.yaml" in capsys.readouterr().err
    assert launch(["+resume=nothing"], CONF) == 2
    assert "`nothing` names no run" in capsys.readouterr().err


def test_what_changed_between_two_compositions_is_read_again(lab: Path) -> None:
    file = write(lab / "experiment/e.yaml", "# @package _global_\ndefaults:\n  - override /task: lean\nseed: 5\n")
    age(lab)
    first = composed("experiment=e", "name=a", lab=lab)
    assert first.config["seed"] == 5
    file.write_text(file.read_text().replace("seed: 5", "seed: 6\nagent: {gian: 1}"))
    assert "There is no key `gian` in `agent`" in refusal("experiment=e", "name=a", lab=lab)
    file.write_text(file.read_text().replace("seed: 6\nagent: {gian: 1}", "seed: 7"))
    assert composed("experiment=e", "name=a", lab=lab).config["seed"] == 7
    write(lab / "agent/wrong.yaml", "x: 1\n")
    assert "names no class" in refusal("experiment=e", "agent=wrong", lab=lab)
    file.unlink()
    assert "there is no experiment `e`" in refusal("experiment=e", "name=a", lab=lab)


def test_compositions_of_the_same_options_share_nothing_that_can_change(lab: Path) -> None:
    age(lab)
    a, b = (composed("task=lean", "env.evaluation.grid.0=[1,0]", f"seed={seed}", lab=lab) for seed in (1, 2))
    a.config["env"]["rewards"].clear()
    a.config["choices"]["task"] = "other"
    a.tree.data["env"]["evaluation"]["grid"][0][0] = 9
    a.hydra.hydra.job.num = 3
    again = composed("task=lean", "seed=2", lab=lab)
    assert b.config["env"]["rewards"] and again.config["env"]["rewards"] == b.config["env"]["rewards"]
    assert again.config["env"]["evaluation"]["grid"][0] != [1, 0]
    assert again.choices["task"] == "lean"
    assert again.record()["hydra"]["overrides"]["task"] == ["task=lean", "seed=2"]
    assert "num" not in again.record()["hydra"]["job"] or again.record()["hydra"]["job"]["num"] == "???"
    assert a.types == again.types


def test_a_further_composition_is_quick(lab: Path) -> None:
    age(lab)
    composed("task=lean", "seed=0", lab=lab)
    seconds = []
    for seed in range(1, 12):
        began = time.process_time()
        composed("task=lean", f"seed={seed}", lab=lab)
        seconds.append(time.process_time() - began)
    assert sorted(seconds)[2] < 0.05, "the files are read again for each job of a sweep"
