"""The commands: help, resume and refusals of the launcher, `regimen launch` and `regimen list`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from helpers.messages import assert_names
from helpers.user_folder import make_lab
from regimen.cli import main
from regimen.cli.launch import launch

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_help_lists_every_option_and_imports_nothing_heavy(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["--help"], CONF) == 0
    said = capsys.readouterr().out
    for file in CONF.glob("*/*.yaml"):
        assert f"\n  {file.stem} " in said
    code = (
        "import sys; from regimen.cli.launch import launch; from pathlib import Path; launch(['-h'], Path(sys.argv[1]))"
    )
    code += "; sys.exit(len({'torch', 'numpy', 'mujoco'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code, str(CONF)], check=True, capture_output=True)


def test_regimen_launch_is_launch_py_from_any_folder(capsys: pytest.CaptureFixture[str]) -> None:
    before = list(sys.argv)
    assert launch(["task=reach", "seed=3", "--cfg", "job"], CONF) == 0
    composed = capsys.readouterr().out
    assert main.main(["launch", "task=reach", "seed=3", "--cfg", "job"]) == 0
    assert capsys.readouterr().out == composed
    assert main.main(["launch", "task=reach", "seed=3", "--cfg", "hydra"]) == 0  # Hydra reads the process's arguments
    assert "- seed=3" in capsys.readouterr().out
    assert main.main(["launch", "task=rech"]) == 2
    assert_names(capsys.readouterr().err, "task=rech", "reach")
    assert sys.argv == before


@pytest.mark.parametrize("what", ["tasks", "agents", "sims", "hardware", "stages", "experiments"])
def test_list_prints_one_line_for_each_option(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", what]) == 0
    lines = capsys.readouterr().out.splitlines()
    files = list((CONF / what.removesuffix("s")).glob("*.yaml"))
    assert [line.split()[0] for line in lines] == sorted(f.stem for f in files)
    assert all(len(line.split()) > 1 for line in lines)


def test_list_includes_your_own_folder(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["list", "tasks", "--config-dir", str(make_lab(elsewhere))]) == 0
    rows = [line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()]
    assert ["lean", "Reach while leaning"] in rows  # the comment of its file
    assert main.main(["list", "tasks", "--config-dir", "nowhere"]) == 2
    assert_names(capsys.readouterr().err, "nowhere", "task/")


def test_an_unknown_verb_offers_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["lst"]) == 2
    assert_names(capsys.readouterr().err, "lst", "list")
    assert main.main([]) == 0
    assert "check-env" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["resume=x", "seed=1"], ("resume=x", "seed=1")),
        (["resume=no_such_run"], ("no_such_run", "outputs", "multirun")),
        (["--confg", "job"], ("--confg", "python launch.py --help")),
        (["--config-dir", "nowhere"], ("--config-dir", "nowhere")),
        (["tsk=reach"], ("tsk", "task")),
        (["--cfg", "job", "tsk=reach"], ("tsk", "task")),
        (["--cfg", "job", "--package", "evn"], ("--package", "evn", "env")),
    ],
)
def test_refusals_cost_nothing(
    arguments: list[str], named: tuple[str, ...], elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(arguments, CONF) == 2
    assert_names(capsys.readouterr().err, *named)
    assert list(elsewhere.iterdir()) == []


def test_cfg_job_prints_the_resolved_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(["--cfg", "job", "task=reach", "seed=5"], CONF) == 0
    config = yaml.safe_load(capsys.readouterr().out)
    assert (config["seed"], config["env"]["robot"]) == (5, "reach_arm")
    assert launch(["--cfg", "job", "--package", "env.rewards.near", "task=reach"], CONF) == 0
    assert yaml.safe_load(capsys.readouterr().out)["weight"] == 1.0


def test_hydra_answers_what_is_its_own(elsewhere: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "--info", "defaults", "task=reach"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "task/reach" in done.stdout
    assert list(elsewhere.iterdir()) == []


def test_one_run_from_the_command_line_to_its_record_and_its_resume(elsewhere: Path) -> None:
    make_lab(elsewhere)
    arguments = ["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act", "seed=4", "name=first"]
    done = subprocess.run([sys.executable, str(ROOT / "launch.py"), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (elsewhere / "outputs").iterdir()
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["overrides"] == arguments[2:]
    assert record["choices"]["task"] == "idle"
    assert yaml.safe_load((folder / ".hydra/overrides.yaml").read_text()) == arguments[2:]
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 4
    again = subprocess.run([sys.executable, str(ROOT / "launch.py"), "resume=first"], capture_output=True, text=True)
    assert again.returncode == 0
    assert_names(again.stdout, folder.name, "finished")
    assert json.loads((folder / "run.json").read_text()) == record
