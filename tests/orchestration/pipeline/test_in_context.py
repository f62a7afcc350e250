"""The pipelines that learn in context: their graphs in each size, and a tiny dark room from start to end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from regimen.orchestration.pipeline import graph, sizes

ROOT = Path(__file__).resolve().parents[3]
SLOW = pytest.mark.slow


def nodes(name: str, *arguments: str) -> dict[str, graph.Node]:
    pipeline, left = sizes.choose(graph.read(name, [ROOT / "conf"]), list(arguments))
    assert not left
    return {node.name: node for node in graph.expand(pipeline)}


@pytest.mark.parametrize(("name", "size"), [("dark_room", "small"), ("dark_room", "point"), ("go2_hidden", "small")])
def test_hidden_goals(name: str, size: str) -> None:
    found = nodes(name, f"size={size}")
    known = Counter(node.step.name for node in found.values())
    assert known == {"histories": 1, "solutions": 1, "model": 2, "cloned": 2, "unrewarded": 2, "judge": 2}
    inputs = {key: str(link) for key, link in found["judge.seed_1"].inputs.items()}
    assert inputs == {"policy": "model.seed_1", "experts.0": "cloned.seed_1", "experts.1": "unrewarded.seed_1"}


@pytest.mark.parametrize(
    ("name", "key"), [("dark_room", "env.goals"), ("go2_hidden", "env.commands.direction.params.goals")]
)
def test_what_is_learnt_from_and_what_is_judged_have_no_goal_in_common(name: str, key: str) -> None:
    found = nodes(name)
    assert f"{key}=train" in found["histories"].overrides
    assert f"{key}=held_out" in found["judge.seed_0"].overrides
    assert "agent.model.mask_rewards=true" in found["unrewarded.seed_0"].overrides


@pytest.mark.parametrize("size", ["small", "gpu", "tiny"])
def test_go2_vintix(size: str) -> None:
    found = nodes("go2_vintix", f"size={size}")
    judge = found["judge.seed_0"]
    assert str(judge.inputs["experts.0"]) == "walk"
    masses = [text for text in judge.overrides if "mass_range" in text]
    trained = [text for text in found["histories"].overrides if "mass_range" in text]
    assert len(masses) == len(trained) == 2 and masses != trained
    assert str(found["histories"].inputs["runs.0"]) == "walk"
    assert "stage.mode=checkpoints" in found["histories"].overrides
    speeds = [next(text for text in node.overrides if "lin_vel_x" in text) for node in (judge, found["histories"])]
    assert speeds[0] == speeds[1]


def launched(folder: Path, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "launch.py"), *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def judged(folder: Path) -> dict[str, Any]:
    (result,) = [p for p in folder.glob("*/*/result.json") if "in_context" in (p.parent / "config.yaml").read_text()]
    return json.loads(result.read_text())


@SLOW
@pytest.mark.parametrize(
    ("pipeline", "episodes", "envs", "context"), [("dark_room", 4, 8, 100), ("go2_hidden", 3, 2, 16)]
)
def test_a_tiny_study_from_histories_to_the_picture(
    tmp_path: Path, pipeline: str, episodes: int, envs: int, context: int
) -> None:
    said = launched(tmp_path, f"pipeline={pipeline}", "size=tiny", "hardware.threads=1")
    assert_names(said, "6 of 6")
    result = judged(tmp_path)
    assert set(result["baselines"]) == {
        "masked",
        "expert_distillation",
        "reward_masked",
        "demonstrator",
        "random",
    }
    assert (result["num_episodes"], len(result["episode_returns"])) == (episodes, envs)
    assert result["context_len"] == context
    assert "0 of 6" not in launched(tmp_path, f"pipeline={pipeline}", "size=tiny", "hardware.threads=1", "dry_run=true")


@SLOW
def test_the_launcher_checks_masses_before_it_starts_anything(tmp_path: Path) -> None:
    said = launched(tmp_path, "pipeline=go2_vintix", "size=tiny", "dry_run=true")
    assert_names(said, "0 of 7")
    command = [sys.executable, str(ROOT / "launch.py"), "task=dark_room", "stage=in_context", "dry_run=true"]
    command += [f"policy={ROOT / 'pretrained' / 'go2_flat' / 'policy.pt'}", "stage.domain_randomization.enabled=true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert_names(done.stderr, "domain_randomization.enabled=true")
