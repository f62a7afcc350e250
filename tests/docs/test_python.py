"""The page on `import regimen` and the notebook: their code runs in an empty folder."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import regimen
from helpers.messages import assert_names
from helpers.subprocesses import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"
BLOCK = re.compile(r"```python\n(.*?)```", re.S)


def test_every_name_is_described() -> None:
    page = PAGE.read_text()
    assert [name for name in regimen.__all__ if name != "__version__" and f"`{name}" not in page] == []


@pytest.mark.slow
def test_the_code_of_the_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "page.py"
    script.write_text("\n".join(BLOCK.findall(PAGE.read_text())))
    env = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=3 * PATIENCE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert_names(done.stdout, "go2", "20.0", "env.num_env", "num_envs", "finished")
    speed = re.search(r"walks at (\S+) m/s", done.stdout)
    assert speed is not None and 0.8 < float(speed[1]) < 1.2
    assert (tmp_path / "return.png").stat().st_size > 0
    (record,) = [json.loads(path.read_text()) for path in tmp_path.glob("outputs/*/run.json")]
    assert (record["name"], record["status"]) == ("walker", "finished")
    assert record["id"] in done.stdout


def test_the_notebook_is_committed_without_outputs() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="make extras installs it")
    nbclient = pytest.importorskip("nbclient", reason="make extras installs it")
    pytest.importorskip("ipykernel", reason="make extras installs it")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)  # the kernel's own draws into the notebook
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    done = client.execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert_names(text, "finished", "notebook")
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2
