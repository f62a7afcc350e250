"""run.json is read as a typed record and written as it was: old ones, and those of later versions."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import raises_naming
from helpers.recorded_runs import recorded
from helpers.supervised_runs import make_run
from regimen.runs.create import create_run_dir
from regimen.runs.record import Outcome, RecordError, RunRecord, read_record
from regimen.runs.record_parts import InputEntry, PipelineStep, QueueEntry
from regimen.runs.run import Run
from regimen.runs.status import Status
from regimen.system.host import ProcessIdentity

ROOT = Path(__file__).resolve().parents[2]
CONFIG = {"name": "mine", "seed": 3, "choices": {"task": "reach", "agent": "skrl_ppo", "stage": "train"}}

KEYS = (
    "format", "id", "name", "stage", "status", "exit_code", "reason", "argv", "overrides", "choices", "rerun_of",
    "sweep", "pipeline", "queue", "parents", "pending", "inputs", "seed", "git", "code", "signature", "versions",
    "host", "created", "started", "ended", "wall_s", "cpu_s", "peak_memory_gib", "headline", "artifacts", "error",
    "signal", "supervisor", "resumed", "warnings", "notes", "tags",
)  # fmt: skip


def of_version_0_1() -> dict[str, dict[str, Any]]:
    """Path -> run.json in the archive that version 0.1 wrote."""
    with tarfile.open(ROOT / "tests/fixtures/runs_0_1.tar.gz") as archive:
        found = [m for m in archive if m.name.endswith("/run.json")]
        return {m.name: json.loads(archive.extractfile(m).read()) for m in found}  # type: ignore[union-attr]


@pytest.mark.parametrize("path", sorted(of_version_0_1()))
def test_a_record_of_version_0_1_is_written_as_it_was(path: str) -> None:
    data = of_version_0_1()[path]
    record = RunRecord.from_dict(data)
    assert list(record.to_dict().items()) == list(data.items())
    assert RunRecord.from_dict(record.to_dict()) == record
    assert isinstance(record.status, Status) and record.supervisor is not None
    assert all(Path(entry.path).is_absolute() for entry in record.inputs.values())


def test_environment_variables_of_a_run_are_kept(tmp_path: Path) -> None:
    variables = {"MUJOCO_GL": "egl", "CUDA_VISIBLE_DEVICES": "1"}
    run = Run(create_run_dir(tmp_path, CONFIG, ["launch.py"], [], repository=tmp_path, environment=variables))
    assert run.record.environment == recorded(run)["environment"] == variables


@pytest.mark.parametrize("file", sorted(ROOT.glob("pretrained/*/run.json")), ids=lambda file: file.parent.name)
def test_a_record_that_lacks_fields_gets_their_defaults(file: Path) -> None:
    data = json.loads(file.read_text())
    record = RunRecord.from_dict(data)
    assert (record.supervisor, record.queue, record.notes, record.pending) == (None, None, [], {})
    assert record.to_dict().items() >= data.items()
    assert record.host is not None and "name" not in record.to_dict()["host"]


def test_a_new_record_has_all_keys_in_their_order(tmp_path: Path) -> None:
    queue = QueueEntry("local", ProcessIdentity("node7", 12, 345))
    folder = create_run_dir(
        tmp_path, CONFIG, ["launch.py"], [], repository=tmp_path, queue=queue, pipeline=PipelineStep("i", "n", "s")
    )
    data = recorded(Run(folder))
    assert tuple(data) == KEYS
    assert data["queue"] == {"kind": "local", "process": {"host": "node7", "pid": 12, "start": 345}}
    assert data["pipeline"] == {"id": "i", "name": "n", "step": "s"}
    assert (data["git"], data["supervisor"], data["error"]) == (None, None, None)
    assert set(data["host"]) == {"name", "system", "cores", "memory_gib", "gpus"}
    assert set(data["signature"]) == {"config", "code"}


@pytest.mark.parametrize(
    ("env", "sim", "recorded_class"),
    [
        (
            "manager_env.ManagerEnv",
            {"_target_": "regimen.envs.sims.mujoco_warp.MujocoWarpWorld", "device": "cpu"},
            "bit",
        ),
        (
            "manager_env.ManagerEnv",
            {"_target_": "regimen.envs.sims.mujoco_warp.MujocoWarpWorld", "device": "cuda:1"},
            "none",
        ),
        ("manager_env.ManagerEnv", {"_target_": "regimen.envs.sims.mujoco.MujocoWorld"}, "bit"),
        ("gym.GymEnv", {"_target_": "regimen.envs.sims.mujoco.MujocoWorld"}, None),
    ],
)
def test_the_determinism_class_is_that_of_the_simulator_on_its_device(
    tmp_path: Path, env: str, sim: dict[str, str], recorded_class: str | None
) -> None:
    config = CONFIG | {"env": {"_target_": f"regimen.envs.{env}"}, "sim": sim}
    run = Run(create_run_dir(tmp_path, config, ["launch.py"], [], repository=tmp_path))
    assert run.record.determinism == recorded_class
    assert ("determinism" in recorded(run)) == (recorded_class is not None)


def test_fields_of_a_later_version_are_kept_and_written_back(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    later = {"energy_kwh": 1.5, "extra": None, "badge": {"colour": ["red"]}}
    data = recorded(run) | later
    data["supervisor"] = {"host": "node7", "pid": 1, "start": 2, "container": "c1"}
    data["queue"] = {"kind": "slurm", "job": "7", "restarts": [{"at": "t", "cause": "c", "step": 3, "node": "n"}]}
    data["resumed"] = [{"at": "t", "previous_status": "killed", "cause": "person"}]
    (run.dir / "run.json").write_text(json.dumps(data))
    supervisor = run.record.supervisor
    assert supervisor == ProcessIdentity("node7", 1, 2) and supervisor.extra == {"container": "c1"}
    run.change(lambda record: record.tags.append("mine"))
    assert recorded(run) == data | {"tags": ["mine"]}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["JSON object"]),
        ("[1]", ["JSON object"]),
        ("{}", ["status"]),
        ('{"status": "odd"}', ["odd", "Status"]),
        ('{"status": "failed", "headline": 3}', ["headline", "dictionary", "int"]),
        ('{"status": "failed", "wall_s": "long"}', ["wall_s", "number", "str"]),
        ('{"status": "failed", "tags": {}}', ["tags", "list", "dictionary"]),
        ('{"status": "failed", "queue": "slurm"}', ["dictionary", "str"]),
        ('{"status": "failed", "inputs": {"policy": {}}}', ["path"]),
        ('{"status": "failed", "notes": [{"at": "now"}]}', ["text"]),
    ],
)
def test_what_is_no_record_says_why(tmp_path: Path, text: str, names: list[str]) -> None:
    run = make_run(tmp_path, "finish")
    (run.dir / "run.json").write_text(text)
    with raises_naming(RecordError, *names):
        _ = run.record
    with pytest.raises(RecordError):
        run.change(lambda record: record.tags.append("mine"))
    assert (run.dir / "run.json").read_text() == text, "nothing is lost by a change that cannot be made"
    assert read_record(run.dir) is None and run.status == Status.UNREADABLE


def test_null_stands_for_a_default() -> None:
    record = RunRecord.from_dict({"status": "failed", **dict.fromkeys(k for k in KEYS if k != "status")})
    assert record == RunRecord(status=Status.FAILED)


def test_a_change_that_raises_changes_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    before = (run.dir / "run.json").read_text()

    def alter(record: RunRecord) -> None:
        record.tags = ["lost"]
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        run.change(alter)
    assert (run.dir / "run.json").read_text() == before


def test_a_worker_corrects_the_end_that_was_recorded_for_its_supervisor() -> None:
    record = RunRecord(id="a", supervisor=ProcessIdentity("node7", 1, 2))
    assert record.close_dead_supervisor(Outcome(Status.KILLED, 137, "its supervisor ended"))
    assert not record.close_dead_supervisor(Outcome(Status.KILLED, 1, "again"))
    record.end(Outcome(Status.FINISHED, 0), {"return": 1.0})
    assert (record.status, record.exit_code, record.reason, record.headline) == ("finished", 0, None, {"return": 1.0})


def test_statuses_say_what_may_be_done() -> None:
    table = {
        name: {status.value for status in Status if getattr(status, name)}
        for name in ("is_open", "may_have_job", "is_final", "is_resumable", "is_failure")
    }
    assert table == {
        "is_open": {"queued", "running"},
        "may_have_job": {"queued", "running", "preempted", "lost"},
        "is_final": {"finished", "failed", "diverged"},
        "is_resumable": {"killed", "preempted", "lost", "failed"},
        "is_failure": {"killed", "preempted", "lost", "failed", "diverged"},
    }
    assert [f"{status:<9}|" for status in (Status.LOST,)] == ["lost     |"] and json.dumps(Status.LOST) == '"lost"'


def test_an_input_without_a_checksum_is_read() -> None:
    record = RunRecord.from_dict({"status": "failed", "inputs": {"policy": {"path": "/a"}}})
    assert record.inputs == {"policy": InputEntry("/a")}
