"""Before a worker starts, neither torch nor a simulator is imported: help, a dry run and `import regimen` stay fast."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "torch",
    "mujoco",
    "mujoco_warp",
    "genesis",
    "isaaclab",
    "isaacsim",
    "mjlab",
    "warp",
    "skrl",
    "rsl_rl",
    "gymnasium",
    "h5py",
    "matplotlib",
    "scipy",
}
RUN = """
import json, runpy, sys
sys.argv = {argv!r}
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted({{name.partition(".")[0] for name in sys.modules}})]))
"""


def modules_after(code: str, folder: Path) -> tuple[int, set[str]]:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    exit_code, modules = json.loads(done.stdout.splitlines()[-1])
    return exit_code, set(modules)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["task=h1_failure", "agent=skrl_ppo", "dry_run=true"],
        pytest.param(
            ["stage=evaluate", "task=go2_flat", "policy=pretrained:go2_flat", "dry_run=true"],
            marks=pytest.mark.slow,
        ),
        pytest.param(["task=go2_flat", "agent=fast_sac", "dry_run=true"], marks=pytest.mark.slow),
    ],
    ids=["help", "train", "evaluate", "fast_sac"],
)
def test_the_launcher_imports_no_torch_and_no_simulator(arguments: list[str], tmp_path: Path, repo_root: Path) -> None:
    script = str(repo_root / "launch.py")
    exit_code, modules = modules_after(RUN.format(argv=["launch.py", *arguments], script=script), tmp_path)
    assert exit_code == 0
    assert modules & HEAVY == set()
    assert "hydra" in modules


def test_import_regimen_imports_no_torch_and_no_hydra(tmp_path: Path) -> None:
    code = "import json, sys, regimen\nprint(json.dumps([0, sorted({n.partition('.')[0] for n in sys.modules})]))"
    _, modules = modules_after(code, tmp_path)
    assert modules & (HEAVY | {"hydra", "omegaconf"}) == set()


def test_the_page_of_runs_imports_what_it_shows_and_no_more(tmp_path: Path) -> None:
    pytest.importorskip("orjson", reason="NiceGUI is not installed: make extras")
    code = (
        "import json, sys\n"
        "from regimen.ui.quick_start import without_client_libraries\n"
        "with without_client_libraries():\n"
        "    import regimen.ui.server\n"
        "print(json.dumps([0, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    _, modules = modules_after(code, tmp_path)
    assert modules & (HEAVY | {"hydra", "omegaconf", "aiohttp", "requests"}) == set()
    assert "nicegui" in modules
