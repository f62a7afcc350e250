"""What the documentation says can be typed, exists, and is complete."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from regimen.cli.main import VERBS
from regimen.envs.conformance.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAIN_PAGES = (
    ROOT / "README.md",
    ROOT / "docs" / "architecture.md",
)  # the guides have tests that follow them step by step
COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for p in MAIN_PAGES
        for line in re.findall(r"^python launch\.py.*", p.read_text(), re.M)
    }
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", page.read_text()) if "://" not in link]
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_launches_compose(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the inputs, which are runs of the reader's own, is checked as the launcher does it."""
    from regimen.config.compose import compose_config
    from regimen.orchestration.pipeline import command as pipeline
    from regimen.orchestration.sweep import jobs

    words = [w for w in shlex.split(command)[2:] if not w.startswith(("policy=", "resume="))]
    if words[:1] and words[0].startswith("pipeline="):
        monkeypatch.chdir(tmp_path)
        assert pipeline.run(words[0].partition("=")[2], [*words[1:], "dry_run=true"], [ROOT / "conf"]) == 0
        return
    if "-m" in words:
        words.remove("-m")
        assert len(jobs.expand(words, [ROOT / "conf"])) > 1
    else:
        assert compose_config(words).env


def test_the_readme_shows_examples_first_and_links_every_page_under_five_headings() -> None:
    readme = (ROOT / "README.md").read_text()
    assert re.findall(r"^## (.*)", readme, re.M) == ["Five examples", "Why", "Documentation"]
    sections = re.split(r"^### ", readme, flags=re.M)[1:]
    assert len(sections) == 5
    linked = [link for section in sections for link in re.findall(r"\]\(docs/(\w+\.md)\)", section)]
    assert sorted(linked) == sorted(page.name for page in PAGES[1:])


def test_the_rules_of_the_contract_are_all_described() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert [rule for rule in RULES if f"| {rule} |" not in page] == []


def test_the_layers_of_the_architecture_are_the_contracts() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    packages, *inner = (contract for contract in contracts if contract["type"] == "layers")
    layers = re.search(r"^## Layers$(.*?)^### ", page, re.M | re.S)
    assert layers is not None
    named = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", layers[1], re.M)
    assert named[: len(named) - len(inner)] == re.findall(r"\w+", " ".join(packages["layers"]))
    for contract in inner:
        row = re.search(rf"^\| `{contract['containers'][0].split('.')[1]}/` \| (.* · .*) \|$", layers[1], re.M)
        assert row is not None
        shown = [re.findall(r"`(\w+)/?`", layer) for layer in row[1].split(" · ")]
        assert shown == [re.findall(r"\w+", layer) for layer in contract["layers"]]


def test_pictures_are_small_enough_for_a_page() -> None:
    pictures = [p for p in (ROOT / "docs" / "media").iterdir() if p.is_file()]
    assert pictures and all(p.stat().st_size <= 1_500_000 for p in pictures)


def test_no_page_promises_a_verb_that_is_not_there() -> None:
    named = {
        verb for page in PAGES for verb in re.findall(r"(?<!from )\bregimen ([a-z]+(?:-[a-z]+)*)\b", page.read_text())
    }
    assert named and named <= VERBS.keys()


def test_every_make_target_has_a_help_line_and_is_what_ci_and_readme_call() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z_-]+):", makefile, re.M))
    assert targets == set(re.findall(r"^([a-z_-]+):[^\n]*## \w", makefile, re.M))
    assert set(re.findall(r"^\.PHONY: (.*)", makefile, re.M)[0].split()) == targets
    lists = re.findall(r"for step in (.*); do", (ROOT / ".ci" / "run").read_text())
    steps = {step for line in lists for step in line.split()}
    assert {"setup", "check", "test", "test-slow"} <= steps <= targets
    named = {name for page in PAGES for name in re.findall(r"(?:`|^)make ([a-z_-]+)(?=`|  |$)", page.read_text(), re.M)}
    assert {"demo", "test", "genesis"} <= named <= targets


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for group in project["optional-dependencies"].values() for d in group)]
    pinned = dict(line.lower().split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    for requirement in wanted:
        name, _, version = requirement.lower().partition("==")
        name = re.split(r"[<>=\[ ]", name)[0]
        assert name in pinned, f"{name} is not in constraints.txt"
        assert not version or pinned[name] == version
