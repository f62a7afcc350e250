"""Processes that claim, index and clean the same folder at once lose nothing and stumble over nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.subprocesses import popen
from helpers.supervised_runs import wait_for

ROOT = Path(__file__).resolve().parents[3]


def work(number: int, rounds: int) -> dict[str, list[str]]:
    """Make runs, list them and clean up, as one of several processes in the same folder.

    Returns:
        The runs that must still be there, and those made from a run that could have been removed meanwhile.
    """
    from regimen.cli.clean import clean_verb
    from regimen.runs import create
    from regimen.runs.create import create_run_dir
    from regimen.runs.index.index import Index
    from regimen.runs.record import Outcome, RunRecord
    from regimen.runs.run import Run
    from regimen.runs.status import Status
    from regimen.system.errors import PreflightError
    from regimen.system.git import Repository

    create.signature.code_signature = lambda *_: ""  # slow, and not what this is about; nor is a loss of power
    create.repository_state = lambda folder: Repository()
    os.fsync = lambda descriptor: None
    outputs = Path("outputs")
    config = {"name": f"process{number}", "choices": {"task": "reach", "agent": "skrl_ppo", "stage": "train"}}

    def ended(status: Status) -> Callable[[RunRecord], None]:
        return lambda record: record.end(Outcome(status, int(status is Status.FAILED)))

    keep: list[str] = []
    children: list[str] = []
    for turn in range(rounds):
        made = Run(create_run_dir(outputs, config, [], []))
        (made.dir / "policy.pt").write_bytes(b"weights")
        made.change(ended(Status.FAILED if turn % 10 else Status.FINISHED))
        if turn % 10 == 0:
            keep.append(made.id)
        if turn % 10 == 5:  # the other process may be removing the parent at this very moment
            policy = made.dir / "policy.pt"
            with contextlib.suppress(PreflightError):
                child = Run(create_run_dir(outputs, config, [], [], files={"policy": policy}, parents=[made.id]))
                child.change(ended(Status.FINISHED))
                keep.append(child.id)
                children.append(made.id)
        rows = Index().rows()
        assert not [(run.id, run.unreadable) for run in rows if run.unreadable]
        missing = {*keep, *children} - {run.id for run in rows}
        if missing:  # the other process took a parent away, found its child, and puts it back
            assert missing <= set(children)
            wait_for(lambda gone=missing: gone <= {run.id for run in Index().rows()})
        with contextlib.redirect_stdout(io.StringIO()):
            assert clean_verb(["--yes"]) == 0
    return {"keep": keep, "children": children}


@pytest.mark.slow
def test_two_processes_claiming_indexing_and_cleaning_at_once(tmp_path: Path) -> None:
    rounds = 500
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "GIT_CEILING_DIRECTORIES": "/"}
    started = time.monotonic()
    both = [
        popen([sys.executable, __file__, str(number), str(rounds)], cwd=tmp_path, env=env, stderr=subprocess.PIPE)
        for number in range(2)
    ]
    ends = [process.communicate() for process in both]
    print(f"{2 * rounds} rounds in {time.monotonic() - started:.1f} s")
    assert [process.returncode for process in both] == [0, 0], "\n".join(end[1][-3000:] for end in ends)
    kept = [json.loads(end[0]) for end in ends]
    wanted = {run for row in kept for run in row["keep"] + row["children"]}
    there = {path.parent.name for path in tmp_path.glob("outputs/*/run.json")}
    assert len(wanted) > rounds / 4 and wanted <= there
    assert all((tmp_path / "outputs" / run / "config.yaml").exists() for run in there)
    assert not list(tmp_path.glob("outputs/.trash*"))


if __name__ == "__main__":
    print(json.dumps(work(int(sys.argv[1]), int(sys.argv[2]))))
