"""A run reference leads to exactly one run or checkpoint, or to an error that lists what could be meant."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from helpers.messages import assert_names, missing_names, raises_naming
from regimen.runs.references import known_runs, resolve_data, resolve_policy, resolve_result, resolve_run
from regimen.system import host
from regimen.system.errors import RunReferenceError

ID = "20260101-{}0000-go2_flat-skrl_ppo-00aa"


def add(root: Path, name: str | None, at: str, *checkpoints: str, run_id: str = "") -> Path:
    """A run directory with empty checkpoint files."""
    folder = root / (run_id or f"20260101-{at.replace(':', '')}-go2_flat-skrl_ppo-00aa")
    (folder / "checkpoints").mkdir(parents=True)
    for file in checkpoints:
        (folder / "checkpoints" / f"{file}.pt").touch()
    status = {"id": folder.name, "name": name, "status": "finished", "started": f"2026-01-01T{at}+00:00"}
    (folder / "run.json").write_text(json.dumps(status))
    return folder


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    outputs, multirun = tmp_path / "outputs", tmp_path / "multirun"
    add(outputs, "walker", "10:00:00", "last", "best", "step_000000480", "step_000000960")
    add(outputs, "walker", "11:00:00", "last")
    add(outputs, "lonely", "12:00:00", "last")
    add(outputs, None, "13:00:00")
    add(multirun / "20260101-150000-ab12", None, "09:00:00", "last", run_id="0-seed=1")
    (outputs / ".gitkeep").touch()
    (outputs / "half").mkdir()
    return outputs, multirun


def test_newest_first_and_sweeps_included(roots: tuple[Path, Path]) -> None:
    assert [run.started[11:13] for run in known_runs(roots)] == ["13", "12", "11", "10", "09"]


@pytest.mark.parametrize("ref", ["20260101-100000-go2_flat-skrl_ppo-00aa", "20260101-10"])
def test_id_and_unique_prefix(roots: tuple[Path, Path], ref: str) -> None:
    assert resolve_run(ref, roots).name.startswith("20260101-100000")
    assert resolve_policy(ref, roots).name == "best.pt"


def test_name_latest_directory_and_job_of_a_sweep(roots: tuple[Path, Path]) -> None:
    assert resolve_run("lonely", roots).name.startswith("20260101-12")
    assert resolve_run("latest", roots).name.startswith("20260101-13")
    assert resolve_run("0-seed=1", roots).parent.name == "20260101-150000-ab12"
    folder = next(roots[0].glob("*-11*"))
    assert resolve_run(str(folder), roots) == folder.resolve()
    assert resolve_policy(str(folder), roots) == (folder / "checkpoints/last.pt").resolve()


def test_latest_policy_is_of_the_newest_run_that_has_one(roots: tuple[Path, Path]) -> None:
    path = resolve_policy("latest", roots)
    assert path.parent.parent.name.startswith("20260101-12") and path.name == "last.pt"


def test_best_is_the_one_judged_best_where_checkpoints_were_judged(roots: tuple[Path, Path]) -> None:
    assert resolve_policy("20260101-10@best", roots) == resolve_policy("20260101-10@best_return", roots)
    judged = next(roots[0].glob("*-10*")) / "checkpoints" / "best_judged.pt"
    judged.write_text("judged")
    assert resolve_policy("20260101-10@best", roots) == resolve_policy("20260101-10", roots) == judged.resolve()
    assert resolve_policy("20260101-10@best_return", roots).name == "best.pt"
    with raises_naming(RunReferenceError, "@500", "@best", "@best_return", "@last"):
        resolve_policy("20260101-10@500", roots)
    with raises_naming(RunReferenceError, ID.format("12"), "@last"):
        resolve_policy("lonely@best_return", roots)


def test_which_checkpoint(roots: tuple[Path, Path]) -> None:
    assert resolve_policy("20260101-10@last", roots).name == "last.pt"
    assert resolve_policy("20260101-10@480", roots).name == "step_000000480.pt"
    with raises_naming(RunReferenceError, ID.format("10"), "@500", "@best", "@last", "@480", "@960"):
        resolve_policy("20260101-10@500", roots)
    with raises_naming(RunReferenceError, ID.format("12"), "@best", "@last"):
        resolve_policy("lonely@best", roots)


def test_ambiguity_lists_candidates(roots: tuple[Path, Path]) -> None:
    for ref, hours in (("walker", ("10", "11")), ("20260101-1", ("10", "11", "12", "13"))):
        ids = [ID.format(hour) for hour in hours]
        with raises_naming(RunReferenceError, ref, len(ids), *ids) as caught:
            resolve_run(ref, roots)
        (line,) = [line for line in str(caught.value).splitlines() if not missing_names(line, ID.format("11"))]
        assert_names(line, "walker", "finished")


def test_absence_lists_the_nearest(roots: tuple[Path, Path], tmp_path: Path) -> None:
    with raises_naming(RunReferenceError, "lonley", "lonely", ID.format("12")) as caught:
        resolve_run("lonley", roots)
    assert "walker" not in str(caught.value)
    with raises_naming(RunReferenceError, "latest", tmp_path / "nothing"):
        resolve_run("latest", (tmp_path / "nothing",))
    with raises_naming(RunReferenceError, "checkpoint", ID.format("13")):
        resolve_policy("20260101-13", roots)


def test_files_and_pretrained(roots: tuple[Path, Path], tmp_path: Path) -> None:
    policy = tmp_path / "pretrained" / "go2_flat" / "policy.pt"
    policy.parent.mkdir(parents=True)
    policy.touch()
    assert resolve_policy("pretrained:go2_flat", roots, [tmp_path / "pretrained"]) == policy
    assert resolve_policy(str(policy), roots) == policy.resolve()
    with raises_naming(RunReferenceError, "go2_flt", tmp_path / "pretrained", "go2_flat"):
        resolve_policy("pretrained:go2_flt", roots, [tmp_path / "pretrained"])
    with raises_naming(RunReferenceError, "nowhere/x.pt", Path.cwd()):
        resolve_policy("nowhere/x.pt", roots)


def test_a_run_nobody_works_on_is_lost(roots: tuple[Path, Path]) -> None:
    folder = add(roots[0], "gone", "14:00:00")
    record = json.loads((folder / "run.json").read_text()) | {"status": "running"}
    for supervisor, status in ((None, "lost"), (host.process(os.getpid()).to_dict(), "running")):
        (folder / "run.json").write_text(json.dumps(record | {"supervisor": supervisor}))
        assert known_runs(roots)[0].status == status


def test_an_at_sign_in_a_path_and_steps_without_last(roots: tuple[Path, Path]) -> None:
    folder = add(roots[0] / "me@home", None, "14:00:00", "step_000000480", "step_000000960")
    assert resolve_policy(str(folder), roots).name == "step_000000960.pt"
    assert resolve_policy(f"{folder}@480", roots).name == "step_000000480.pt"


def with_data(roots: tuple[Path, Path], at: str, *files: str) -> Path:
    folder = next(roots[0].glob(f"*-{at}*")) / "data"
    folder.mkdir()
    for file in files:
        (folder / f"{file}.h5").touch()
    return folder.resolve()


def test_data_of_a_run_is_its_folder_or_its_only_file(roots: tuple[Path, Path]) -> None:
    one, two = with_data(roots, "10", "episodes"), with_data(roots, "12", "a", "b")
    assert resolve_data("20260101-10", roots) == one / "episodes.h5"
    assert resolve_data("lonely", roots) == two == resolve_data("latest", roots)
    assert resolve_data(str(one.parent), roots) == one / "episodes.h5"


def test_data_of_a_folder_or_a_file(roots: tuple[Path, Path], tmp_path: Path) -> None:
    folder = with_data(roots, "12", "a", "b")
    assert resolve_data(str(folder), roots) == folder
    assert resolve_data(str(folder / "a.h5"), roots) == folder / "a.h5"
    with raises_naming(RunReferenceError, "nowhere/x.h5", Path.cwd()):
        resolve_data("nowhere/x.h5", roots)
    with raises_naming(RunReferenceError, tmp_path, "*.h5"):
        resolve_data(str(tmp_path), roots)


def test_data_of_learning_histories_is_their_index(roots: tuple[Path, Path]) -> None:
    folder = with_data(roots, "12") / "histories"
    folder.mkdir()
    (folder / "00000.h5").touch()
    with raises_naming(RunReferenceError, "latest", "dataset", *roots):
        resolve_data("latest", roots)  # files without an index are not finished
    (folder / "histories.json").write_text("{}")
    assert resolve_data("latest", roots) == resolve_data("lonely", roots) == folder / "histories.json"
    assert resolve_data(str(folder), roots) == folder / "histories.json"


def test_a_run_without_data_lists_those_with(roots: tuple[Path, Path]) -> None:
    with raises_naming(RunReferenceError, ID.format("12"), "dataset", "python launch.py stage=collect"):
        resolve_data("lonely", roots)
    with raises_naming(RunReferenceError, "latest", "dataset", *roots):
        resolve_data("latest", roots)
    with_data(roots, "10", "episodes")
    with raises_naming(RunReferenceError, ID.format("12"), "dataset", ID.format("10"), "walker") as caught:
        resolve_data("lonely", roots)
    assert not {ID.format("11"), ID.format("13")} - {
        *missing_names(str(caught.value), ID.format("11"), ID.format("13"))
    }
    with raises_naming(RunReferenceError, "lonely@best", "dataset", "@best", "lonely"):
        resolve_data("lonely@best", roots)
    with raises_naming(RunReferenceError, "walker", 2, ID.format("10"), ID.format("11")):
        resolve_data("walker", roots)


def test_an_unreadable_run_is_found_by_its_id_alone(roots: tuple[Path, Path]) -> None:
    folder = add(roots[0], "odd", "23:00:00")
    (folder / "run.json").write_text("{")
    assert resolve_run("20260101-23", roots) == folder.resolve()
    assert resolve_run("latest", roots).name.startswith("20260101-13")
    with raises_naming(RunReferenceError, "odd", ID.format("23"), "unreadable"):
        resolve_run("odd", roots)


def test_the_result_of_a_run(roots: tuple[Path, Path]) -> None:
    run = add(roots[0], "judged", "14:00:00")
    with raises_naming(RunReferenceError, ID.format("14"), "result"):
        resolve_result("judged", roots)
    (run / "result.json").write_text("{}")
    assert resolve_result("judged", roots) == (run / "result.json").resolve()
    assert resolve_result(str(run / "result.json"), roots) == (run / "result.json").resolve()


def test_policies_published_in_the_current_folder_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = resolve_policy("pretrained:go2_flat")
    assert shipped.is_file() and not shipped.is_relative_to(tmp_path)
    own = tmp_path / "pretrained" / "go2_flat" / "policy.pt"
    own.parent.mkdir(parents=True)
    own.touch()
    assert resolve_policy("pretrained:go2_flat") == own


@pytest.mark.parametrize("ref", ["a" * 300, "a" * 5000, "a/" * 2000, "~nobody-of-this-name/x", "a\0b", "a\nb"])
def test_what_no_file_can_be_called_is_refused_as_any_other(ref: str) -> None:
    for resolve in (resolve_run, resolve_policy, resolve_data):
        with pytest.raises(RunReferenceError) as caught:
            resolve(ref)
        assert len(str(caught.value)) < 2000
