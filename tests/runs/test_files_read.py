"""The user's files that a worker opens: recorded with their checksums, and found to have changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names
from helpers.supervised_runs import ended, make_run, start
from helpers.user_folder import write
from regimen.runs import code_snapshot, files_read
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.system import files, json_lines

STAGE = """
import json, os
from dataclasses import dataclass
from pathlib import Path
from readers.inner import VALUE
HERE = Path(__file__).parent

@dataclass
class ReadCfg:
    _target_: str = "reading_stage.Read"
    motion: str = ""

class Read:
    def __init__(self, cfg): ...

    def __call__(self, run, config):
        for _ in range(3):
            weights = json.loads((HERE / "data/weights.json").read_text())
        Path("cache.txt").write_text("made by the run")
        Path("cache.txt").read_text()
        (run.dir / "note.txt").write_text("x")
        (run.dir / "note.txt").read_text()
        os.close(os.open("plain.txt", os.O_RDONLY))
        try:
            open("missing.txt")
        except FileNotFoundError:
            pass
        run.finish({"return": weights["w"]}, {})
"""


def elsewhere(root: Path) -> Path:
    """A folder outside of the current one, and of the modules."""
    return root.with_name(f"{root.name}-elsewhere")


def reading_run(root: Path, **known: Any) -> Run:
    """A run of a stage of the user in `root`, which opens files."""
    if not (root / "reading_stage.py").exists():
        write(root / "reading_stage.py", STAGE)
        write(root / "readers/inner.py", "VALUE = 1\n")
        write(root / "data/weights.json", '{"w": 1.0}')
        write(root / "data/other.json", "{}")
        write(root / "plain.txt", "plain")
    config = make_run(root / "outputs", "finish").config
    motion = write(elsewhere(root) / "motion.npz", "named, and opened by no Python")
    config["stage"] = {"_target_": "reading_stage.Read", "motion": str(motion)}
    return Run(create_run_dir(root, config, ["launch.py"], [], repository=root, **known))


READ = {"reading_stage.py", "readers/inner.py", "data/weights.json", "plain.txt"}


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_code_and_data_that_a_run_reads_are_recorded(tmp_path: Path, monkeypatch: Any, frozen: bool) -> None:
    run = reading_run(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if frozen:
        run = reading_run(tmp_path, code=str(code_snapshot.take(run.config)))
    else:
        subprocess.run([sys.executable, "-m", "compileall", "-q", "."], check=True)
    ended(start(run), run)
    names = [row["path"] for row in json_lines.rows(run.dir / files_read.FILE)]
    assert names.count(str(elsewhere(tmp_path) / "motion.npz")) == 1
    own = [name for name in names if not Path(name).is_absolute()]  # those of the tests are user modules as well
    assert sorted(own) == sorted(READ), "each file is recorded once, outputs are not"
    assert list(files_read.changed(run.dir)) == []
    write(elsewhere(tmp_path) / "motion.npz", "another")
    [line] = files_read.changed(run.dir)
    assert_names(line, "motion.npz")


@pytest.mark.parametrize("path", ["readers/inner.py", "data/weights.json"])
def test_a_file_that_has_changed_or_is_gone_is_named(tmp_path: Path, monkeypatch: Any, path: str) -> None:
    run = reading_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"path": name, "sha256": files.sha256(tmp_path / name)}) for name in sorted(READ)]
    write(run.dir / files_read.FILE, "\n".join(rows))
    assert list(files_read.changed(run.dir)) == []
    with Path(path).open("a") as file:
        file.write(" ")
    [line] = files_read.changed(run.dir)
    assert_names(line, path)
    Path(path).unlink()
    [line] = files_read.changed(run.dir)
    assert_names(line, path, "gone")


def test_a_file_that_two_attempts_read_differently_counts_as_changed(tmp_path: Path, monkeypatch: Any) -> None:
    run = reading_run(tmp_path)
    monkeypatch.chdir(tmp_path)
    now = files.sha256(tmp_path / "plain.txt")
    rows = [json.dumps({"path": "plain.txt", "sha256": digest}) for digest in ("0" * 64, now)]
    write(run.dir / files_read.FILE, "\n".join(rows))
    assert_names(" ".join(files_read.changed(run.dir)), "plain.txt")
