"""Runs of version 0.1, which had other module names, are shown, resumed, evaluated, exported and repeated.

`tests/fixtures/runs_0_1.tar.gz` was written by version 0.1 (commit 603ffbc): a training stopped half way, an rsl_rl
training with exported policies, a sweep of two seeds, and a pipeline of two trainings and their evaluations.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from helpers.subprocesses import PATIENCE_S
from regimen.config.structured import load_config
from regimen.config.targets import resolve
from regimen.system.moved_modules import MOVED, current_name

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = ROOT / "tests/fixtures/runs_0_1.tar.gz"
RECORDED_ROOT = "/home/user/regimen"
STOPPED, RSL_RL = "old_stopped", "old_rsl"


@pytest.fixture
def old_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the recorded runs, as if it had always been here."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    for file in tmp_path.rglob("*"):
        if file.suffix in (".json", ".yaml", ".jsonl"):
            text, times = file.read_text(), file.stat()
            file.write_text(text.replace(RECORDED_ROOT, str(tmp_path)))
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_of(folder: Path, name: str) -> Path:
    (found,) = [p.parent for p in folder.glob("outputs/*/run.json") if json.loads(p.read_text())["name"] == name]
    return found


def launch(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(ROOT / "launch.py"), *arguments], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def regimen(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "regimen.cli.main", *arguments], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_frozen_configurations_are_read(old_runs: Path) -> None:
    read = [load_config(path.with_name("config.yaml")) for path in old_runs.rglob("run.json")]
    assert len(read) == 8
    assert {type(config.sim).__name__ for config in read} == {"MujocoWorldCfg"}
    assert {type(config.agent).__name__ for config in read} == {"SkrlPpoCfg", "RslRlPpoCfg"}


def test_every_target_of_version_0_1_is_found() -> None:
    with tarfile.open(ARCHIVE) as archive:
        texts = [archive.extractfile(m).read() for m in archive if m.name.endswith("/config.yaml")]  # type: ignore[union-attr]
    targets = {
        node["_target_"]
        for text in texts
        for node in yaml.safe_load(text).values()
        if isinstance(node, dict) and "_target_" in node
    }
    assert "regimen.sims.mujoco.MujocoWorld" in targets and "regimen.agents.rsl_rl_ppo.RslRlPpo" in targets
    for target in targets:
        assert resolve(target).__name__ == target.rpartition(".")[2]


@pytest.mark.parametrize("old", sorted(MOVED))
def test_a_moved_module_is_where_the_table_says(old: str) -> None:
    new = Path(ROOT, "src", *current_name(old).split("."))
    assert new.with_suffix(".py").is_file() or (new / "__init__.py").is_file()
    assert not Path(ROOT, "src", *old.split(".")).with_suffix(".py").exists()


def test_lists_and_views_read_the_old_records(old_runs: Path) -> None:
    table = regimen("runs", "--json")
    assert {row["name"] for row in json.loads(table)} >= {STOPPED, RSL_RL}
    assert "preempted" in regimen("show", STOPPED)
    assert "finished" in regimen("show", RSL_RL)
    judged = next(
        p.parent for p in old_runs.glob("outputs/*/run.json") if json.loads(p.read_text())["stage"] == "evaluate"
    )
    parent = json.loads((judged / "run.json").read_text())["parents"][0]
    assert parent in regimen("lineage", judged.name)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_its_end(old_runs: Path) -> None:
    launch(f"resume={STOPPED}")
    record = json.loads((run_of(old_runs, STOPPED) / "run.json").read_text())
    assert record["status"] == "finished" and record["headline"]["samples"] == 4 * 2400


@pytest.mark.slow
@pytest.mark.parametrize("policy", [f"{RSL_RL}@best", "exported/best.torchscript.pt"])
def test_old_policies_are_evaluated(old_runs: Path, policy: str) -> None:
    if policy.startswith("exported/"):
        policy = str(run_of(old_runs, RSL_RL) / policy)
    launch("stage=evaluate", "task=reach", f"policy={policy}", "stage.envs_per_command=2", "name=judged")
    assert json.loads((run_of(old_runs, "judged") / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_an_old_policy_is_exported(old_runs: Path) -> None:
    target = run_of(old_runs, RSL_RL) / "exported/best.torchscript.pt"
    target.unlink()
    regimen("export", RSL_RL, "format=torchscript")
    assert target.is_file()


@pytest.mark.slow
def test_a_finished_sweep_has_nothing_left_and_a_killed_job_is_repeated(old_runs: Path) -> None:
    (sweep,) = old_runs.glob("multirun/*/sweep.json")
    launch(f"sweep={sweep.parent}")
    job = next(sweep.parent.glob("*.001"))
    record = json.loads((job / "run.json").read_text())
    (job / "run.json").write_text(json.dumps(record | {"status": "killed", "exit_code": 137}))
    (job / "result.json").unlink()
    launch(f"sweep={sweep.parent}")
    assert json.loads((job / "run.json").read_text())["status"] == "finished"


@pytest.mark.slow
def test_a_pipeline_repeats_its_steps_once_because_the_code_changed(old_runs: Path) -> None:
    before = set(old_runs.glob("outputs/2*"))
    launch("--config-dir", "conf_tiny", "pipeline=old_study")
    assert len(set(old_runs.glob("outputs/2*")) - before) == 4
    launch("--config-dir", "conf_tiny", "pipeline=old_study")
    assert len(set(old_runs.glob("outputs/2*")) - before) == 4
