"""Style from motion clips: the graph of the study in each size, and a tiny one from the trainings to the page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from regimen.orchestration.pipeline import graph, sizes

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("size", "task", "kinds"), [("go2", "go2_amp", 2), ("humanoid", "humanoid_amp", 3), ("tiny", "go2_amp", 3)]
)
def test_the_trainings_differ_in_what_is_paid_alone(size: str, task: str, kinds: int) -> None:
    pipeline, _ = sizes.choose(graph.read("amp_study", [ROOT / "conf"]), [f"size={size}"])
    nodes = {node.name: node for node in graph.expand(pipeline)}
    trained = {name: set(node.overrides) for name, node in nodes.items() if node.step.stage == "train"}
    of_seed_0 = {name.partition(".")[0]: found for name, found in trained.items() if name.endswith("seed_0")}
    assert len(of_seed_0) == kinds
    shared = set.intersection(*of_seed_0.values())
    paid = {
        name: {text.rpartition(".params.config.")[2] for text in found - shared} for name, found in of_seed_0.items()
    }
    assert paid["task_alone"] == {"disc_reward_w=0.0"}
    assert all(text.startswith("disc_reward_w=1") for text in paid["task_and_style"]) and paid["task_and_style"]
    if "style_alone" in paid:
        assert paid["style_alone"] == {*paid["task_and_style"], "task_reward_w=0.0"}
    assert pipeline.config.overrides[0] == f"experiment={task}"
    assert {name for name in nodes if name.startswith("judge")} == {f"judge_{name}" for name in trained}


@pytest.mark.slow
def test_a_tiny_one(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "launch.py"), "pipeline=amp_study", "size=tiny"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/run.json")]
    assert len(records) == 7 and {record["status"] for record in records} == {"finished"}
    (report,) = (record for record in records if record["stage"] == "report")
    folder = tmp_path / "outputs" / report["id"] / "report"
    told = json.loads((folder / "report.json").read_text())
    assert [policy["policy"] for policy in told["policies"]] == ["task and style", "task alone", "style alone"]
    for policy in told["policies"]:
        assert {"survival", "power", "forward_speed", "dtw_body_cm", "diagonal_sync"} <= policy["overall"].keys()
        assert policy["dtw_by_body_cm"]["FL_calf"]["value"] > 0 and len(policy["commands"][0]) == 4
    assert {"strip.png", "film.mp4", "film.gif", "bodies.png"} <= {file.name for file in folder.iterdir()}
