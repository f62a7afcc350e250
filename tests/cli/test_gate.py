"""Evaluations compared on the same episodes, gated by requirements, and made again from their own episodes."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.evaluations import evaluated, save_policy
from helpers.messages import assert_names
from helpers.point_env import PointEnvCfg
from helpers.run_directories import add
from regimen.cli import main
from regimen.runs.history.run_view import open_view
from regimen.runs.run import Run
from regimen.stages.evaluation.evaluated import Evaluated
from regimen.stages.evaluation.repetition import Agreement, compare_repetition
from regimen.system.files import sha256

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Evaluations of a good policy, a lame one and others; no test may change them."""
    outputs = tmp_path_factory.mktemp("judged") / "outputs"
    short = PointEnvCfg(episode_length_s=1.0)
    return {
        "good": evaluated(outputs, "good", 1.0),
        "again": evaluated(outputs, "again", 1.0),
        "lame": evaluated(outputs, "lame", 0.3),
        "other_seed": evaluated(outputs, "other_seed", 1.0, seed=1),
        "fewer": evaluated(outputs, "fewer", 1.0, envs_per_command=8),
        "shorter": evaluated(outputs, "shorter", 1.0, env=short),
        "one": evaluated(outputs, "one", 1.0, envs_per_command=1, env=_without_grid()),
    }


def _without_grid() -> PointEnvCfg:
    env = PointEnvCfg()
    env.evaluation.grid, env.evaluation.command = [], None
    return env


@pytest.fixture(autouse=True)
def here(made: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = made["good"].dir.parents[1]
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def copied(made: dict[str, Run], tmp_path: Path) -> Path:
    """A copy of the good evaluation that a test may damage."""
    return Path(shutil.copytree(made["good"].dir, tmp_path / "copied"))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main.main(list(words))
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def gate(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    code, out = run(capsys, "gate", *words, "--json")
    return code, json.loads(out)


def test_each_episode_has_a_row_with_its_checksum(made: dict[str, Run]) -> None:
    folder = made["good"].dir
    rows = list(csv.DictReader((folder / "episodes.csv").read_text().splitlines()))
    assert len(rows) == 24 and {row["command"] for row in rows} == {"0", "1"}
    result = json.loads((folder / "result.json").read_text())
    assert sum(int(row["end:fell"]) for row in rows) == result["overall"]["falls"]
    mean = sum(float(row["return"]) for row in rows) / len(rows)
    assert mean == pytest.approx(result["overall"]["return"]["value"], rel=1e-12)
    [entry] = [row for row in made["good"].record.artifacts if row.path == "episodes.csv"]
    assert entry.sha256 == sha256(folder / "episodes.csv")


def row_of(out: str, figure: str) -> list[str]:
    [line] = [line for line in out.splitlines() if line.startswith(f"{figure} ")]
    return line.split()


def test_a_difference_on_the_same_episodes_is_found_and_none_where_there_is_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, out = run(capsys, "compare", "--paired", "good", "lame", "again")
    assert code == 0 and "24 episodes" in out
    [lame, again] = [line.split() for line in out.splitlines() if line.startswith("return ")]
    assert lame[2:3] == ["B"] and float(lame[4]) < 0 and "0.001" in " ".join(lame)
    assert again[2:3] == ["C"] and float(again[4]) == 0.0 and "1.000" in again


def test_a_filter_names_a_group_over_several_seeds(capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "compare", "--paired", "name=good,other_seed", "name=again,other_seed")
    assert code == 0 and "48 episodes" in out
    assert float(row_of(out, "return")[4]) == 0.0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["good", "other_seed"], ["seed", "0", "1"]),
        (["good", "fewer"], ["envs_per_command", "12", "8"]),
        (["good", "shorter"], ["env.episode_length_s", "2.5", "1.0"]),
        (["good"], ["--paired", "two groups"]),
        (["good", "lame", "--metric", "Train/x"], ["--paired", "--metric"]),
    ],
)
def test_evaluations_that_are_not_paired_are_refused_with_the_difference(
    words: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run(capsys, "compare", "--paired", *words)
    assert code == 2
    assert_names(out, *named)


def test_a_training_is_not_paired(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training = add(tmp_path, "a")
    code, out = run(capsys, "compare", "--paired", "good", str(training))
    assert code == 2
    assert_names(out, "stage=train", "stage=evaluate")


def test_the_worse_end_of_the_interval_counts(made: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    figure = json.loads((made["good"].dir / "result.json").read_text())["overall"]["return"]
    between = (figure["low"] + figure["value"]) / 2
    assert gate(capsys, "good", "--require", f"return>={figure['low']}")[0] == 0
    code, found = gate(capsys, "good", "--require", f"return>={between}")
    assert code == 1 and not found["passed"] and not found["reasons"]
    assert gate(capsys, "good", "--require", f"return<={figure['high']}")[0] == 0
    assert gate(capsys, "good", "--require", f"return<={between}")[0] == 1


def test_the_evidence_has_the_checksums_of_what_was_judged(
    made: dict[str, Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "gate.json"
    code, text = run(capsys, "gate", "good", "--against", "lame", "--require", "return>=baseline", "--out", str(out))
    found = json.loads(out.read_text())
    assert code == 0 and found["passed"], text
    for role, name in (("run", "good"), ("baseline", "lame")):
        evidence = found["evidence"][role]
        assert evidence["id"] == made[name].id
        for file in ("episodes.csv", "result.json", "run.json"):
            assert evidence["files"][file]["sha256"] == sha256(made[name].dir / file)
        assert evidence["inputs"]["policy"]["state"] == "unchanged"


def test_a_policy_that_is_worse_than_the_baseline_fails_although_its_figure_is_met(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert gate(capsys, "lame", "--require", "return>=-1000")[0] == 0
    code, found = gate(capsys, "lame", "--against", "good", "--require", "return>=-1000")
    assert code == 1 and [check["passed"] for check in found["checks"]] == [True, False]
    assert gate(capsys, "again", "--against", "good", "--require", "return>=-1000")[0] == 0
    assert gate(capsys, "lame", "--against", "good", "--require", "return>=baseline-1000")[0] == 0


def test_what_is_missing_fails(made: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    code, found = gate(capsys, "good", "--require", "surival>=0")
    assert code == 1
    assert_names(found["checks"][0]["why"], "survival")
    assert_names(gate(capsys, "one", "--require", "return>=-1000")[1]["checks"][0]["why"], "interval")
    assert gate(capsys, "one", "--require", "return>=-1000")[0] == 1
    code, found = gate(capsys, "nobody", "--require", "return>=-1000")
    assert code == 1 and found["reasons"] and not found["passed"]
    code, found = gate(capsys, "good", "--against", "other_seed", "--require", "return>=-1000")
    assert code == 1 and "seed" in found["reasons"][0]


@pytest.mark.parametrize("file", ["episodes.csv", "result.json", "policy"])
def test_a_changed_file_fails(file: str, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gate(capsys, str(copied), "--require", "return>=-1000")[0] == 0
    if file == "policy":
        record = json.loads((copied / "run.json").read_text())
        record["inputs"]["policy"]["path"] = str(save_policy(copied / "other.pt", 2.0))
        (copied / "run.json").write_text(json.dumps(record))
    elif file == "result.json":
        result = json.loads((copied / file).read_text())
        result["overall"]["return"]["low"] += 1e-9
        (copied / file).write_text(json.dumps(result))
    else:
        text = (copied / file).read_text()
        (copied / file).write_text(text.replace("\n3,", "\n 3,", 1))
    code, found = gate(capsys, str(copied), "--require", "return>=-1000")
    assert code == 1
    assert_names(" ".join(found["reasons"]), file)


def test_a_missing_file_of_episodes_fails(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "episodes.csv").unlink()
    code, found = gate(capsys, str(copied), "--require", "return>=-1000")
    assert code == 1 and not found["checks"][0]["passed"]
    assert run(capsys, "verify", str(copied), "--record")[0] == 2


@pytest.mark.parametrize("text", ["survival=>0.9", "survival", ">=3", "survival>=high", "return>=baseline"])
def test_a_requirement_that_cannot_be_read_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "gate", "good", "--require", text)
    assert code == 2
    assert_names(out, text)


def test_figures_are_made_again_from_the_episodes(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run(capsys, "verify", str(copied), "--record")
    assert code == 0 and "equal" in out and "24 episodes" in out
    result = json.loads((copied / "result.json").read_text())
    result["commands"][1]["forward_speed"]["value"] += 0.1
    (copied / "result.json").write_text(json.dumps(result))
    code, out = run(capsys, "verify", str(copied), "--record")
    assert code == 1
    assert_names(out, "different", "commands.1.forward_speed.value")


def test_a_repetition_is_equal_within_intervals_or_different(made: dict[str, Run]) -> None:
    opened = {name: Evaluated.open(open_view(str(run.dir))) for name, run in made.items()}
    assert compare_repetition(opened["good"], opened["again"]).agreement is Agreement.EQUAL
    near = compare_repetition(opened["good"], opened["other_seed"])
    assert near.agreement is not Agreement.EQUAL and "return" in near.summary
    far = compare_repetition(opened["good"], opened["lame"])
    assert far.agreement is Agreement.DIFFERENT
    assert any(line.startswith("overall.return") for line in far.lines)
    assert not any("survival" in line for line in compare_repetition(opened["good"], opened["again"]).lines)


@pytest.mark.slow
def test_an_evaluation_is_repeated(
    made: dict[str, Run], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS.parent / 'src'}:{TESTS}:{':'.join(filter(None, sys.path[:1]))}")
    assert main.main(["verify", "good"]) == 0
    assert_names(capfd.readouterr().out, "record: equal", made["good"].id, "bit for bit")
