"""The whole report of a study, without a simulator: one file that holds everything."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from helpers.fault_studies import dataset, detector, evaluation, made
from helpers.messages import assert_names, missing_names, raises_naming
from regimen.config.schema import Config
from regimen.config.structured import to_plain
from regimen.runs.create import create_run_dir
from regimen.runs.run import Run
from regimen.stages.report import Report, ReportCfg
from regimen.stages.reports import html as page
from regimen.system.errors import ConfigError, RegimenError

pytestmark = pytest.mark.usefixtures("blank_figures")


class Outline(HTMLParser):
    """What a page shows: headings, cells, where pictures come from; every tag must be closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.sources: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "img":
            self.sources.append(dict(attrs)["src"])
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.setdefault(self.open[-1], []).append(data)


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compose_config: Callable[[list[str]], Config]
) -> Callable[..., tuple[Run, dict[str, Any]]]:
    """Report on runs, given by their result.json; return the report's run and result."""
    monkeypatch.chdir(tmp_path)

    def make_report(*paths: Path, **more: Any) -> tuple[Run, dict[str, Any]]:
        config = compose_config(["task=h1_failure", "stage=report", f"runs=[{','.join(map(str, paths))}]"])
        parents = [path.parent.name for path in paths]
        run = Run(create_run_dir(tmp_path / "outputs", to_plain(config), [], [], repository=tmp_path, parents=parents))
        Report(ReportCfg(**more))(run, config)
        return run, json.loads((run.dir / "result.json").read_text())

    return make_report


@pytest.fixture
def study(tmp_path: Path) -> list[Path]:
    """A small study's runs."""
    root = tmp_path / "outputs"
    return [
        evaluation(root, "healthy", None, 4),
        evaluation(root, "oracle", "oracle", 14),
        evaluation(root, "tolerant", "classifier", 12),
        *(detector(root, f"detector_{k}", "distill", 0.9 + 0.01 * k, seed=k) for k in range(3)),
        detector(root, "tried", "evaluate", 0.8),
        dataset(root, "faults"),
    ]


def test_the_page_is_one_file_that_needs_no_other(make: Any, study: list[Path]) -> None:
    run, _ = make(*study, title="Knees & hips")
    html = (run.dir / "report/report.html").read_text()
    outline = Outline(html)
    assert not re.search(r"<script|<link|https?://|src=\"(?!data:)", html)
    assert 'name="viewport"' in html and outline.texts["h1"] == ["Knees & hips"]
    assert outline.texts["h2"] == ["Comparison", "Survival", "Walking", "Detector", "Data", "Not in this study",
                                   "Lineage", "Runs"]  # fmt: skip
    assert len(outline.sources) == 5 and all(s.startswith("data:image/png;base64,") for s in outline.sources)


def test_numbers_are_told_in_words_and_in_json(make: Any, study: list[Path]) -> None:
    run, result = make(*study)
    outline = Outline((run.dir / "report/report.html").read_text())
    (lead,) = [text for text in outline.texts["p"] if not missing_names(text, "60% (49% … 70%)")]
    mine, _, base = lead.partition("healthy")
    assert_names(mine, "tolerant", "60%")
    assert_names(base, "20%", "+40", "80%")
    told = json.loads((run.dir / "report/report.json").read_text())
    assert told == {k: v for k, v in result.items() if k not in ("headline", "report")}
    assert [c["policy"] for c in told["comparison"]] == ["oracle", "classifier"]
    assert told["not_evaluated"] == ["none", "oracle_delayed", "classifier_again", "experts"]
    detectors = {(d["stage"], d["name"]): d for d in told["detectors"]}
    assert detectors["distill", "detector"]["seeds"] == 3
    assert detectors["distill", "detector"]["figures"]["macro_f1"]["value"] == pytest.approx(0.91)
    assert detectors["evaluate", "majority"]["figures"] == {"macro_f1": {"value": 0.1, "low": 0.0, "high": 0.2}}
    assert result["headline"]["survival_classifier"] == 0.6 and result["headline"]["gain_classifier"] == 40.0


def test_pictures_and_numbers_are_artifacts(make: Any, study: list[Path]) -> None:
    run, _ = make(*study)
    kinds = {Path(row.path).name: row.kind for row in run.artifacts()}
    assert kinds["report.html"] == "page" and kinds["report.json"] == "table"
    assert {"survival.png", "severity.png", "lineage.png", "power.png"} <= set(kinds)


def test_a_part_of_a_study_is_reported_without_the_rest(make: Any, tmp_path: Path) -> None:
    run, result = make(detector(tmp_path / "outputs", "learnt", "distill", 0.9))
    outline = Outline((run.dir / "report/report.html").read_text())
    assert outline.texts["h2"] == ["Detector", "Lineage", "Runs"]
    assert result["comparison"] == []


def test_runs_that_tell_nothing_are_refused(make: Any, tmp_path: Path) -> None:
    path = made(tmp_path / "outputs", "walk", {"choices": {"stage": "train"}}, {"headline": {}})
    with raises_naming(ConfigError, "runs", "stage=evaluate", "stage.faults=true", "stage=distill", "stage=collect"):
        make(path)


def test_no_runs_are_refused_before_the_start() -> None:
    from regimen.config.compose import compose
    from regimen.config.groups import config_home
    from regimen.orchestration.preflight import preflight

    with raises_naming(RegimenError, "stage", "runs=[<run reference>,…]"):
        preflight(compose(["task=h1_failure", "stage=report"], [config_home()]), Path("outputs"))


def test_text_is_escaped(tmp_path: Path) -> None:
    text = page.page("a < b", [page.paragraph("<i>")], [page.Section("c & d", [page.table(["<u>"], [["x\n<s>"]])])])
    assert "a &lt; b" in text and "&lt;i&gt;" in text and "c &amp; d" in text and "<small>&lt;s&gt;</small>" in text
    Outline(text)
