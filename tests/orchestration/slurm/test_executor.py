"""What is asked of a scheduler, without one: wrong keys, and the script that sbatch gets."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from regimen.orchestration.slurm import executor


def hardware(scheduler: str = "slurm", **submitit: Any) -> dict[str, Any]:
    return {"scheduler": scheduler, "nodes": 1, "processes": 1, "max_jobs": 1, "submitit": submitit}


@pytest.mark.parametrize(
    ("scheduler", "given", "names"),
    [
        ("slurm", {"timeout": 5}, ["timeout_min"]),
        ("slurm", {"nodes": 2}, ["hardware.nodes"]),
        ("slurm", {"tasks_per_node": 2}, ["hardware.processes"]),
        ("slurm", {"name": "x"}, ["name", "run"]),
        ("slurm", {"max_num_timeout": -1}, ["0"]),
        ("slurm", {"timeout_min": 0}, ["minutes", "1"]),
        ("submitit_local", {"partition": "gpu"}, ["submitit_local"]),
        ("submitit_local", {"mem_gb": 4}, ["submitit_local"]),
        ("submitit_local", {"cpus_per_task": 4}, ["hardware.threads"]),
        ("slurm", {"timeout_min": 2, "signal_delay_s": 120}, ["signal_delay_s", "timeout_min=3"]),
        ("slurm", {"timeout_min": 1, "signal_delay_s": 55}, ["signal_delay_s", "timeout_min=2"]),
        ("slurm", {"signal_delay_s": 3600}, ["timeout_min=61"]),
        ("slurm", {"signal_delay_s": 0}, ["seconds"]),
        ("slurm", {"cpus_per_gpu": 4}, ["gpus_per_node"]),
    ],
)
def test_wrong_keys_say_what_to_type(scheduler: str, given: dict[str, Any], names: list[str]) -> None:
    (line,) = executor.problems(hardware(scheduler, **given))
    assert_names(line, f"hardware.submitit.{next(iter(given))}", *names)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"mem_gb": 8, "mem_per_cpu": "2G"}, ["mem_gb", "mem_per_cpu"]),
        ({"cpus_per_task": 4, "cpus_per_gpu": 4, "gpus_per_node": 1}, ["cpus_per_task", "cpus_per_gpu"]),
        ({"gpus_per_node": 1, "gres": "gpu:2"}, ["gpus_per_node", "gres"]),
        ({"mem_gb": 8, "additional_parameters": {"mem": "4G"}}, ["additional_parameters.mem", "mem_gb"]),
        ({"additional_parameters": {"cpus_per_task": 2}}, ["additional_parameters.cpus_per_task"]),
    ],
)
def test_values_that_exclude_each_other_are_refused(given: dict[str, Any], names: list[str]) -> None:
    (line,) = executor.problems(hardware(**given))
    assert_names(line, *names)


def test_each_process_needs_a_gpu() -> None:
    asked = hardware(gpus_per_node=1) | {"device": "cuda", "processes": 2}
    (line,) = executor.problems(asked)
    assert_names(line, "hardware.processes=2", "gpus_per_node=2")
    assert executor.problems(asked | {"submitit": {"gpus_per_node": 2}}) == []


def test_right_keys_are_no_problem() -> None:
    assert executor.problems(hardware(timeout_min=60, gres="gpu:1", additional_parameters={"nice": 5})) == []
    assert executor.problems(hardware("submitit_local", timeout_min=60, gpus_per_node=1)) == []


@pytest.fixture
def srun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that looks as if it had Slurm."""
    (tmp_path / "srun").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def script(folder: Path, asked: dict[str, Any], **more: Any) -> list[str]:
    text: str = executor.slurm_executor(folder, asked, "walk", **more)._make_submission_file_text("python x", "id")
    return text.splitlines()


def test_the_script_has_what_was_asked_for(tmp_path: Path, srun: None) -> None:
    asked = hardware(timeout_min=90, mem_gb=4, cpus_per_task=2, signal_delay_s=30, partition=None) | {"nodes": 2}
    lines = script(tmp_path, asked, code="/code of mine", after=["7", "8_1"])
    for line in (
        "#SBATCH --time=90",
        "#SBATCH --mem=4GB",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --signal=USR2@30",
        "#SBATCH --job-name=walk",
        "#SBATCH --dependency=afterok:7:8_1",
        "#SBATCH --kill-on-invalid-dep=yes",
        "export PYTHONSAFEPATH=1",
    ):
        assert line in lines
    assert not any("partition" in line or "wckey" in line for line in lines)
    (path,) = [line for line in lines if line.startswith("export PYTHONPATH=")]
    assert shlex.split(path)[1].partition("=")[2].split(":")[0] == "/code of mine"
    assert "--cpus-per-task=2" in shlex.split(lines[-1]), "srun would bind the task to one core"
    assert list(tmp_path.iterdir()) == [tmp_path / "srun"], "making a script writes nothing"


def test_a_learner_is_one_task_on_the_first_of_its_nodes(tmp_path: Path, srun: None) -> None:
    asked = hardware(cpus_per_task=2) | {"nodes": 2, "actors": 3, "channel": {"port": None}}
    lines = script(tmp_path, asked)
    assert "#SBATCH --nodes=2" in lines
    command = shlex.split(lines[-1])
    assert {"--nodes=1", "--ntasks=1", "--relative=0", "--cpus-per-task=2"} <= set(command)


def test_own_setup_comes_before_the_copy_of_the_code(tmp_path: Path, srun: None) -> None:
    lines = script(tmp_path, hardware(setup=["module load cuda"]), code="/code")
    assert lines.index("module load cuda") < lines.index("export PYTHONSAFEPATH=1")


def test_a_dependency_of_the_user_s_own_stays(tmp_path: Path, srun: None) -> None:
    asked = hardware(additional_parameters={"dependency": "singleton"})
    assert "#SBATCH --dependency=singleton,afterok:7" in script(tmp_path, asked, after=["7"])
    assert "#SBATCH --dependency=singleton" in script(tmp_path, asked)
