"""Facts of machine and processes."""

from __future__ import annotations

import os
import subprocess
import sys

from regimen import facts


def test_a_process_is_told_from_a_later_one_with_its_number() -> None:
    me = facts.process(os.getpid())
    assert facts.is_alive(me) is True
    assert facts.is_alive({**me, "start": me["start"] - 1}) is False
    assert facts.is_alive({**me, "host": "elsewhere"}) is None
    assert facts.is_alive(None) is False


def test_an_ended_process_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        known = facts.process(child.pid)
        assert facts.is_alive(known) is True
        assert facts.tree_rss(os.getpid()) > facts.tree_rss(child.pid) > 0
    assert facts.is_alive(known) is False
    assert facts.tree_rss(child.pid) == 0


def test_memory_and_host() -> None:
    host = facts.host()
    assert 0 < facts.memory_available() <= host["memory_gib"] * 2**30 * 1.01
    assert host["python"] == sys.executable
