"""A folder with pipelines of light steps, and a way to run them as the command line does."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from helpers.subprocesses import popen
from helpers.user_folder import make_lab, write
from regimen.cli.launch import launch
from regimen.orchestration.pipeline import graph, jobs

ROOT = Path(__file__).resolve().parents[3]
IDLE = "overrides: [task=idle, sim=idle, agent=idle]\n"


@dataclass
class Pipes:
    """The folder.

    Attributes:
        folder: current directory of the test.
        capture: what was printed.
        root: of the project.
    """

    folder: Path
    capture: pytest.CaptureFixture[str]
    root: Path = ROOT

    @property
    def dirs(self) -> list[Path]:
        """Folders of options."""
        return [ROOT / "conf", self.folder / "conf"]

    def write(self, steps: str, name: str = "p") -> Path:
        """Write conf/pipeline/<name>.yaml with steps that need no task."""
        return write(self.folder / f"conf/pipeline/{name}.yaml", f"# A test\n{IDLE}steps:\n{steps}")

    def command(self, *arguments: str) -> list[str]:
        """Arguments of launch.py for the pipeline `p`."""
        return ["--config-dir", "conf", "pipeline=p", *arguments]

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run the pipeline `p` in this process; return the exit code and what was printed."""
        self.capture.readouterr()
        code = launch(self.command(*arguments), ROOT / "conf")
        said = self.capture.readouterr()
        return code, said.out + said.err

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run it in a process of its own."""
        return popen([sys.executable, str(ROOT / "launch.py"), *self.command(*arguments)])

    def read(self, name: str = "p") -> graph.Pipeline:
        """Read the file."""
        return graph.read(name, self.dirs)

    def nodes(self, name: str = "p") -> list[graph.Node]:
        """The file's nodes."""
        return graph.expand(self.read(name))

    def jobs(self, *arguments: str) -> list[jobs.Job]:
        """The file's jobs, composed."""
        pipeline = self.read()
        return jobs.compose_all(pipeline, graph.expand(pipeline), list(arguments), self.dirs)

    def records(self) -> list[dict[str, Any]]:
        """All pipeline.json, oldest first."""
        files = sorted(self.folder.glob("multirun/*/pipeline.json"), key=lambda file: file.stat().st_mtime_ns)
        return [json.loads(file.read_text()) for file in files]

    def statuses(self) -> dict[str, str]:
        """Step -> status, of the newest record."""
        return {step["name"]: step["status"] for step in self.records()[-1]["steps"]}

    def runs(self) -> dict[str, dict[str, Any]]:
        """Id -> run.json of all runs."""
        return {f.parent.name: json.loads(f.read_text()) for f in sorted(self.folder.glob("outputs/*/run.json"))}


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Pipes:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return Pipes(tmp_path, capsys)
