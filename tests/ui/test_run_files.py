"""Only files that a run lists, and its pictures and films, leave its folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.recorded_runs import record_run
from regimen.runs.history.run_view import RunView, open_view_dir
from regimen.ui.run_files import listed, of_kind, served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    artifacts = [{"path": name, "kind": "table"} for name in ("report/report.html", "data/link.csv", "gone.csv")]
    folder = record_run(tmp_path / "outputs", "a", "best", artifacts=artifacts)
    (tmp_path / "secret.csv").write_text("secret")
    for name in ("figures/a.png", "video/a.mp4", "report/report.html", "logs/worker.log", "figures/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    (folder / "data").mkdir()
    (folder / "data" / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "figures" / "link.png").symlink_to(tmp_path / "secret.csv")
    (folder / "figures" / "same.png").symlink_to(folder / "figures" / "a.png")
    return folder


@pytest.fixture
def run(folder: Path) -> RunView:
    return open_view_dir(folder)


@pytest.mark.parametrize("name", ["figures/a.png", "video/a.mp4", "report/report.html", "figures/same.png"])
def test_what_is_listed_is_served(run: RunView, name: str) -> None:
    found = served(run, name)
    assert found is not None and found.is_shown and found.path.is_relative_to(run.dir)


@pytest.mark.parametrize(
    "name",
    [
        "run.json", "config.yaml", "logs/worker.log", "checkpoints/best.pt", "figures/notes.txt", "figures", "", ".",
        "../../secret.csv", "figures/../../../secret.csv", "figures/../run.json", "/etc/passwd", "figures//a.png",
        "data/link.csv", "figures/link.png", "gone.csv", "figures/a.png\0", "FIGURES/A.PNG",
    ],
)  # fmt: skip
def test_nothing_else_is(run: RunView, name: str) -> None:
    assert served(run, name) is None


def test_an_artifact_that_a_browser_does_not_show_is_saved(folder: Path) -> None:
    (folder / "data" / "rows.csv").write_text("1")
    path = folder / "run.json"
    path.write_text(path.read_text().replace("data/link.csv", "data/rows.csv"))
    found = served(open_view_dir(folder), "data/rows.csv")
    assert found is not None and not found.is_shown and found.media_type == "application/octet-stream"


def test_pictures_and_films_are_found_before_the_run_lists_them(run: RunView) -> None:
    assert of_kind(run, "video") == ["video/a.mp4"]
    assert of_kind(run, "figures") == ["figures/a.png", "figures/link.png", "figures/same.png"]
    assert "logs/worker.log" not in listed(run)
