"""The dry run and the preflight: what they say, what they refuse, and what they cost."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names, missing_names
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.config.compose import ComposedConfig, compose
from regimen.orchestration import dry_run
from regimen.orchestration.memory_check import PROCESS_BYTES, num_envs
from regimen.orchestration.preflight import preflight
from regimen.runs.create import create_run_dir
from regimen.system import host
from regimen.system.errors import ConfigError

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def composed(*overrides: str, lab: Path | None = None) -> ComposedConfig:
    return compose(list(overrides), [CONF, *([lab] if lab else [])])


def described(*overrides: str, lab: Path | None = None) -> str:
    run = composed(*overrides, lab=lab)
    return dry_run.describe(run, preflight(run, Path("outputs")), dry_run.run_directory(Path("outputs"), run.plain))


def refused(*overrides: str, lab: Path | None = None, parallel: int = 1) -> str:
    with pytest.raises(ConfigError) as caught:
        preflight(composed(*overrides, lab=lab), Path("outputs"), parallel)
    return str(caught.value)


def row(text: str, key: str) -> str:
    """Return what the one line of a plan that begins with this key says of it."""
    ((_, said),) = [words for line in text.splitlines() if (words := line.split(maxsplit=1))[:1] == [key]]
    return said


def line_naming(text: str, name: str) -> str:
    (line,) = [line for line in text.splitlines() if not missing_names(line, name)]
    return line


def test_the_plan_says_what_would_run_where(tmp_path: Path) -> None:
    text = described("task=reach", "hardware.threads=1")
    assert_names(row(text, "task"), "reach", CONF / "task/reach.yaml")
    assert_names(row(text, "device"), "cpu", 1)
    assert row(text, "python") == f"{sys.executable} -m regimen.runs.worker"
    assert row(text, "directory") == "outputs/<time>-reach-skrl_ppo-<4 hex>"
    assert_names(row(text, "memory"), "GiB")
    assert all(float(row(text, part)) > 0 for part in ("process", "networks"))
    assert list(tmp_path.iterdir()) == []


def test_the_plan_names_the_source_of_each_value_that_is_no_default(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    text = "# @package _global_\n# E\ndefaults:\n  - override /task: reach\nenv:\n  num_envs: 5\n  decimation: 2\n"
    write(lab / "experiment/e.yaml", text)
    said = described("experiment=e", "env.decimation=3", "env.events.reset_robot_joints=null", lab=lab)
    assert_names(row(said, "env.num_envs"), 5, 64, "conf/experiment/e.yaml:6")
    assert_names(row(said, "env.decimation"), 3, 4, "env.decimation=3")
    assert row(said, "env.events.reset_robot_joints").startswith("null")
    term, weight = "env.rewards.action_rate_l2", "env.rewards.action_rate_l2.weight"
    said = described("task=reach", f"{weight}=-3", f"~{term}", f"+{term}x=1", f"~{term}x")
    assert_names(row(said, term), "removed", "was", "weight: -0.005", f"~{term}")
    assert weight not in [line.split()[0] for line in said.splitlines() if line]
    first_words = [line.split()[0] for line in described("task=reach").splitlines() if line]
    assert "inputs" in first_words and not any("." in word for word in first_words)


def test_a_plan_in_a_fresh_process_is_light_and_leaves_nothing(tmp_path: Path, repo_root: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from regimen.cli.launch import launch\n"
        f"code = launch(['task=go2_flat', 'dry_run=true'], Path({str(CONF)!r}))\n"
        "heavy = sorted({'torch', 'numpy', 'mujoco', 'skrl', 'rich', 'matplotlib'} & set(sys.modules))\n"
        "print(code, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert list(tmp_path.iterdir()) == []


def test_too_many_envs_are_refused_with_how_much_and_which_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 4 * 2**30)
    said = refused("task=go2_flat", "env.num_envs=1000000")
    assert_names(said, "4.0 GiB")
    (fits,) = re.findall(r"env\.num_envs=(\d+)", said)
    assert preflight(composed("task=go2_flat", f"env.num_envs={fits}"), Path("outputs")).warnings == []
    refused("task=go2_flat", f"env.num_envs={int(fits) + 1}")


def test_a_replay_ring_that_takes_the_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 4 * 2**30)
    said = refused("task=reach", "agent=fast_sac", "env.num_envs=64", "agent.buffer_size=1000000")
    (fits,) = re.findall(r"agent\.buffer_size=(\d+)", said)
    sized = ("task=reach", "agent=fast_sac", "env.num_envs=64")
    assert preflight(composed(*sized, f"agent.buffer_size={fits}"), Path("outputs")).estimate.main["agent"] > 2**30
    refused(*sized, f"agent.buffer_size={int(fits) + 1}")


def test_a_sweep_counts_the_memory_of_all_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 3 * PROCESS_BYTES)
    estimate = preflight(composed("task=reach"), Path("outputs"), parallel=2).estimate
    assert estimate.main["process"] >= PROCESS_BYTES and estimate.main_bytes == sum(estimate.main.values())
    assert_names(refused("task=reach", parallel=4), "hardware.max_jobs")


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.orchestration.preflight_report.disk_free", lambda root: 5_000_000)
    assert_names(refused("task=reach"), "5 MB", "200 MB", tmp_path / "outputs")


def test_what_the_machine_lacks_is_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.orchestration.preflight_report.NVIDIA", (Path("/no/driver"),))
    said = refused("task=reach", "hardware=gpu", "hardware.interpreters.mujoco=/no/python", "env.robot=reach_arn")
    assert_names(line_naming(said, "hardware.device=cuda"), "NVIDIA", "hardware=cpu")
    assert line_naming(said, "hardware.interpreters.mujoco=/no/python")
    assert_names(line_naming(said, "env.robot=reach_arn"), "robot", "reach_arn", "reach_arm")


def test_an_unknown_device_is_refused() -> None:
    assert_names(refused("task=reach", "hardware.device=gpu"), "hardware.device=gpu", "cpu", "cuda", "cuda:<number>")


def test_more_threads_than_cores_only_warn() -> None:
    found = preflight(composed("task=reach", "hardware.threads=4096"), Path("outputs"))
    (warning,) = found.warnings
    assert_names(warning, "hardware.threads=4096", host.cores())


def test_jobs_at_once_share_the_cores() -> None:
    run = composed("task=reach")
    preflight(run, Path("outputs"), parallel=2)
    assert run.config.hardware.threads == max(1, host.cores() // 2)


def test_evaluate_needs_a_policy_and_resolves_it_to_file_and_parent(tmp_path: Path) -> None:
    from helpers.tasks import make_env
    from regimen.runs import checkpoint

    said = refused("task=reach", "stage=evaluate")
    assert_names(said, "stage=evaluate", "policy=<run reference>", "policy=<file>", "policy=pretrained:<name>")
    assert_names(refused("task=reach", "stage=evaluate", "policy=walk"), "policy=walk", "outputs", "multirun")
    run = tmp_path / "outputs/20260101-000000-reach-x-0001"
    write(
        run / "run.json",
        json.dumps({"id": "copied-from", "name": "walk", "status": "finished", "started": "2026-01-01T00:00:00+00:00"}),
    )
    checkpoint.save(run / "checkpoints/last.pt", {"format": 1, "io": make_env("reach", 1).io.to_dict()})
    made = composed("task=reach", "stage=evaluate", "policy=walk")
    found = preflight(made, Path("outputs"))
    assert made.plain["policy"] == str(run / "checkpoints/last.pt")
    assert found.parents == ["copied-from"]
    assert re.search(r"^policy +outputs/", described("task=reach", "stage=evaluate", "policy=walk"), re.M)


def test_a_dataclass_may_check_the_whole_configuration(tmp_path: Path) -> None:
    lab = make_lab(tmp_path)
    stage = tmp_path / "lab_stage.py"
    method = "\n    def problems(self, config):\n        return [f'seed {config[\"seed\"]} is odd']\n"
    stage.write_text(stage.read_text().replace("    sleep_s: float = 0.0\n", "    sleep_s: float = 0.0\n" + method))
    assert_names(refused("task=reach", "stage=act", "seed=3", lab=lab), "stage", "seed 3 is odd")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("hardware.max_jobs=0", ("1",)),
        ("hardware.threads=-3", ("1",)),
        ("seed=-1", ("0", "4294967295")),
        ("seed=4294967296", ("0", "4294967295")),
        ("name=latest", ("latest", "@")),
        ("name=walk@best", ("latest", "@")),
        ("name=''", ("latest", "@")),
        ("env.num_envs=0", ("1",)),
        ("env.actions.unit=satur", ("saturation",)),
        ("env.decimation=0", ("1",)),
        ("env.episode_length_s=0", ("env.episode_length_s=0.0", "seconds")),
        (
            "env.rewards.joint_deviation.params.joints=.*_hip_jiont",
            ("env.rewards.joint_deviation.params.joints", ".*_hip_jiont", "RR_hip_joint"),
        ),
        ("env.actions.joints=[.*_calf_joint,knee]", ("env.actions.joints", "knee", "FL_calf_joint")),
        (
            "env.rewards.joint_deviation.params.joints='(x'",
            ("env.rewards.joint_deviation.params.joints", "(x", "regular expression"),
        ),
        (
            "env.terminations.base_contact.params.bodies=bse",
            ("env.terminations.base_contact.params.bodies", "bse", "base"),
        ),
    ],
)
def test_figures_and_names_that_cannot_be_are_refused(override: str, named: tuple[str, ...]) -> None:
    said = refused("task=go2_flat", override)
    assert_names(said, override)
    assert_names(said.replace(override, "", 1), *named)


@pytest.mark.parametrize(
    "task", [p.stem for p in (CONF / "task").glob("*.yaml") if p.stem not in ("isaaclab", "mjlab")]
)
def test_every_task_names_joints_and_bodies_of_its_robot(task: str) -> None:
    preflight(composed(f"task={task}"), Path("outputs"))


def test_a_swept_number_of_jobs_may_not_be_zero(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["-m", "task=reach", "seed=0,1", "hardware.max_jobs=0"], CONF) == 2
    assert_names(capsys.readouterr().err, "hardware.max_jobs=0", 1)


def test_evaluate_needs_memory_for_its_own_envs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "policy.pt", "")
    made = ["task=go2_flat", "stage=evaluate", "policy=policy.pt", "stage.envs_per_command=10"]
    assert num_envs(composed(*made)) == 40
    monkeypatch.setattr("regimen.system.host.memory_available", lambda: 2 * PROCESS_BYTES)
    said = refused(*made[:3], "stage.envs_per_command=10000")
    assert_names(line_naming(said, "40000"), "GiB", "stage=evaluate")


def test_the_plan_of_a_sweep_shows_the_first_job_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["-m", "task=reach", "env.num_envs=8,4096", "dry_run=true"], CONF) == 0
    of_all, of_first = re.findall(r"^memory\D+([\d.]+)", capsys.readouterr().out, re.M)
    assert float(of_all) > float(of_first)


def test_runs_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "outputs", "a file")
    assert_names(refused("task=reach"), tmp_path / "outputs", "folder")


@pytest.mark.parametrize(
    ("argument", "default"),
    [
        ("env.events.push_robot=null", "(was {func: push_by_setting_velocity"),
        ("env.evaluation.grid=[[1,0,0]]", "(was [[0.0, 0.0, 0.0]"),
        ("env.evaluation.grid.0=[1,0,0]", "(was [0.0, 0.0, 0.0])"),
        ("name=walk", "(was null)"),
        ("hardware.threads=1", "(was null)"),
    ],
)
def test_the_true_default_of_a_replaced_value_is_printed(argument: str, default: str) -> None:
    (line,) = [line for line in described("task=go2_flat", argument).splitlines() if f"argument `{argument}`" in line]
    assert default in line


def test_a_new_key_has_no_default() -> None:
    argument = "env.rewards.mine={func: joint_torques_l2, weight: -1.0}"
    lines = [line for line in described("task=go2_flat", argument).splitlines() if "env.rewards.mine" in line]
    assert lines and not any("(was" in line for line in lines)


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("sim.render_size=[640]", "sim.render_size"),
        ("sim.render_size=[640,0]", "sim.render_size"),
        ("sim.render_size=[640,a]", "sim.render_size.1"),
        ("sim.render_size=640", "sim.render_size"),
        ("env.events.push_robot.interval_range_s=[5]", "env.events.push_robot.interval_range_s"),
        ("env.events.push_robot.interval_range_s=[5,-1]", "env.events.push_robot.interval_range_s"),
        ("env.commands.base_velocity.params.lin_vel_x=[2,1]", "env.commands.base_velocity.params.lin_vel_x"),
        ("env.commands.base_velocity.params.lin_vel_x=[1]", "env.commands.base_velocity.params.lin_vel_x"),
        ("env.events.push_robot.params.velocity_range={x:[1,-1]}", "env.events.push_robot.params.velocity_range.x"),
    ],
)
def test_lists_of_a_wrong_length_or_order_are_refused(argument: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed("task=go2_flat", argument)
    assert_names(str(caught.value), argument, key)


def test_resources_for_a_scheduler_without_one_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        described("task=reach", "hardware.submitit.timeout_min=5")
    assert_names(str(caught.value), "submitit.timeout_min", "hardware=slurm")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["stage=serve"], "outputs/<time>-gear_assembly-<4 hex>"),
        (["stage=collect", "policy=scripted"], "outputs/<time>-gear_assembly-<4 hex>"),
        (["stage=report"], "outputs/<time>-gear_assembly-<4 hex>"),
        (["stage=collect", "policy=pretrained:go2_flat"], "outputs/<time>-gear_assembly-skrl_ppo-<4 hex>"),
        (["stage=distill", "agent=bc"], "outputs/<time>-gear_assembly-bc-<4 hex>"),
    ],
)
def test_a_directory_is_named_after_an_agent_that_has_a_part_in_the_run(arguments: list[str], name: str) -> None:
    run = composed("task=gear_assembly", *arguments)
    assert str(dry_run.run_directory(Path("outputs"), run.plain)) == name
    made = create_run_dir(Path("outputs"), run.plain, [], [])
    pattern = re.escape(name).replace("<time>", r"\d{8}-\d{6}").replace(r"<4\ hex>", "[0-9a-f]{4}")
    assert re.fullmatch(pattern, f"outputs/{made.name}")
