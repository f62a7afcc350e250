"""docs/export.md: its example runs as it stands, and its table names all that a file tells."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from regimen.cli.export_policy import export

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs the extra [onnx]")
def test_the_example_moves_the_joints_of_a_go2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    export("pretrained:go2_flat", "onnx", observations="raw")
    example = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0]
    exec(compile(example, "docs/export.md", "exec"), {})
    said = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    told = json.loads((tmp_path / "go2_flat.onnx.json").read_text())
    assert list(said) == told["joint_names"]
    away = [abs(float(v.split()[0]) - zero) for v, zero in zip(said.values(), told["action_offset"], strict=True)]
    assert 0 < max(away) < 1.5
    named = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", PAGE, re.M))))
    assert told.keys() - named == {"format", "regimen"}
