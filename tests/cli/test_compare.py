"""Groups of seeds side by side: a table, cautions, and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from helpers.messages import assert_names, missing_names
from helpers.run_directories import add, log
from regimen.cli import main
from regimen.display.figures import COLORS


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for rate in (0.001, 0.01):
        for seed in range(4):
            run_id = f"20260101-10000{seed}-reach-{int(1000 * rate)}"
            fields = {"seed": seed, "sweep": "s", "headline": {"return": 100 * rate + seed, "samples": 9.0}}
            folder = add(tmp_path / "outputs", run_id, None, {"agent": {"agent": {"learning_rate": rate}}}, **fields)
            log(folder, {step: rate * step + seed for step in range(0, 100, 5 + seed)})
    return tmp_path / "outputs"


def compared(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main.main(["compare", *words]) == code
    said = capsys.readouterr()
    return said.err if code else said.out


def test_table_and_picture(capsys: pytest.CaptureFixture[str]) -> None:
    said = compared(capsys, "sweep=s")
    rows = [line.split() for line in said.splitlines()]
    assert_names(said.splitlines()[0], "train", "reach", "8 runs", "2 groups")
    assert rows[3][:4] == ["return", "learning_rate=0.001", "4", "1.6"] and rows[3][-3:] == ["0.1", "…", "3.1"]
    assert rows[4][:4] == ["return", "learning_rate=0.01", "4", "2.5"]
    same, picture = filter(None, said.splitlines()[5:])  # and no caution
    assert_names(same, "samples 9")
    with Image.open(picture) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 24)}
    assert {tuple(bytes.fromhex(color[1:])) for color in COLORS[:2]} <= colors


def test_references_and_filters_together_and_where_the_picture_goes(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["20260101-100003-reach-10", "seed=0", "--out", "pictures/c.png", "--metric", "Train/return"]
    said = compared(capsys, *words)
    assert_names(said.splitlines()[0], "3 runs", "2 groups")
    labels = ("learning_rate=0.001", "learning_rate=0.01")
    [caution] = [line for line in said.splitlines() if not missing_names(line, *labels)]
    assert_names(caution, "3 seeds")
    assert said.endswith("\npictures/c.png\n")
    assert Path("pictures/c.png").exists()


def test_what_did_not_finish_is_left_out_and_said(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "20260101-110000-bad", status="failed", sweep="s")
    said = compared(capsys, "sweep=s")
    assert_names(said.splitlines()[0], "8 runs")
    assert_names(said, "20260101-110000-bad", "failed")
    assert_names(compared(capsys, "20260101-110000-bad", code=2), "20260101-110000-bad", "failed")
    assert "20260101" not in compared(capsys, "sweep=s", "seed=99", code=2)


def test_a_seed_twice_is_said(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(outputs, "20260101-120000-again", headline={"return": 3.0}, seed=2)
    said = compared(capsys, "20260101-12", "20260101-100002-reach-1", "20260101-100001-reach-1")
    [caution] = [line for line in said.splitlines() if not missing_names(line, "seed", "all")]
    assert_names(caution, 2)


@pytest.mark.parametrize("group", ["task", "stage"])
def test_other_tasks_and_stages_are_refused(group: str, outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    choices: dict[str, Any] = {"task": "reach", "sim": "mujoco", "agent": "skrl_ppo", "stage": "train"}
    add(outputs, "20260101-130000-else", choices={**choices, group: "other"})
    said = compared(capsys, "sweep=s", "20260101-13", code=2)
    assert_names(said, "other", "20260101-130000-else", choices[group], f"{group}={choices[group]}")


def test_a_picture_that_cannot_be_is_refused_before_the_work(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_names(compared(capsys, "sweep=s", "--out", "a.txt", code=2), "--out a.txt", ".svg", ".png", ".pdf")
    Path("a_file").write_text("")
    assert_names(compared(capsys, "sweep=s", "--out", "a_file/a.png", code=2), "--out a_file/a.png")


def test_an_unknown_metric_offers_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    said = compared(capsys, "sweep=s", "--metric", "Train/retrun", code=2)
    assert_names(said, "Train/retrun", "Train/return")


@pytest.mark.slow
def test_runs_without_curves_show_their_figures(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in outputs.glob("*/metrics.jsonl"):
        file.unlink()
    out = compared(capsys, "sweep=s").splitlines()[-1]
    with Image.open(out) as image:
        assert np.asarray(image.convert("L")).min() < 100
    for file in outputs.glob("*/run.json"):
        file.write_text(file.read_text().replace('"return"', '"r"').replace('"r": ', '"r": null, "x": '))
    rows = [line.split()[:3] for line in compared(capsys, "sweep=s").splitlines() if line.startswith("x ")]
    assert rows == [["x", "learning_rate=0.001", "4"], ["x", "learning_rate=0.01", "4"]]
