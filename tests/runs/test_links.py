"""Links in a run directory: nothing outside of it is written or removed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers.messages import assert_names, raises_naming
from helpers.recorded_runs import record_run
from helpers.supervised_runs import ended, make_run, start
from regimen.cli.clean import clean_verb
from regimen.cli.publish import publish
from regimen.runs import lock
from regimen.runs.run import Run
from regimen.system.errors import ConfigError, PreflightError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is not of a run, and the working folder `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "step_000000001.pt").write_text("precious")
    (folder / "step_000000002.pt").write_text("precious")
    return folder


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def test_clean_removes_no_checkpoint_behind_a_link(elsewhere: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, before = record_run(Path("outputs"), "20260101-000000-reach-a-0001"), content(elsewhere)
    shutil.rmtree(run / "checkpoints", ignore_errors=True)
    (run / "checkpoints").symlink_to(elsewhere)
    clean_verb(["--checkpoints", "--yes"])
    assert content(elsewhere) == before
    assert_names(capsys.readouterr().out, "checkpoints/step_000000001.pt")


@pytest.mark.parametrize("name", [".supervisor", ".lock", ".reserve"])
def test_clean_writes_nothing_through_a_link(elsewhere: Path, name: str) -> None:
    run = record_run(Path("outputs"), "20260101-000000-reach-a-0001", status="failed", exit_code=1)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(elsewhere / "made")
    clean_verb(["--yes"])
    assert not (elsewhere / "made").exists() and len(content(elsewhere)) == 2


def test_trash_that_is_a_link_stays(elsewhere: Path) -> None:
    Path("outputs").mkdir()
    Path("outputs/.trash-x").symlink_to(elsewhere)
    clean_verb(["--yes"])
    assert len(content(elsewhere)) == 2


@pytest.mark.parametrize("name", ["checkpoints", "logs/worker.log", "metrics.jsonl", ".reserve", "tb", "figures"])
def test_no_work_begins_in_a_directory_that_leads_elsewhere(elsewhere: Path, name: str) -> None:
    run = make_run(Path("outputs"), "finish")
    path = run.dir / name
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere / "made" if "." in name else elsewhere)
    process = start(run)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert_names(out, Path(name).name)
    assert not (elsewhere / "made").exists() and len(content(elsewhere)) == 2


def test_a_run_directory_may_be_reached_by_a_link(elsewhere: Path) -> None:
    run = make_run(elsewhere / "outputs", "finish")
    Path("outputs").symlink_to(elsewhere / "outputs")
    info, _ = ended(start(Run(Path("outputs") / run.id)), run)
    assert info["status"] == "finished"


def test_a_lock_that_is_a_link_is_refused(elsewhere: Path) -> None:
    run = make_run(Path("outputs"), "finish")
    (run.dir / ".supervisor").unlink(missing_ok=True)
    (run.dir / ".supervisor").symlink_to(elsewhere / "made")
    with raises_naming(PreflightError, run.id), lock.hold_lock(run):
        pass
    assert not (elsewhere / "made").exists()


def test_a_configuration_from_elsewhere_is_not_published(elsewhere: Path) -> None:
    run = record_run(Path("outputs"), "20260101-000000-reach-a-0001")
    (run / "checkpoints").mkdir(exist_ok=True)
    shutil.copy(ROOT / "pretrained" / "go2_flat" / "policy.pt", run / "checkpoints" / "best.pt")
    (run / "config.yaml").unlink(missing_ok=True)
    (run / "config.yaml").symlink_to(elsewhere / "step_000000001.pt")
    with raises_naming(ConfigError, "config.yaml"):
        publish(str(run), "leak", Path("pretrained"))
    assert not Path("pretrained/leak").exists()
