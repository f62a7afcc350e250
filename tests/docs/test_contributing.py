"""What stands beside the code for whoever changes it: the same commands everywhere, every page on the site."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import regimen

ROOT = Path(__file__).resolve().parents[2]


def pages(nav: list[Any]) -> list[str]:
    """Return the pages of a navigation, at whatever depth."""
    found = []
    for entry in nav:
        for item in entry.values() if isinstance(entry, dict) else [entry]:
            found += pages(item) if isinstance(item, list) else [item]
    return found


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The hook that adds pages to the site; it needs the extra [docs]."""
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.delitem(sys.modules, "docs_site", raising=False)
    import docs_site

    return docs_site


def test_pre_commit_runs_the_commands_of_make_check() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    commands = [line.strip().removeprefix("@") for line in recipe.splitlines() if line.startswith("\t")]
    commands = [c.replace("$(PY)", ".venv/bin/python") for c in commands if not c.startswith("echo")]
    [repository] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local" and [hook["entry"] for hook in repository["hooks"]] == commands


def test_the_workflow_calls_what_anyone_can_call() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    [job] = workflow["jobs"].values()
    assert job["steps"][-1] == {"run": ".ci/run"} and (ROOT / ".ci/run").stat().st_mode & 0o111


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == regimen.__version__ and citation["license"] == "Apache-2.0"


def test_contributing_describes_every_layer() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    layers = [path.parent.name for path in (ROOT / "src/regimen").glob("*/__init__.py")]
    assert [name for name in layers if f"* **`{name}/`**" not in text] == []


def test_every_page_is_in_the_navigation_of_the_site_once() -> None:
    named = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    written = {path.name for path in (ROOT / "docs").glob("*.md")} | {"index.md", "contributing.md", "changelog.md"}
    assert sorted(named) == sorted(written)


def test_every_public_module_is_in_the_reference_once(site: ModuleType) -> None:
    listed = [module for modules in site.packages().values() for module in modules]
    source = [path.relative_to(ROOT / "src").with_suffix("") for path in (ROOT / "src/regimen").rglob("*.py")]
    public = [".".join(path.parts) for path in source if len(path.parts) > 1 and not path.stem.startswith("_")]
    assert sorted(listed) == sorted(public)
    named = pages(site.api_nav())
    assert sorted(named) == sorted(site.page_of(package) for package in site.packages())
    for package, modules in site.packages().items():
        assert re.findall(r"^::: (\S+)$", site.api_page(package, modules), re.M) == [package, *modules]
