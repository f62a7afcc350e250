"""Copies of code: what they hold, that they are shared, and that a process imports from them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from regimen.runs import code_snapshot


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a user's own modules, as the current directory."""
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "snap_stage.py").write_text("import snap_helper\nVALUE = 1\n")
    (folder / "snap_helper.py").write_text("HELP = 1\n")
    (folder / "snap_robot.xml").write_text("<mujoco/>")
    (folder / "snap_terms").mkdir()
    (folder / "snap_terms" / "__init__.py").write_text("")
    (folder / "snap_terms" / "table.csv").write_text("1,2\n")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return folder


CONFIG = {"stage": {"_target_": "snap_stage.Act"}, "env": {"rewards": {"lean": {"func": "regimen.no:thing"}}}}


def test_the_copy_holds_this_package_and_what_the_user_may_import(lab: Path) -> None:
    copy = code_snapshot.take(CONFIG, lab / "store")
    names = {str(p.relative_to(copy)) for p in copy.rglob("*") if p.is_file()}
    assert {"snap_stage.py", "snap_helper.py", "snap_robot.xml", "snap_terms/table.csv"} <= names
    assert {"regimen/runs/run.py", "regimen/envs/robots/go2/robot.py"} <= names
    assert not [name for name in names if name.endswith(".pyc")]


def test_the_same_content_is_copied_once_and_another_beside_it(lab: Path) -> None:
    first = code_snapshot.take(CONFIG, lab / "store")
    os.utime(first, (0, 0))
    assert code_snapshot.take(CONFIG, lab / "store") == first
    assert first.stat().st_mtime > 0, "a clean would take it for one that nobody is about to use"
    (lab / "snap_helper.py").write_text("HELP = 2\n")
    second = code_snapshot.take(CONFIG, lab / "store")
    assert second != first
    assert sorted(p.name for p in (lab / "store").iterdir()) == sorted([first.name, second.name])


def test_installed_modules_are_not_copied(lab: Path) -> None:
    names = [name for name, _ in code_snapshot.sources({"agent": {"_target_": "numpy.ndarray"}})]
    assert not [name for name in names if name.startswith("numpy")]


def test_a_process_imports_from_the_copy_though_the_original_was_edited(lab: Path) -> None:
    copy = code_snapshot.take(CONFIG, lab / "store")
    (lab / "snap_stage.py").write_text("VALUE = 2\n")
    code = "import snap_stage, regimen.runs.run as r; print(snap_stage.VALUE, r.__file__)"
    env = {**os.environ, **code_snapshot.environment(str(copy))}
    said = subprocess.run([sys.executable, "-c", code], cwd=lab, env=env, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["1", str(copy / "regimen" / "runs" / "run.py")]


def test_no_copy_changes_nothing() -> None:
    assert code_snapshot.environment(None) == {}
