"""The study of joint failures: its graph in each size, and a tiny one from the walker to the report."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from regimen.config.task_schema import ESTIMATE_MODES
from regimen.orchestration.pipeline import graph, sizes
from regimen.stages.reports.sources import VARIANTS

ROOT = Path(__file__).resolve().parents[3]
SLOW = pytest.mark.slow


def nodes(*arguments: str) -> dict[str, graph.Node]:
    pipeline, left = sizes.choose(graph.read("h1_failure", [ROOT / "conf"]), list(arguments))
    assert not left
    return {node.name: node for node in graph.expand(pipeline)}


def count(*arguments: str) -> Counter[str]:
    return Counter(node.step.name for node in nodes(*arguments).values())


def test_the_small_study() -> None:
    known = count()
    assert (known["healthy"], known["faults"], known["detector"], known["detection"]) == (1, 1, 3, 3)
    assert (known["informed"], known["tolerant"], known["faults_again"], known["report"]) == (2, 1, 0, 1)
    assert known["judge_healthy"] + known["judge_informed"] + known["judge_tolerant"] == 4


def test_the_full_study_has_all_modes_three_seeds_and_a_second_round() -> None:
    found = nodes("size=full")
    known = Counter(node.step.name for node in found.values())
    assert (known["healthy"], known["informed"], known["tolerant"], known["tolerant_again"]) == (3, 9, 3, 3)
    assert len([k for k in found["detector_again.seed_1"].inputs if k.startswith("data.")]) == 6
    again = found["judge_again.seed_2"].inputs
    assert {key: str(link) for key, link in again.items()} == {
        "policy": "tolerant_again.seed_2",
        "estimator": "detector_again.seed_2",
    }
    experts = [str(link) for key, link in found["switched.seed_1"].inputs.items() if key.startswith("experts.")]
    assert len(experts) == 8 and all(name.startswith("expert.seed_1.joints_") for name in experts)
    judged = {name for name, node in found.items() if node.step.name.startswith("judge")}
    assert judged <= set(found["report"].after)


def test_no_collection_shares_a_seed_with_what_is_judged() -> None:
    """Else the episodes of a judgement could be those that the detector learnt from."""
    found = nodes("size=full")
    seeds: dict[str, set[str]] = {}
    for node in found.values():
        seeds.setdefault(node.step.stage, set()).update(o for o in node.overrides if o.startswith("seed="))
    assert seeds["evaluate"] == {"seed=1000"} and not seeds["evaluate"] & seeds["collect"]
    assert len(seeds["collect"]) == 6


def test_a_walker_that_is_there_is_not_trained() -> None:
    found = nodes("healthy=pretrained:h1_flat")
    assert "healthy.seed_0" not in found
    for name in ("faults.seed_0", "tolerant.seed_0", "judge_healthy.seed_0", "informed.seed_0.mode_oracle"):
        assert found[name].inputs["policy"].reference("") == "pretrained:h1_flat"


COMMANDS = re.findall(r"^python launch\.py (.*)", (ROOT / "docs/h1_failure.md").read_text(), re.M)


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith("pipeline=")])
def test_every_step_by_hand_composes(command: str) -> None:
    """All but the inputs, which are runs of the reader's own."""
    from regimen.config.compose import compose_config

    words = shlex.split(command)
    inputs = [w for w in words if w.split("=")[0] in ("policy", "estimator", "data", "runs")]
    assert inputs or "name=h1_healthy" in words
    assert compose_config([w for w in words if w not in inputs]).choices["task"] == "h1_failure"


def test_the_page_names_every_size_and_kind_of_policy() -> None:
    page = (ROOT / "docs/h1_failure.md").read_text()
    sizes = graph.read("h1_failure", [ROOT / "conf"]).config.sizes
    assert all(f"| `{size}` |" in page for size in sizes)
    assert all(f"| {variant.title} |" in page for variant in VARIANTS)
    assert all(f"`{mode}`" in page for mode in ESTIMATE_MODES)


@SLOW
@pytest.mark.parametrize("size", ["small", "full"])
def test_every_step_composes(tmp_path: Path, size: str) -> None:
    said = launch(tmp_path, f"size={size}", "dry_run=true")
    assert f"h1_failure size={size}" in said and "0 of " in said


@SLOW
def test_a_tiny_study_from_the_walker_to_the_report(tmp_path: Path) -> None:
    said = launch(tmp_path, "size=tiny", "film=true")
    found = {info["pipeline"]["step"]: info for info in infos(tmp_path)}
    assert len(found) == 10 and {info["status"] for info in found.values()} == {"finished"}
    page = next(tmp_path.glob("outputs/*/report/report.html"))
    assert f"report: {page.relative_to(tmp_path)}" in said
    told = json.loads((page.parent / "report.json").read_text())
    assert list(told["policies"]) == ["healthy", "none", "classifier"]
    assert len(told["policies"]["healthy"]["survival"]) == 2 + 8 + 4 * 9
    assert {(d["stage"], d["name"]) for d in told["detectors"]} >= {("distill", "detector"), ("evaluate", "detector")}
    html = page.read_text()
    for words in ("this is a tiny run", "switched experts", "Lineage", "data:image/png;base64,", "data:image/gif"):
        assert words in html
    assert (page.parent / "side_by_side.mp4").stat().st_size > 5_000
    assert found["faults.seed_0"]["warnings"], "the gate objected, and a reason was given"
    assert_names(launch(tmp_path, "size=tiny", "film=true", "dry_run=true"), "10 of 10")


def infos(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("outputs/*/run.json")]


def launch(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "launch.py"), "pipeline=h1_failure", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
