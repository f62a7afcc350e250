"""The guides, followed to the letter: their files are written and their commands run in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)


def follow(page: str, folder: Path) -> list[str]:
    """Write every file of a guide under `folder`, run every command there; return what each printed."""
    outputs = []
    for language, text in BLOCK.findall((ROOT / "docs" / page).read_text()):
        head = re.match(r"# file: (\S+)\n", text)
        if head:
            path = folder / head[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text[head.end() :])
        elif language == "bash":
            outputs += [run(line, folder) for line in text.strip().splitlines()]
    return outputs


def run(line: str, folder: Path) -> str:
    words = shlex.split(line)
    program = {"python": [sys.executable], "regimen": [sys.executable, "-m", "regimen.cli.main"]}[words[0]]
    arguments = [str(ROOT / w) if w == "launch.py" else w for w in words[1:]]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*program, *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def results(folder: Path) -> list[dict]:
    return [json.loads(p.read_text()) for p in sorted(folder.glob("outputs/*/run.json"))]


@pytest.mark.slow
def test_add_a_task(tmp_path):
    listing, plan, check, *_ = follow("add_a_task.md", tmp_path)
    described = (tmp_path / "my_conf/task/touch_high.yaml").read_text().splitlines()[1].removeprefix("# ")
    assert ["touch_high", described] in [line.split(maxsplit=1) for line in listing.splitlines()]
    assert "touch_high" in plan
    assert "FAILED" not in check
    trained, judged = results(tmp_path)
    assert [trained["status"], judged["status"]] == ["finished", "finished"]
    assert "distance" in judged["headline"]
    assert "Episode_Reward/still" in (tmp_path / "outputs" / trained["id"] / "metrics.jsonl").read_text()


@pytest.mark.slow
def test_add_an_agent(tmp_path):
    listing, *_ = follow("add_an_agent.md", tmp_path)
    assert "linear_cem" in listing
    trained, judged = results(tmp_path)
    assert [trained["status"], judged["status"]] == ["finished", "finished"]
    rows = [json.loads(r) for r in (tmp_path / "outputs" / trained["id"] / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["CEM/best"] > rows[0]["CEM/best"]


@pytest.mark.parametrize(("page", "folder"), [("add_a_task.md", "task"), ("add_an_agent.md", "agent")])
def test_a_guide_asks_for_one_yaml_and_at_most_one_module(page, folder):
    files = re.findall(r"^# file: (\S+)$", (ROOT / "docs" / page).read_text(), re.M)
    assert sorted(Path(f).suffix for f in files) == [".py", ".yaml"]
    assert any(f.startswith(f"my_conf/{folder}/") for f in files)
