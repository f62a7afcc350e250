"""Facts of machine and processes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.interpreters import other_python
from helpers.messages import assert_names
from regimen.system import host as facts
from regimen.system.git import GitState


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    me = facts.process(os.getpid())
    assert facts.is_alive(me) is True
    assert facts.is_alive(replace(me, start=me.start - 1)) is False
    assert facts.is_alive(replace(me, host="elsewhere")) is None
    assert facts.is_alive(None) is False


@pytest.mark.linux
def test_the_start_of_a_process_is_the_one_that_records_of_version_0_1_hold() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        for pid in (1, os.getpid(), child.pid):
            ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
            assert facts.process(pid).start == ticks


def test_an_ended_process_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        known = facts.process(child.pid)
        assert facts.is_alive(known) is True
        assert facts.tree_rss(os.getpid()) > facts.tree_rss(child.pid) > 0
    assert facts.is_alive(known) is False
    assert facts.tree_rss(child.pid) == 0


def test_memory_and_host() -> None:
    host = facts.host()
    assert 0 < facts.memory_available() <= host.memory_gib * 2**30 * 1.01
    assert host.cores == facts.cores() >= 1


def test_packages_of_another_interpreter(tmp_path: Path) -> None:
    python = other_python(tmp_path, mjlab="9.9")
    found = facts.versions_in(str(python))
    assert found["mjlab"] == "9.9" and found["python"] == platform.python_version()
    assert "mujoco" not in found, "packages of this interpreter"
    assert facts.versions_in(sys.executable) == facts.versions()
    assert facts.versions_in(str(tmp_path / "none")) == {}


@pytest.mark.parametrize(
    ("membership", "group", "names"),
    [
        ("0::/pod/job", "pod", facts.GROUP_V2),
        ("0::/elsewhere", ".", facts.GROUP_V2),
        ("4:memory:/pod/job\n0::/", "memory/pod/job", facts.GROUP_V1),
    ],
)
def test_memory_of_a_container_counts_what_can_be_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, membership: str, group: str, names: tuple[str, str, str]
) -> None:
    monkeypatch.setattr(facts, "MEMBERSHIP", tmp_path / "cgroup")
    monkeypatch.setattr(facts, "GROUPS", tmp_path / "groups")
    folder = tmp_path / "groups" / group
    (tmp_path / "groups" / "pod" / "job").mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(names[:2], ("1000", "700"), strict=True):
        (folder / name).write_text(text + "\n")
    (folder / "memory.stat").write_text(f"anon 300\n{names[2]} 250\n")
    (tmp_path / "cgroup").write_text(membership + "\n")
    assert facts.memory_available() == 550
    (folder / "memory.events").write_text("low 0\noom 4\noom_kill 3\n")
    (folder / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert facts.oom_kills() == 3


def test_what_changed_since_is_named() -> None:
    before = facts.CodeState(GitState("a" * 40), {"torch": "2.1", "numpy": "2.0"})
    now = facts.CodeState(GitState("b" * 40, dirty=True), {"torch": "2.2", "numpy": "2.0"})
    assert facts.differences(before, before) == []
    commit, torch, uncommitted = facts.differences(before, now)
    assert_names(commit, "commit", "a" * 10, "b" * 10)
    assert_names(torch, "torch", "2.1", "2.2")
    assert_names(uncommitted, "uncommitted", False, True)
