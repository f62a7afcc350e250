"""The guides, followed to the letter: their files are written and their commands run in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers.messages import assert_names
from stages.pictures import is_drawn

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.S)
FILE = re.compile(r"(?:# |<!-- )file: (\S+)(?: -->)?\n")
PROGRAMS = {"python": [sys.executable], "regimen": [sys.executable, "-m", "regimen.cli.main"]}


@dataclass
class Followed:
    """A guide that was followed.

    Attributes:
        folder: where its files are and its commands ran.
        printed: output of each command, in order.
    """

    folder: Path
    printed: list[str]

    @property
    def runs(self) -> list[dict]:
        """The records of the runs, oldest first."""
        records = [json.loads(path.read_text()) for path in self.folder.glob("outputs/*/run.json")]
        return sorted(records, key=lambda record: record["started"])

    def metrics(self, run: dict) -> list[dict]:
        return [json.loads(line) for line in (self.dir(run) / "metrics.jsonl").read_text().splitlines()]

    def dir(self, run: dict) -> Path:
        return self.folder / "outputs" / run["id"]


def follow(page: str, folder: Path) -> Followed:
    """Write every file of a guide under `folder`, and run every command there."""
    printed = []
    for language, text in BLOCK.findall((ROOT / "docs" / page).read_text()):
        if head := FILE.match(text):
            path = folder / head[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text[head.end() :])
        elif language == "bash":
            printed += [run(line, folder) for line in text.strip().splitlines()]
    return Followed(folder, printed)


def run(line: str, folder: Path) -> str:
    program, *words = shlex.split(line)
    arguments = [str(ROOT / word) if word == "launch.py" else word for word in words]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [*PROGRAMS[program], *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def check_task(guide: Followed) -> None:
    listing, plan, check, training, _ = guide.printed
    described = (guide.folder / "my_conf/task/touch_high.yaml").read_text().splitlines()[1].removeprefix("# ")
    assert ["touch_high", described] in [line.split(maxsplit=1) for line in listing.splitlines()]
    assert "touch_high" in plan and "FAILED" not in check
    assert_names(training, "Observation group policy", "Rewards", "my_terms:still_at_target", "Terminations")
    trained, judged = guide.runs
    assert "distance" in judged["headline"]
    assert any("Episode_Reward/still" in row for row in guide.metrics(trained))


def check_agent(guide: Followed) -> None:
    assert "linear_cem" in guide.printed[0]
    trained, _ = guide.runs
    rows = guide.metrics(trained)
    assert rows[-1]["CEM/best"] > rows[0]["CEM/best"]


def check_stage(guide: Followed) -> None:
    listing, *_, shown = guide.printed
    assert_names(listing, "torques")
    trained, measured = guide.runs
    result = json.loads((guide.dir(measured) / "result.json").read_text())
    assert 0 < measured["headline"]["largest_share"] <= 1 and result["readings"] > 0
    assert {name: joint["limit"] for name, joint in result["joints"].items()} == {"shoulder": 20.0, "elbow": 20.0}
    assert is_drawn(guide.dir(measured) / "figures/torques.png")
    assert measured["parents"] == [trained["id"]]
    assert_names(shown, measured["id"], "finished", "figures/torques.png")


def check_simulator(guide: Followed) -> None:
    listing, check, *_ = guide.printed
    assert_names(listing, "chain")
    assert "FAILED" not in check and "sim chain" in check
    _, here, there = guide.runs
    distances = [run["headline"]["distance"] for run in (here, there)]
    assert distances[0] == pytest.approx(distances[1], rel=0.3), "a policy acts alike in both simulators"
    assert (guide.dir(guide.runs[1]) / "video/eval.mp4").stat().st_size > 1000


def check_robot(guide: Followed) -> None:
    plan, description, check, *_ = guide.printed
    assert "reach_high" in plan and "FAILED" not in check
    assert_names(description, "yaw", "shoulder", "elbow", "0.8", "-0.6", "joint position targets")
    assert "distance" in guide.runs[1]["headline"]


def check_custom_agent(guide: Followed) -> None:
    listing, plan, *_ = guide.printed
    rows = [line.split(maxsplit=2) for line in listing.splitlines()]
    assert {("algo", "smooth"), ("player", "smooth"), ("network", "bounded")} <= {(row[0], row[1]) for row in rows}
    assert_names(plan, "agent", "smooth")
    trained, judged, played = guide.runs
    assert all(row["smooth/change"] > 0 for row in guide.metrics(trained))
    assert "distance" in judged["headline"]
    assert played["headline"]["games"] == 12 and played["headline"]["change"] > 0
    code = BLOCK.findall((ROOT / "docs/add_a_custom_agent.md").read_text())[-1][1]
    (guide.folder / "from_python.py").write_text(code)
    assert_names(run("python from_python.py", guide.folder), "av_reward", "change", "games")


GUIDES: dict[str, tuple[str, str, Callable[[Followed], None]]] = {
    "add_a_task.md": ("task", ".py .yaml", check_task),
    "add_a_custom_agent.md": ("agent", ".py .yaml", check_custom_agent),
    "add_an_agent.md": ("agent", ".py .yaml", check_agent),
    "add_a_stage.md": ("stage", ".py .yaml", check_stage),
    "add_a_simulator.md": ("sim", ".py .yaml", check_simulator),
    "add_a_robot.md": ("task", ".py .xml .yaml", check_robot),
}
"""Page -> folder of the option it adds, kinds of the files it asks for, what has to come of it."""


@pytest.mark.slow
@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_can_be_followed_to_the_letter(page: str, tmp_path: Path) -> None:
    if page == "add_a_custom_agent.md":
        pytest.importorskip("rl_games", reason="make rl_games", exc_type=ImportError)
    guide = follow(page, tmp_path)
    assert [run["status"] for run in guide.runs] == ["finished"] * len(guide.runs)
    GUIDES[page][2](guide)


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_asks_for_one_yaml_and_at_most_one_module(page: str) -> None:
    files = FILE.findall((ROOT / "docs" / page).read_text())
    folder, kinds, _ = GUIDES[page]
    assert sorted(Path(file).suffix for file in files) == kinds.split()
    assert any(file.startswith(f"my_conf/{folder}/") for file in files)


def test_every_guide_is_followed() -> None:
    assert {path.name for path in (ROOT / "docs").glob("add_a*.md")} == GUIDES.keys()


@pytest.mark.slow
def test_the_robot_guide_names_a_mistake_in_the_model(tmp_path: Path) -> None:
    """What the page calls refused, is: the simulator names the joint, and nothing is tried."""
    for _, text in BLOCK.findall((ROOT / "docs/add_a_robot.md").read_text()):
        if head := FILE.match(text):
            (tmp_path / head[1]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / head[1]).write_text(text[head.end() :].replace(' range="-2.5 2.5"', ""))
    words = ["check-env", "--config-dir", "my_conf", "--describe", "task=reach_high"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([*PROGRAMS["regimen"], *words], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert_names(done.stderr, "my_arm.xml", "elbow", "range")
