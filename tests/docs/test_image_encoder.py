"""docs/image_encoder.md: its commands compose, and its pipeline records what they record."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from regimen.config.compose import compose_config
from regimen.orchestration.pipeline import graph, sizes

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "image_encoder.md").read_text()
COMMANDS = [shlex.split(c, comments=True) for c in re.findall(r"^python launch.py (.*)$", TEXT, re.M)]


def test_the_commands_compose() -> None:
    composed = [compose_config(words, []) for words in COMMANDS if not words[0].startswith("pipeline=")]
    assert len(composed) == 6
    assert composed[3].choices["agent"] == "image_encoder" and composed[3].data == ["calm", "noisy", "wild"]
    assert composed[4].agent.observations == ["policy"] and composed[4].encoder == "gear_encoder"


def test_the_pipeline_records_the_same() -> None:
    chosen = [words for words in COMMANDS if words[0].startswith("pipeline=")]
    assert [words[0] for words in chosen] == 2 * ["pipeline=gear_pictures"]
    for words in chosen:
        pipeline, left = sizes.choose(graph.read("gear_pictures", [ROOT / "conf"]), words[1:])
        assert not left
        nodes = {node.name: set(node.overrides) for node in graph.expand(pipeline)}
        for typed in (words for words in COMMANDS if "stage=collect" in words):
            name = typed[-1].removeprefix("name=")
            shown = {
                word.replace("=.", "=0.") for word in typed[:-1] if word not in ("stage=collect", "task=gear_assembly")
            }
            assert shown <= nodes[name], name
