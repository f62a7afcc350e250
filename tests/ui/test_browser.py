"""The page of all runs in a real browser, over runs that were made by the launcher."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from helpers import launches
from helpers.launches import environment
from helpers.library_marks import needs_browser
from helpers.recorded_runs import change, record_run
from helpers.subprocesses import PATIENCE_S, end_all
from helpers.ui_server import Served, Watched, chromium, served
from regimen.display.intervals import Figure
from regimen.runs import judgements
from regimen.runs.judgements import Judgement
from regimen.runs.record import read_record

pytestmark = needs_browser()

BAD = "<script>window.broken=1</script><img src=x onerror='window.broken=1'>"
SMALL = ("task=reach", "env.num_envs=8", "agent.trainer.timesteps=48")
PIPELINE = """
overrides: [task=reach, env.num_envs=8, hardware.max_jobs=1]
steps:
  - {name: train, stage: train, overrides: [agent.trainer.timesteps=48]}
  - name: judge
    stage: evaluate
    overrides: [video=true, stage.envs_per_command=2, stage.video_seconds=1]
    inputs: {policy: train@best}
  - {name: record, stage: collect, overrides: [stage.steps=40], inputs: {policy: train@best}}
"""


@dataclass
class Made:
    """The history of the tests.

    Attributes:
        folder: where it is.
        sweep, pipeline: their ids.
        trained, judged, recorded: ids of the runs of the pipeline.
    """

    folder: Path
    sweep: str
    pipeline: str
    trained: str
    judged: str
    recorded: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("history")
    (folder / "mine" / "pipeline").mkdir(parents=True)
    (folder / "mine" / "pipeline" / "small.yaml").write_text(PIPELINE)
    sweep = launches.start(folder, "-m", *SMALL, "seed=1,2", "name=swept", "hardware.max_jobs=1")
    assert "exit 0" in launches.launch(folder, "--config-dir", "mine", "pipeline=small")
    assert sweep.wait(PATIENCE_S) == 0
    end_all()
    ((pipeline,), (swept,)) = (
        [p.parent.name for p in folder.glob(f"multirun/*/{kind}.json")] for kind in ("pipeline", "sweep")
    )
    steps = {
        step["name"]: step["run"]
        for step in json.loads((folder / "multirun" / pipeline / "pipeline.json").read_text())["steps"]
    }
    subprocess.run(
        [sys.executable, "-m", "regimen.cli", "card", steps["record"]], cwd=folder, env=environment(), check=True
    )
    notes = [{"at": "2026-11-20T12:00:00+00:00", "text": BAD}]
    odd = {"name": BAD, "status": "failed", "reason": BAD, "tags": ["<b>tag</b>"], "overrides": [f"name={BAD}"]}
    record_run(folder / "outputs", "odd", notes=notes, warnings=[BAD], headline={"<i>x</i>": 1.0}, **odd)
    (folder / "outputs" / "odd" / "logs" / "worker.log").write_text(BAD)
    half = record_run(folder / "outputs", "half")
    (half / "run.json").write_text('{"format": 1, "id": "ha')
    return Made(folder, swept, pipeline, steps["train"], steps["judge"], steps["record"])


@pytest.fixture(scope="module")
def server(made: Made) -> Iterator[Served]:
    with served(made.folder) as running:
        yield running


@pytest.fixture(scope="module")
def window() -> Iterator[Callable[..., Watched]]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def browser(window: Callable[..., Watched], server: Served) -> Iterator[Watched]:
    """A new window that has used the token; nothing may go wrong in it."""
    watched = window()
    watched.page.goto(server.url)
    rows(watched)
    yield watched
    watched.page.context.close()
    assert watched.problems == [] and watched.elsewhere == []


ROWS = """() => {
  const rows = [...document.querySelectorAll(".ag-center-cols-container [role=row]")];
  const found = rows.map((row) => row.getAttribute("row-id"));
  return found.length && found.every(Boolean) ? found : null;
}"""
POINTS = """() => {
  const at = document.querySelector(".charts .nicegui-echart");
  return at && getElement(Number(at.id.slice(1)))?.chart?.getOption().series?.[0]?.data.length;
}"""
MORE_POINTS = f"before => ({POINTS})() > before + 2"
IN_DIALOG = "text => document.querySelector('.q-dialog')?.innerText.includes(text)"
NODE = """(name) => {
  const at = document.querySelector(".nicegui-echart");
  const data = at && getElement(Number(at.id.slice(1)))?.chart?.getModel()?.getSeriesByIndex(0)?.getData();
  if (!data) return null;
  const box = at.getBoundingClientRect(), [x, y] = data.getItemLayout(data.indexOfName(name));
  return [box.x + x, box.y + y];
}"""


def rows(watched: Watched) -> list[str]:
    """The ids in the table, once it has any."""
    return watched.until(ROWS)


def points(watched: Watched) -> int:
    """The number of points of the first chart, once there is one."""
    return watched.until(POINTS)


def command(made: Made, *words: str) -> str:
    call = [sys.executable, "-m", "regimen.cli", *words]
    return subprocess.run(call, cwd=made.folder, env=environment(), capture_output=True, text=True, check=True).stdout


PAGES = {
    "/": "small.judge",
    "/run/{trained}": "Train/return",
    "/run/{judged}": "survival",
    "/compare?filter=sweep={sweep}": "IQM",
    "/lineage/{trained}": "Made from",
    "/lineage?filter=pipeline={pipeline}": "Made from",
    "/sweeps": "{sweep}",
    "/sweep/{sweep}": "What was swept",
    "/pipelines": "small",
    "/pipeline/{pipeline}": "train",
    "/datasets": "small.record",
    "/dataset/{recorded}": "episodes.h5",
    "/run/odd": "failed",
    "/run/half": "cannot be read",
    "/run/nothing": "no run nothing",
}
"""Address -> text that is on the page, with fields of `Made`."""


def test_each_page_opens(browser: Watched, server: Served, made: Made) -> None:
    names = vars(made)
    for address, expected in PAGES.items():
        browser.page.goto(server.base + address.format(**names))
        browser.until("text => document.body.innerText.includes(text)", expected.format(**names))
        assert browser.page.evaluate("window.broken") is None
        assert (address, browser.problems, browser.elsewhere) == (address, [], [])


def test_a_view_is_in_the_address(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    page.fill("#filter", "status=failed")
    browser.until("() => document.querySelector('#count').textContent.startsWith('1 of')")
    assert rows(browser) == ["odd"] and "filter=status%3Dfailed" in page.url
    page.fill("#filter", "status=faild")
    browser.until("() => document.querySelector('#hint').textContent.includes('failed')")
    assert rows(browser) == ["odd"]
    page.fill("#filter", f"pipeline={made.pipeline}")
    browser.until("() => document.querySelector('#count').textContent.startsWith('3 of')")
    page.click(".ag-header-cell[col-id=stage]")
    browser.until("() => location.search.includes('sort=stage')")
    page.click("#columns summary")
    page.check("#columns input[value=seed]")
    browser.until("() => location.search.includes('seed')")
    again = page.context.new_page()
    again.goto(page.url)
    other = Watched(again)
    assert rows(other) == [made.recorded, made.judged, made.trained]
    shown = again.evaluate("regimenGrid.getAllDisplayedColumns().map(column => column.getColId())")
    assert "seed" in shown and again.input_value("#filter") == f"pipeline={made.pipeline}"


def test_names_are_text(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    for address in ("/", "/run/odd", f"/compare?runs=odd,{made.trained}", "/lineage/odd"):
        page.goto(server.base + address)
        browser.until("text => document.body.innerText.includes(text) || document.title.includes('Lineage')", BAD)
        page.wait_for_timeout(300)
        assert page.evaluate("window.broken") is None
    page.goto(f"{server.base}/run/odd")
    browser.until("() => document.querySelector('#log')?.innerText.includes('<script>')")
    assert browser.text("#notes").count("<script>") == 1 and "<b>tag</b>" in browser.text("#notes")


def test_a_note_and_a_tag_are_saved_as_by_the_commands(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    page.goto(f"{server.base}/run/{made.trained}")
    page.get_by_role("button", name="Add a note").click()
    page.get_by_label("Another note").fill("looks <b>good</b>")
    browser.until(IN_DIALOG, f"regimen note {made.trained} 'looks <b>good</b>'")
    page.get_by_role("button", name="Save").click()
    browser.until("() => document.querySelector('#notes').innerText.includes('looks <b>good</b>')")
    assert "looks <b>good</b>" in command(made, "note", made.trained)
    page.goto(server.url)
    page.fill("#filter", f"id={made.trained}")
    browser.until("() => document.querySelector('#count').textContent.startsWith('1 of')")
    page.click(".ag-center-cols-container [col-id=tags]")
    page.get_by_label("Words, separated by spaces").fill("keep paper")
    page.get_by_role("button", name="Save").click()
    browser.until("() => document.querySelectorAll('.tag').length === 2")
    assert command(made, "tag", made.trained).split() == ["keep", "paper"]


def test_a_film_plays_and_figures_and_intervals_are_shown(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    page.goto(f"{server.base}/run/{made.judged}")
    page.wait_for_selector("video")
    browser.until("() => { const film = document.querySelector('video'); film.play(); return film.currentTime > 0.2; }")
    browser.until("() => [...document.querySelectorAll('.media img')].every(i => i.complete && i.naturalWidth > 100)")
    result = json.loads((made.folder / "outputs" / made.judged / "result.json").read_text())
    assert f"{result['overall']['return']['low']:.4g}" in browser.text("#evaluation")
    page.goto(f"{server.base}/compare?runs={made.judged},{made.trained}")
    page.click("[data-sync=play]")
    browser.until("() => document.querySelector('[data-films] video').currentTime > 0.2")


def test_trust_and_origins(browser: Watched, server: Served, made: Made) -> None:
    page, folder = browser.page, made.folder / "outputs" / made.judged
    page.goto(f"{server.base}/run/{made.judged}")
    browser.until("() => document.querySelector('#trust').innerText.includes('no known problems')")
    browser.until("() => document.querySelector('#configuration').innerText.includes('argument `video=true`')")
    figure = folder / "figures" / "evaluation.png"
    figure.rename(folder / "kept.png")
    page.reload()
    browser.until("() => document.querySelector('#trust').innerText.includes('evaluation.png is gone')")
    (folder / "kept.png").rename(figure)


def test_a_click_on_the_lineage_opens_the_run(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    page.goto(f"{server.base}/lineage/{made.trained}")
    place = browser.until(NODE, made.judged)
    page.mouse.click(*place)
    page.wait_for_url(f"**/run/{made.judged}")


def test_why_a_step_was_not_reused(browser: Watched, server: Served, made: Made) -> None:
    browser.page.goto(f"{server.base}/pipeline/{made.pipeline}")
    browser.page.get_by_role("button", name="Why not reused?").click()
    browser.until("() => document.querySelector('#steps .notice')?.innerText.includes('nothing to reuse')")


def test_rows_are_compared(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    page.fill("#filter", f"sweep={made.sweep}")
    browser.until("() => document.querySelector('#count').textContent.startsWith('2 of')")
    for box in page.query_selector_all(".ag-row .ag-checkbox-input"):
        box.click()
    page.click("#compare")
    page.wait_for_url("**/compare?**")
    browser.until("() => document.querySelector('#groups')?.innerText.includes('IQM')")
    assert points(browser) > 0


def test_runs_that_go_or_break_leave_the_rest(browser: Watched, server: Served, made: Made) -> None:
    page = browser.page
    gone = record_run(made.folder / "outputs", "gone", name="gone")
    browser.until("() => document.querySelector('[row-id=gone]')")
    page.goto(f"{server.base}/run/gone")
    browser.until("() => document.querySelector('#trust')")
    shutil.rmtree(gone)
    browser.until("() => document.body.innerText.includes('There is no run gone')")
    page.goto(server.base)
    browser.until("() => document.querySelector('[row-id=half]') && !document.querySelector('[row-id=gone]')")
    change(made.folder / "outputs" / "odd", status="finished")
    browser.until("() => document.querySelector('[row-id=odd] .status')?.textContent === 'finished'")
    change(made.folder / "outputs" / "odd", status="failed")


JUDGED = """count => {
  const at = document.querySelector("#judged .nicegui-echart");
  const series = at && getElement(Number(at.id.slice(1)))?.chart?.getOption().series;
  return series?.length && series.at(-1).data.length === count ? series.map((one) => one.data) : null;
}"""


def test_judged_checkpoints_stand_among_the_curves_with_their_intervals(
    browser: Watched, server: Served, made: Made
) -> None:
    followed = record_run(made.folder / "outputs", "followed")
    (followed / "config.yaml").write_text("stage: {evaluation: {every: 10, metric: survival}}\n")
    for count, value in enumerate([0.5, 0.75], 1):
        figures = {"all/survival": Figure(value, value - 0.25, value + 0.125)}
        judgements.append(followed, Judgement(10 * count, "mujoco", "0" * 64, figures))
        if count == 1:
            browser.until("() => document.querySelector('[row-id=followed]')")
            browser.page.goto(f"{server.base}/run/followed")
        low, height, line = browser.until(JUDGED, count)
        assert [low[-1], height[-1], line[-1]] == [[10 * count, value - 0.25], [10 * count, 0.375], [10 * count, value]]
    shutil.rmtree(followed)


def test_a_training_grows_is_cancelled_resumed_and_outlives_the_page(
    window: Callable[..., Watched], made: Made
) -> None:
    training = launches.start(
        made.folder, "task=reach", "name=live", "env.num_envs=8", "agent.trainer.timesteps=1000000"
    )
    with served(made.folder) as own:
        watched = window()
        watched.page.goto(own.url)
        watched.until(
            "() => [...document.querySelectorAll('[row-id] [col-id=progress]')].some(c => c.innerText.includes('ETA'))"
        )
        (row,) = json.loads(command(made, "runs", "name=live", "--json"))
        folder = made.folder / row["path"]
        watched.page.goto(f"{own.base}/run/{folder.name}")
        before = points(watched)
        watched.until(MORE_POINTS, before)
        watched.page.get_by_role("button", name="Cancel").click()
        watched.until(IN_DIALOG, f"regimen cancel {folder.name}")
        watched.page.locator(".q-dialog").get_by_role("button", name="Cancel").click()
        assert training.wait(PATIENCE_S) == 143
        watched.page.get_by_role("button", name="Resume").click()
        watched.page.locator(".q-dialog").get_by_role("button", name="Resume").click()
        watched.until("() => document.querySelector('#state').innerText.includes('running')")
        assert watched.problems == []
        watched.page.context.close()
        assert own.stop() == 0 and any("continue" in line for line in own.output)
    time.sleep(1.0)
    record = read_record(folder)
    assert record is not None and str(record.status) == "running" and len(record.resumed) == 1
    assert "stopping" in command(made, "cancel", "live")
    ended = time.monotonic() + PATIENCE_S
    while (record := read_record(folder)) and record.status.is_open and time.monotonic() < ended:
        time.sleep(0.2)
    assert record is not None and str(record.status) == "killed"


OUTSIDE = (
    "/run.json",
    "/../../half/run.json",
    "/%2e%2e/odd/run.json",
    "/figures/..%2frun.json",
    "/logs/worker.log",
    "",
)


def test_files_outside_of_the_listed_ones_are_refused(browser: Watched, server: Served, made: Made) -> None:
    (cookie,) = browser.page.context.cookies()
    known = {"cookie": f"{cookie['name']}={cookie['value']}"}
    run = f"{server.base}/files/{made.trained}"
    picture = f"{run}/figures/learning_curve.png"
    with urllib.request.urlopen(urllib.request.Request(picture, headers=known)) as answer:
        assert answer.read(4) == b"\x89PNG" and "sandbox" in answer.headers["content-security-policy"]
    for address, headers, code in [(picture, {}, 401), *((run + path, known, 404) for path in OUTSIDE)]:
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(urllib.request.Request(address, headers=headers))
        refusal.value.close()
        assert (address, refusal.value.code) == (address, code)


def test_a_phone_in_the_dark(window: Callable[..., Watched], server: Served, made: Made) -> None:
    watched = window(viewport={"width": 390, "height": 800}, color_scheme="dark")
    watched.page.goto(server.url)
    rows(watched)
    for address in ("/", f"/run/{made.trained}", f"/pipeline/{made.pipeline}", f"/compare?filter=sweep={made.sweep}"):
        watched.page.goto(server.base + address)
        watched.until(
            "() => document.body.classList.contains('body--dark') && document.querySelector('.page, .runs-grid')"
        )
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    watched.page.click("[data-theme]")
    watched.until("() => document.body.classList.contains('body--light')")
    watched.page.reload()
    watched.until("() => document.body.classList.contains('body--light')")
    assert watched.problems == []
    watched.page.context.close()
