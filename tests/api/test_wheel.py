"""A wheel, installed without the checkout: options and policies come with it, and runs work from any folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("src", "conf", "pretrained", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
pytestmark = pytest.mark.slow


def run(command: list[str | Path], folder: Path) -> str:
    """Run a command as in a shell of a user's own, which knows nothing of the checkout."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=3 * PATIENCE_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of an environment that has the wheel, and the dependencies of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["-q", "--no-deps", "--no-index"]
    run([*pip, "wheel", *offline, "--no-build-isolation", "-w", folder / "dist", source], folder)
    (wheel,) = (folder / "dist").glob("regimen-*.whl")
    run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], folder)
    python = folder / "venv" / "bin" / "python"
    run([*pip, "--python", python, "install", *offline, wheel], folder)
    (packages,) = (folder / "venv").glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files do not count
    return python.parent


def test_compose_through_import(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, regimen\n"
        "config = regimen.compose(['task=reach', 'env.num_envs=4'])\n"
        "from regimen.runs.code_snapshot import sources\n"
        "print(json.dumps([regimen.__file__, config.env.num_envs, [name for name, _ in sources({})]]))"
    )
    file, num_envs, copied = json.loads(run([installed / "python", "-c", code], tmp_path))
    assert Path(file).is_relative_to(installed.parent) and num_envs == 4
    assert "regimen/api.py" in copied
    assert [name for name in copied if name.startswith(("regimen/conf/", "regimen/pretrained/"))] == []


def test_options_and_the_checker_are_there(installed: Path, tmp_path: Path) -> None:
    assert_names(run([installed / "regimen", "list", "tasks"], tmp_path), "reach", "go2_flat")
    assert "FAILED" not in run([installed / "regimen", "check-env", "task=point_goal"], tmp_path)


def test_a_training_through_the_console_script_and_its_policy_published(installed: Path, tmp_path: Path) -> None:
    arguments = ["task=reach", "env.num_envs=4", "agent.trainer.timesteps=48", "name=arm"]
    run([installed / "regimen", "launch", *arguments], tmp_path)
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/run.json")]
    assert record["status"] == "finished" and record["headline"]["samples"] == 4 * 48
    run([installed / "regimen", "publish", "arm", "mine"], tmp_path)
    assert (tmp_path / "pretrained" / "mine" / "policy.pt").is_file()
    plan = ["stage=evaluate", "task=reach", "policy=pretrained:mine", "dry_run=true"]
    assert_names(run([installed / "regimen", "launch", *plan], tmp_path), "pretrained/mine/policy.pt")


def test_a_pretrained_policy_is_found(installed: Path, tmp_path: Path) -> None:
    arguments = ["stage=evaluate", "task=go2_flat", "policy=pretrained:go2_flat", "dry_run=true"]
    plan = run([installed / "regimen", "launch", *arguments], tmp_path)
    assert_names(plan, "go2_flat")
    assert str(installed.parent) in plan
    assert list(tmp_path.iterdir()) == []
