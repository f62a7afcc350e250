"""Several supervisors at once; sweeps and pipelines try them with real runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import change
from helpers.supervised_runs import TESTS, make_run, wait_for
from regimen.orchestration.supervisor_pool import SupervisorPool, corrected_record
from regimen.system import host


def test_a_run_whose_supervisor_died_is_closed_and_one_that_another_took_over_is_not(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    change(run.dir, supervisor=host.process(os.getpid()))
    assert corrected_record(run.dir, 2).status == "running"
    change(run.dir, supervisor={**host.process(os.getpid()).to_dict(), "start": 1})
    record = corrected_record(run.dir, 137)
    assert (record.status, record.exit_code) == ("killed", 137)
    assert run.status == "killed"
    assert_names(record.reason, "exit code 137", os.path.relpath(run.logs))


def test_a_directory_that_is_gone_is_no_crash(tmp_path: Path) -> None:
    assert corrected_record(tmp_path / "gone", 1).status == "killed"


@pytest.mark.slow
def test_supervisors_start_and_are_seen_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))
    runs = [make_run(tmp_path, act) for act in ("finish", "fail")]
    supervisors = SupervisorPool()
    for run in runs:
        supervisors.start(run)
    assert set(supervisors.running) == {run.id for run in runs}
    ended = {}

    def all_ended() -> bool:
        ended.update({end.run.id: (end.exit_code, end.record.status) for end in supervisors.ended()})
        return len(ended) == 2

    wait_for(all_ended)
    assert ended == {runs[0].id: (0, "finished"), runs[1].id: (1, "failed")}
    assert not supervisors.running
