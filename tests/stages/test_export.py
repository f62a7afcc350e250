"""The settings of `stage=export` are checked before the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import raises_naming
from helpers.tasks import CONF
from regimen.config.compose import compose
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError, ConfigErrors


def check(folder: Path, *words: str) -> None:
    preflight(compose(["stage=export", *words], [CONF]), folder)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["task=go2_flat"], ["policy="]),
        (["stage.format=onx"], ["stage.format", "onx", "onnx"]),
        (["stage.observations=row"], ["stage.observations", "row", "raw"]),
        (["stage.check_steps=-1"], ["stage.check_steps"]),
        (["stage.format=torchscript"], ["stage.check_steps", "stage.check_steps=0"]),
        (["task=point_goal", "stage.observations=raw"], ["point_goal", "stage.observations=scaled"]),
        (["task=h1_flat", "policy=pretrained:go2_flat"], ["task=h1_flat", "FL_hip_joint"]),
    ],
)
def test_what_cannot_be_exported_is_named(tmp_path: Path, words: list[str], names: list[str]) -> None:
    pytest.importorskip("onnxruntime")
    policy = [] if words == ["task=go2_flat"] or "policy=" in words[-1] else ["policy=pretrained:go2_flat"]
    task = [] if any(word.startswith("task=") for word in words) else ["task=go2_flat"]
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        check(tmp_path, *task, *policy, *words)


def test_a_policy_that_fits_is_exported_by_the_agent_that_made_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    check(tmp_path, "task=go2_flat", "policy=pretrained:go2_flat", "stage.observations=raw")
