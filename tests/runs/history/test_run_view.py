"""A run is read without touching it, and its files are held against their checksums."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.run_directories import add, add_file
from regimen.config.yaml_io import flatten
from regimen.runs import inputs
from regimen.runs.history.run_view import CHANGED, GONE, UNCHANGED, file_state, open_view, open_view_dir
from regimen.system import host
from regimen.system.errors import RunReferenceError


def test_a_file_is_unchanged_changed_or_gone(tmp_path: Path) -> None:
    policy = add_file(tmp_path, "p.pt", "weights")
    sha256 = hashlib.sha256(b"weights").hexdigest()
    assert file_state(policy, sha256, None) == UNCHANGED
    assert_names(file_state(policy, None, None), "checksum")
    policy.write_text("others")
    assert file_state(policy, sha256, None) == CHANGED
    policy.unlink()
    assert file_state(policy, sha256, None) == GONE


def test_a_large_file_is_judged_by_its_time_until_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "LARGE_BYTES", 3)
    data = add_file(tmp_path, "data.h5", "much")
    os.utime(data, (1000, 1000))
    older = file_state(data, "0" * 64, "2026-11-20T10:00:00+00:00")
    assert file_state(data, "0" * 64, "2026-11-20T10:00:00+00:00", read_all=True) == CHANGED
    os.utime(data, (2e10, 2e10))
    newer = file_state(data, "0" * 64, "2026-11-20T10:00:00+00:00")
    assert older != newer
    for state in (older, newer):
        assert_names(state, "--verify")


def test_a_run_nobody_works_on_is_lost(tmp_path: Path) -> None:
    gone = {**host.process(os.getpid()).to_dict(), "start": 1}
    assert open_view_dir(add(tmp_path, "a", status="running", supervisor=gone)).status == "lost"
    assert open_view_dir(add(tmp_path, "b", status="running", supervisor=host.process(os.getpid()))).status == "running"


def test_an_unreadable_record_is_an_error_that_says_what_is_left(tmp_path: Path) -> None:
    folder = add(tmp_path, "a")
    (folder / "run.json").write_text('{"id": "a", ')
    with raises_naming(RunReferenceError, "run.json", "config.yaml", "logs/", "checkpoints/"):
        open_view(str(folder))


def test_a_missing_or_broken_configuration_is_empty(tmp_path: Path) -> None:
    folder = add(tmp_path, "a")
    assert open_view_dir(folder).config["env"]["num_envs"] == 8
    (folder / "config.yaml").write_text("a: [")
    assert open_view_dir(folder).config == {}


def test_flat_keys_keep_plain_lists_whole() -> None:
    nested = {"a": {"b": [1, 2], "c": {}}, "n": [{"layers": [3]}, {"layers": [4]}]}
    assert dict(flatten(nested)) == {"a.b": [1, 2], "a.c": {}, "n.0.layers": [3], "n.1.layers": [4]}
