"""Damage to any file of a run and any verb: no traceback, no hang, nothing outside of the run is changed."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.recorded_runs import record_run
from regimen.cli import main

ROOT = Path(__file__).resolve().parents[2]
VICTIM, OTHER = "20260101-000000-reach-skrl_ppo-0001", "20260102-000000-reach-skrl_ppo-0002"
FILES = (
    "run.json", "config.yaml", "metrics.jsonl", "result.json", "progress.json", "code.patch", "logs/worker.log",
    "logs/error.json", "logs/artifacts.jsonl", "checkpoints/last.pt", "checkpoints/best.pt", ".supervisor", ".lock",
    ".reserve", "files_read.jsonl",
)  # fmt: skip
FOLDERS = ("logs", "checkpoints", "data", "tb", ".hydra")
VERBS = (
    "runs", "runs --json", f"show {VICTIM}", f"show {VICTIM} --verify", f"show {VICTIM} --json",
    f"diff {VICTIM} {OTHER}",
    f"diff {OTHER} {VICTIM} --code", f"compare {VICTIM} {OTHER}", f"lineage {VICTIM}", f"lineage {OTHER}",
    f"note {VICTIM}", f"note {VICTIM} text", f"tag {VICTIM} word", f"rerun {VICTIM} --check", "clean",
    f"clean --yes id={VICTIM}", "clean --checkpoints --yes", f"publish {VICTIM} name", f"resume {VICTIM}", "queue",
    f"cancel {VICTIM}", f"card {VICTIM}", "export all.csv", f"replay {VICTIM} nan",
)  # fmt: skip


def make(path: Path, damage: str, seed: int, elsewhere: Path) -> None:
    """Replace a file by a damaged one."""
    draw = random.Random(seed)
    whole = path.read_bytes() if path.is_file() else b""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    if damage == "absent":
        return
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    elif damage == "link":
        path.symlink_to(draw.choice([elsewhere / "precious", elsewhere, elsewhere / "made", Path("/dev/zero"), path]))
    elif damage == "value":
        path.write_bytes(json.dumps(_other_values(whole, draw)).encode())
    else:
        cut = whole[: draw.randrange(len(whole) + 1)]
        bits = bytearray(whole)
        for _ in range(min(len(bits), 3)):
            bits[draw.randrange(len(bits))] = draw.randrange(256)
        contents: dict[str, bytes] = {
            "empty": b"", "cut": cut, "bits": bytes(bits), "zero": b"\0" * 4096, "latin": b"n\xe4me: \xff\xfe\n",
            "deep": draw.choice([b"[", b'{"a":', b"- "]) * 100_000, "text": b"word", "number": b"1e999",
            "html": b"<!DOCTYPE html><html>", "lfs": b"version https://git-lfs.github.com/spec/v1\n",
        }  # fmt: skip
        path.write_bytes(contents[damage])


def _other_values(whole: bytes, draw: random.Random) -> Any:
    """The JSON object with up to three of its fields, at any depth, of another kind."""
    try:
        data = json.loads(whole)
    except ValueError:
        return [1]
    values: list[Callable[[], Any]] = [
        lambda: None, lambda: -1, lambda: 1e300, lambda: "x", lambda: "../../x", lambda: "a\0b", lambda: "a" * 5000,
        list, dict, lambda: [None], lambda: {"a": {"b": []}}, lambda: "\x1b]0;t\x07", lambda: True,
        lambda: "--output=x",
    ]  # fmt: skip
    for _ in range(draw.randrange(1, 4)):
        node: Any = data
        while isinstance(node, dict) and node:
            key = draw.choice(list(node))
            if not isinstance(node[key], dict) or not node[key] or draw.random() < 0.4:
                node[key] = draw.choice(values)()
                break
            node = node[key]
    return data


DAMAGES = (
    "absent", "folder", "pipe", "link", "value", "empty", "cut", "bits", "zero", "latin", "deep", "text", "number",
    "html", "lfs",
)  # fmt: skip


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, one made from the other, and a folder elsewhere."""
    folder = tmp_path_factory.mktemp("pristine")
    config = (ROOT / "pretrained" / "go2_flat" / "config.yaml").read_bytes()
    choices = {"task": "go2_flat", "agent": "skrl_ppo", "stage": "train", "sim": "mujoco"}
    for run_id in (VICTIM, OTHER):
        run = record_run(
            folder / "outputs", run_id, status="finished", exit_code=0, stage="train", choices=choices,
            headline={"return": 1.0}, git={"commit": "0" * 40, "branch": "main", "dirty": True}, code=None,
            artifacts=[{"path": "checkpoints/last.pt", "kind": "checkpoint", "bytes": 3, "sha256": "0" * 64}],
            inputs={"policy": {"path": "/x/y.pt", "sha256": "0" * 64, "run": VICTIM, "ref": "first@best"}},
            versions={"torch": "2.13"}, notes=[{"at": "2026-01-01T00:00:00", "text": "note"}], wall_s=3.0,
        )  # fmt: skip
        for name in FOLDERS:
            (run / name).mkdir(exist_ok=True)
        (run / "config.yaml").write_bytes(config)
        for name in ("last", "best"):
            shutil.copy(ROOT / "pretrained" / "go2_flat" / "policy.pt", run / "checkpoints" / f"{name}.pt")
        rows = [json.dumps({"step": step, "time_s": 1.0, "Train/return": 1.0}) for step in range(20)]
        (run / "metrics.jsonl").write_text("\n".join(rows) + "\n")
        (run / "result.json").write_text('{"headline": {"return": 1.0}}')
        (run / "progress.json").write_text('{"iteration": 1}')
        (run / "code.patch").write_text("diff --git a/x b/x\n")
        (run / "logs" / "worker.log").write_text("line\n")
        (run / "logs" / "artifacts.jsonl").write_text('{"path": "checkpoints/last.pt", "kind": "checkpoint"}\n')
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "precious").write_text("precious")
    return folder


def try_one(pristine: Path, target: str, damage: str, verb: str, seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree("outputs", ignore_errors=True)
    shutil.rmtree("elsewhere", ignore_errors=True)
    shutil.rmtree("pretrained", ignore_errors=True)
    shutil.copytree(pristine / "outputs", "outputs")
    shutil.copytree(pristine / "elsewhere", "elsewhere")
    make(Path("outputs", VICTIM, target), damage, seed, Path("elsewhere").absolute())
    try:
        code = main.main(verb.split())
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert code in (0, 1, 2), said
    assert "Traceback" not in said.out + said.err
    assert "\x1b" not in said.out + said.err
    assert {path.name: path.read_text() for path in Path("elsewhere").iterdir()} == {"precious": "precious"}


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("regimen.system.files.repository_root", lambda: None)  # where `publish` writes


@pytest.mark.slow
@given(st.sampled_from(FILES + FOLDERS), st.sampled_from(DAMAGES), st.sampled_from(VERBS), st.integers(0, 2**16))
@settings(
    max_examples=int(os.environ.get("REGIMEN_FUZZ", "60")), deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
def test_any_damage_and_any_verb(
    pristine: Path, workplace: None, capsys: pytest.CaptureFixture[str], target: str, damage: str, verb: str, seed: int
) -> None:
    try_one(pristine, target, damage, verb, seed, capsys)
