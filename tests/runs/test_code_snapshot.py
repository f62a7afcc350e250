"""Copies of code: what they hold, that they are shared, and that a process imports from them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.user_folder import write
from regimen.runs import code_snapshot, user_files


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
    for name in ("snap_stage", "snap_helper"):  # of the folder of another test
        monkeypatch.delitem(sys.modules, name, raising=False)
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


def test_a_copy_whose_removal_was_interrupted_is_made_again(lab: Path) -> None:
    copy = code_snapshot.take(CONFIG, lab.parent / "store")
    whole = names_in(copy)
    for name in (user_files.MANIFEST, "snap_stage.py"):
        (copy / name).unlink()
    assert code_snapshot.take(CONFIG, lab.parent / "store") == copy
    assert names_in(copy) == whole and list(copy.parent.iterdir()) == [copy]


def test_no_copy_changes_nothing() -> None:
    assert code_snapshot.environment(None) == {}


def names_in(copy: Path) -> set[str]:
    return {str(p.relative_to(copy)) for p in copy.rglob("*") if not p.is_dir()}


@pytest.mark.parametrize(
    "config",
    [
        {"env": {"id": "snap_stage:Name-v0"}},
        {"env": {"robot": "snap_stage:ARM"}},
        {"agent": {"actor": {"class_name": "snap_stage:Net"}}},
        {"agent": {"actor": {"class_name": "snap_stage.Net"}}},
        {"env": {"events": [{"func": "snap_stage:push"}]}},
    ],
)
def test_every_key_that_names_a_module_brings_its_folder(lab: Path, config: dict) -> None:
    write(lab / "models/parts/scene.xml", "<mujoco/>")
    write(lab / "data/motion.npz", "rows")
    write(lab / "nested/deep/more.py", "M = 1\n")
    names = names_in(code_snapshot.take(config, lab / "store"))
    assert {"snap_stage.py", "models/parts/scene.xml", "data/motion.npz", "nested/deep/more.py"} <= names


def test_outputs_environments_and_hidden_files_are_not_copied(lab: Path) -> None:
    for name in ("outputs/r/run.json", "multirun/s/x", ".git/x", ".venv/x", "env/pyvenv.cfg", "env/x", ".secret"):
        write(lab / name, "x")
    write(lab / "kept/run.json", "{}")
    write(lab / "kept/config.yaml", "{}")
    names = names_in(code_snapshot.take(CONFIG, lab / "store"))
    assert not [
        n for n in names if n.split("/")[0] in ("outputs", "multirun", ".git", ".venv", "env", ".secret", "kept")
    ]


def test_links_and_paths_of_the_module_lead_to_the_same_in_the_copy(tmp_path: Path, monkeypatch: Any) -> None:
    """A project with its package in src/ and its data beside src/, reached by links and by `__file__`."""
    project = tmp_path / "project"
    write(project / "pyproject.toml", "")
    write(project / "assets/arm.xml", "<mujoco/>")
    write(tmp_path / "elsewhere/far.txt", "far")
    write(project / "src/linkpack/__init__.py", "")
    write(
        project / "src/linkpack/deep/arm.py",
        "from pathlib import Path\nROOT = Path(__file__).resolve().parents[3]\n"
        "READ = [(ROOT / n).read_text() for n in ('assets/arm.xml', 'link/arm.xml', 'far.txt', 'loop/loop/far.txt')]\n"
        "assert (ROOT / 'link').resolve() == ROOT / 'assets'\n",
    )
    (project / "link").symlink_to("assets")
    (project / "loop").symlink_to(".")
    (project / "far.txt").symlink_to(tmp_path / "elsewhere/far.txt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(project / "src"))
    copy = code_snapshot.take({"env": {"robot": "linkpack.deep.nothing:ARM"}}, tmp_path / "store")
    for path in ("assets/arm.xml", "src/linkpack/deep/arm.py"):
        (project / path).write_text("raise ValueError('edited since')")
    env = {**os.environ, **code_snapshot.environment(str(copy))}
    code = "import linkpack.deep.arm as a; print(a.READ, a.__file__)"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert str(["<mujoco/>", "<mujoco/>", "far", "far"]) in said.stdout and str(copy) in said.stdout, said.stderr


def test_large_data_is_linked_and_named(lab: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(user_files, "MAX_FILE_BYTES", 2000)
    monkeypatch.setattr(user_files, "MAX_FOLDER_BYTES", 5000)
    monkeypatch.setattr(user_files, "MAX_FILES", 20)
    write(lab / "data/big.npz", "x" * 3000)
    for number in range(3):
        write(lab / f"data/middle/{number}.npz", "x" * 1900)
    for number in range(30):
        write(lab / f"many/{number}.txt", "x")
    write(lab / "model/arm.xml", '<mujoco><asset><mesh file="arm.stl"/></asset></mujoco>')
    write(lab / "model/arm.stl", "x" * 3000)
    config = CONFIG | {"sim": {"scene": "model/arm.xml"}}
    copy = code_snapshot.take(config, lab / "store")
    assert (copy / "data/big.npz").resolve() == lab / "data/big.npz"
    assert (copy / "many").is_symlink() and (copy / "many/7.txt").read_text() == "x"
    copied = [p for p in copy.rglob("*.npz") if not p.is_symlink() and "regimen" not in p.parts]  # no links
    assert sum(p.stat().st_size for p in copied) <= 5000
    assert not (copy / "model/arm.stl").is_symlink(), "a file that a model names is copied"
    assert not (copy / "snap_stage.py").is_symlink()
    assert_names(capsys.readouterr().out, lab / "data", lab / "many")


def test_a_copy_and_its_original_have_one_signature(lab: Path) -> None:
    write(lab / "models/arm.xml", '<mujoco><include file="part.xml"/></mujoco>')
    part = write(lab / "models/part.xml", "<mujocoinclude/>")
    before = code_snapshot.signature(CONFIG)
    copy = code_snapshot.take(CONFIG, lab / "store")
    write(lab / "sweep.log", "no code")
    assert code_snapshot.signature(CONFIG) == code_snapshot.signature(CONFIG, str(copy)) == before
    part.write_text("<mujocoinclude> </mujocoinclude>")
    assert code_snapshot.signature(CONFIG) != before == code_snapshot.signature(CONFIG, str(copy))


def test_the_copy_of_an_older_version_has_a_signature(tmp_path: Path) -> None:
    write(tmp_path / "regimen/a.py", "A = 1\n")
    before = code_snapshot.signature({}, str(tmp_path))
    write(tmp_path / "regimen/a.py", "A = 22\n")
    assert code_snapshot.signature({}, str(tmp_path)) != before


def test_a_model_outside_of_the_folder_lies_beside_its_copy(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "models/arm.xml", '<mujoco><include file="parts/scene.xml"/></mujoco>')
    scene = write(tmp_path / "models/parts/scene.xml", "<mujocoinclude/>")
    write(
        tmp_path / "exp/beside_arm.py",
        "from pathlib import Path\nclass ARM:\n    mjcf = Path(__file__).parent.parent / 'models' / 'arm.xml'\n",
    )
    monkeypatch.chdir(tmp_path / "exp")
    monkeypatch.syspath_prepend(str(tmp_path / "exp"))
    config = {"env": {"robot": "beside_arm:ARM"}}
    before = code_snapshot.signature(config)
    copy = code_snapshot.take(config, tmp_path / "store")
    env = {**os.environ, **code_snapshot.environment(str(copy))}
    code = "import beside_arm as a; f = a.ARM.mjcf; print(f.resolve(), (f.parent / 'parts/scene.xml').read_text())"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert str(copy) in said.stdout and "<mujocoinclude/>" in said.stdout, said.stderr
    scene.write_text("<mujocoinclude> </mujocoinclude>")
    assert code_snapshot.signature(config) != before == code_snapshot.signature(config, str(copy))
    sys.modules.pop("beside_arm")
