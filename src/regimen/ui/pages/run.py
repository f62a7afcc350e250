"""One run: reasons for doubt first, then progress, curves, films, figures, results, configuration, log and files."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from markupsafe import Markup
from nicegui import ui

from regimen.display.formatting import duration, size, when
from regimen.runs import judgements
from regimen.runs.history import run_report
from regimen.runs.history.config_origin import setting_origins
from regimen.runs.history.judged import judged
from regimen.runs.history.lineage import FILE
from regimen.runs.history.run_view import CHANGED, GONE, RunView
from regimen.runs.record_parts import Artifact
from regimen.system import files
from regimen.system.errors import RegimenError
from regimen.ui import actions, layout, markup, run_files
from regimen.ui.curve_panel import Choice, CurvePanel
from regimen.ui.dialogs import edit_notes, edit_tags
from regimen.ui.evaluation_tables import evaluation_tables
from regimen.ui.history import History
from regimen.ui.judged_charts import JudgedCharts
from regimen.ui.layout import section, static

LOOK_S = 2.0
LOG_BYTES = 48 * 2**10
"""End of a log that is shown."""

FILM = '<video controls loop muted playsinline preload="metadata" src="{}"></video>'

LONG = 400
"""Letters of a value of the configuration that are shown."""


def register(history: History) -> None:
    """Register the page of a run.

    Args:
        history: the runs.
    """

    @layout.page("/run/{run_id}")
    async def run_page(run_id: str, curves: str = "", x: str = "step", smooth: float = 0.0, log: bool = False) -> None:
        await history.ready()
        with layout.frame(run_id, "/"):
            try:
                run = history.open(run_id)
            except RegimenError as error:
                layout.heading(run_id)
                layout.missing(str(error))
                row = history.find(run_id)
                if row is not None:
                    _log(row.dir)
                return
            _Page(history, run, Choice(curves, x, smooth, log))


class _Page:
    """The parts of the page, and what renews them while the run works."""

    def __init__(self, history: History, run: RunView, choice: Choice) -> None:
        self._history, self._run = history, run
        self._seen: object = self._stamps()
        self._head()
        with ui.element("div").classes("columns"):
            with ui.element("div"):
                with section("Trust", "trust"):
                    self._trust = static(Markup('<span class="soft">checking inputs and files …</span>'))
                with section("Notes and tags", "notes"):
                    self._notes = static(_notes(run))
                    with ui.element("div").classes("row").style("margin-top: .5rem"):
                        ui.button("Add a note", on_click=self._edit(edit_notes)).props("outline dense no-caps")
                        ui.button("Edit tags", on_click=self._edit(edit_tags)).props("outline dense no-caps")
            with section("Summary", "summary"):
                self._summary = static(_summary(run))
        static(Markup("<div style='height:.9rem'></div>"))
        with section("Curves", "curves"):
            CurvePanel(history, {run.record.name or run.id: [run]}, choice)
            self._judged = JudgedCharts(run)
        self._media = ui.element("div")
        self._show_media()
        self._result = ui.element("div")
        self._show_result()
        with section("Commands", "commands"):
            self._commands = static(_commands(run, ""))
        self._log = _log(run.dir)
        with section("Files", "files"):
            self._files = static(_artifacts(run, {}))
        _configuration(run)
        ui.timer(0.05, self._check, once=True)
        ui.timer(LOOK_S, self._look)

    def _head(self) -> None:
        run = self._run
        name = Markup('<span class="beside mono">{}</span>').format(run.id) if run.record.name else ""
        layout.heading(run.record.name or run.id, name)
        self._state = static(_state(run))
        with ui.element("div").classes("row").style("margin: .6rem 0 .9rem"):
            self._actions = ui.element("div").classes("row")
            static(
                markup.joined(
                    [
                        Markup('<a href="/lineage/{}">Lineage</a>').format(run.id),
                        Markup('<a href="#curves">Curves</a>'),
                        Markup('<a href="#configuration">Configuration</a>'),
                        Markup('<a href="#log">Log</a>'),
                        Markup('<a href="#files">Files</a>'),
                    ],
                    " · ",
                )
            )
        self._show_actions()

    def _show_actions(self) -> None:
        self._actions.clear()
        with self._actions:
            actions.buttons(self._history, self._run, self._renew)

    def _edit(self, opened: Callable[[History, str, Callable[[], object]], None]) -> Callable[[], None]:
        return lambda: opened(self._history, self._run.id, self._renew)

    async def _check(self) -> None:
        """Fill in what takes a while: the inputs and files are compared with their checksums."""
        run = self._run
        try:
            found = await asyncio.to_thread(run_report.gather, run, False, self._history.family)
        except (RegimenError, OSError, ValueError) as error:
            self._trust.set_content(str(markup.notice("bad", [error])))
            return
        self._trust.set_content(str(_trust(found)))
        self._summary.set_content(str(_summary(run) + _relatives(found)))
        self._files.set_content(str(_artifacts(run, {row["path"]: row["state"] for row in found["artifacts"]})))
        self._commands.set_content(str(_commands(run, found["next"])))

    async def _look(self) -> None:
        """Renew what changed: the record, the progress, the log."""
        stamps = self._stamps()
        if stamps != self._seen or self._run.status.is_open:
            self._seen = stamps
            await self._renew_all()

    def _stamps(self) -> object:
        names = ("run.json", "progress.json", judgements.FILE, "logs/worker.log", *run_files.FOLDERS)
        return [_stamp(self._run.dir / name) for name in names]

    def _renew(self) -> None:
        ui.timer(0.01, self._renew_all, once=True)

    async def _renew_all(self) -> None:
        before = self._run
        try:
            self._run = self._history.open(before.id)
        except RegimenError as error:
            self._state.set_content(str(markup.notice("warn", str(error).splitlines())))
            self._seen = None  # half-written or deleted: the next look reads it again
            return
        run = self._run
        self._state.set_content(str(_state(run)))
        self._notes.set_content(str(_notes(run)))
        self._judged.renew(run)
        if self._log is not None:
            self._log.set_content(str(_log_text(run.dir)))
        if run_files.listed(run) != run_files.listed(before) or run.status != before.status:
            self._show_media()
            self._show_result()
            self._show_actions()
            await self._check()

    def _show_media(self) -> None:
        run = self._run
        self._media.clear()
        with self._media:
            for title, folder in (("Films", "video"), ("Figures", "figures")):
                if names := run_files.of_kind(run, folder):
                    with section(title, folder):
                        static(media(run, names))

    def _show_result(self) -> None:
        self._result.clear()
        with self._result:
            tables = evaluation_tables(self._run.result)
            if tables:
                with section("Evaluation", "evaluation"):
                    static(tables)


def media(run: RunView, names: list[str]) -> Markup:
    """Return pictures and films of a run.

    Args:
        run: the run.
        names: paths below its folder.
    """
    parts = []
    for name in names:
        address = run_files.address(run, name)
        if name.lower().endswith(run_files.FOLDERS["video"]):
            inside = Markup(FILM).format(address)
        else:
            inside = Markup('<a href="{0}"><img loading="lazy" src="{0}" alt="{1}"></a>').format(address, name)
        parts.append(Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(inside, markup.text(name)))
    return Markup('<div class="media">{}</div>').format(markup.joined(parts))


def _state(run: RunView) -> Markup:
    found = {"progress": files.read_json(run.dir / "progress.json") if run.status.is_open else None}
    line = run_report.end_line(run, found).removeprefix(run.status)
    share = _share(run)
    bar = (
        Markup('<progress max="1" value="{}" style="width:100%;height:6px;display:block;margin-top:.4rem"></progress>')
        .format(f"{share:.4f}") if share is not None else ""
    )  # fmt: skip
    return Markup('<div id="state">{} <span class="soft">{}</span>{}</div>').format(
        markup.status(run.status), markup.text(line.lstrip(":, ")), bar
    )


def _share(run: RunView) -> float | None:
    """Return how much of the work of a running run is done, None if it does not report it."""
    progress = run.progress if run.status.is_open else {}
    done, total = progress.get("iteration"), progress.get("iterations")
    if isinstance(done, int | float) and isinstance(total, int | float) and total:
        return min(1.0, done / total)
    return None


def _trust(found: dict[str, Any]) -> Markup:
    if not found["doubts"]:
        return markup.notice("good", ["no known problems"])
    return markup.notice("warn", found["doubts"])


def _summary(run: RunView) -> Markup:
    record = run.record
    choices, own = run_report.chosen(run), run_report.own_settings(run)
    parts: list[Markup] = []
    if run.headline:
        numbers = markup.joined(
            Markup("<div><b>{}</b><span>{}</span></div>").format(markup.number(value), markup.text(name))
            for name, value in run.headline.items()
        )
        parts.append(Markup('<div class="figures" style="margin-bottom:.7rem">{}</div>').format(numbers))
    parts.append(
        markup.facts(
            [
                ("what", markup.text(f"{record.stage}  {'  '.join(choices)}  seed={record.seed}")),
                ("set", Markup("<code>{}</code>").format(markup.text(" ".join(own))) if own else None),
                ("time", markup.text(run_report.times(run))),
                ("worked", duration(record.wall_s) if record.wall_s else None),
                ("attempts", markup.lines(f"resumed {when(a.at)}, it was {a.previous_status}" for a in record.resumed)),
                ("judged", markup.lines(run_report.judged_lines(judged(run)))),
                ("code", markup.lines(run_report.code_lines(run))),
                ("versions", markup.text(", ".join(f"{name} {v}" for name, v in record.versions.items()))),
                ("belongs", _belongs(run)),
                ("error", markup.block("\n".join(run_report.last_words(run))) if run_report.last_words(run) else None),
            ]
        )
    )
    return markup.joined(parts)


def _belongs(run: RunView) -> Markup:
    record, parts = run.record, []
    if record.sweep:
        parts.append(Markup("<div>sweep {}</div>").format(markup.link(f"/sweep/{record.sweep}", record.sweep)))
    if record.pipeline:
        step = f"{record.pipeline.name}, step {record.pipeline.step}"
        parts.append(Markup("<div>pipeline {}</div>").format(markup.link(f"/pipeline/{record.pipeline.id}", step)))
    if record.rerun_of:
        parts.append(Markup("<div>repeats {}</div>").format(markup.run_link(record.rerun_of)))
    return markup.joined(parts)


def _relatives(found: dict[str, Any]) -> Markup:
    inputs = [
        (name, markup.text(row.get("ref") or row["path"]), _file_state(row["state"]))
        for name, row in found["inputs"].items()
    ]
    rows: list[tuple[str, markup.Cell]] = [("inputs", markup.table((), inputs)) if inputs else ("inputs", None)]
    for title in ("parents", "children"):
        lines = [
            (
                markup.text(row["id"]) if row["status"] in (FILE, GONE) else markup.run_link(row["id"]),
                markup.text(row["name"]),
                markup.text(row["stage"]),
                markup.status(str(row["status"])),
            )
            for row in found[title]
        ]
        rows.append((title, markup.table((), lines) if lines else None))
    return markup.facts(rows)


def _file_state(state: str) -> Markup:
    tone = {CHANGED: "bad", GONE: "bad", "unchanged": "good"}.get(state, "quiet")
    return Markup('<span class="status {}">{}</span>').format(tone, state) if state else Markup("")


def _artifacts(run: RunView, states: dict[str, str]) -> Markup:
    known = [row.path for row in run.record.artifacts]
    extra = [Artifact(name) for name in run_files.listed(run) if name not in known]
    rows = [
        (
            markup.link(run_files.address(run, row.path), row.path),
            row.kind,
            size(row.bytes) if row.bytes else "",
            Markup('<span class="mono" title="{}">{}</span>').format(row.sha256, row.sha256[:16]) if row.sha256 else "",
            _file_state(states.get(row.path, "")),
        )
        for row in (*run.record.artifacts, *extra)
    ]
    if not rows:
        return Markup('<span class="soft">The run lists no file yet; checksums are recorded when it ends.</span>')
    return markup.table(("file", "kind", ">size", "sha256", ""), rows)


def _commands(run: RunView, following: str) -> Markup:
    name = shlex.quote(run.id)
    rows = [
        ("what comes next", following),
        ("this run was started by", shlex.join(["python", *run.record.argv]) if run.record.argv else ""),
        ("one screen", f"regimen show {name}"),
        ("again, compared bit for bit", f"regimen rerun {name}"),
        ("where it came from", f"regimen lineage {name}"),
    ]
    if not following and run.row.has_checkpoint and run.choices.get("task"):
        task = shlex.quote(run.choices["task"])
        rows.insert(
            1,
            ("judge its policy, with a film", f"python launch.py stage=evaluate task={task} policy={name} video=true"),
        )
    shown = [(title, markup.command(words)) for title, words in rows if words]
    parts = markup.joined(Markup("<div><h3>{}</h3>{}</div>").format(*pair) for pair in shown)
    return Markup('<div class="commands">{}</div>').format(parts)


def _notes(run: RunView) -> Markup:
    tags = markup.joined(Markup('<span class="tag">{}</span>').format(markup.text(tag)) for tag in run.record.tags)
    notes = [(Markup('<span class="soft">{}</span>').format(when(n.at)), markup.text(n.text)) for n in run.record.notes]
    parts = [Markup("<div>{}</div>").format(tags)] if tags else []
    parts += [markup.table((), notes, "notes")] if notes else []
    return markup.joined(parts) if parts else Markup('<span class="soft">none yet</span>')


def _log(folder: Path) -> ui.html | None:
    with section("Log", "log"):
        return static(_log_text(folder))


def _log_text(folder: Path) -> Markup:
    """Return the end of the worker's output; it stays at its last line as it grows."""
    path = folder / "logs" / "worker.log"
    try:
        with files.open_regular(path) as file:
            total = path.stat().st_size
            file.seek(max(0, total - LOG_BYTES))
            content = file.read(LOG_BYTES).decode(errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    except OSError:
        return Markup('<span class="soft">no log yet</span>')
    cut = content.partition("\n")[2] if total > LOG_BYTES else content
    return Markup('<div class="tail">{}</div>').format(markup.block(cut.rstrip()))


def _configuration(run: RunView) -> None:
    """Build the section of the configuration; the origins are looked up when it is opened."""
    with section("Configuration", "configuration"):
        if not run.config:
            layout.missing("config.yaml is missing or cannot be read.")
            return
        content = static(Markup('<span class="soft">reading …</span>'))

        async def fill() -> None:
            found, problem = await asyncio.to_thread(setting_origins, run)
            rows = [(row.key, _value(row.value), _origin(row.origin, row.now), row.is_changed) for row in found]
            own = [row[:3] for row in rows if row[3]]
            head = ("key", "value", "set by")
            parts = [Markup("<p class='soft'>The origins are unknown: {}</p>").format(problem)] if problem else []
            parts += (
                [Markup("<h3>set by arguments and experiments</h3>{}").format(markup.table(head, own, "config"))]
                if own
                else []
            )
            every = markup.table(head, [row[:3] for row in rows], "config")
            parts.append(Markup("<details><summary>all {} settings</summary>{}</details>").format(len(rows), every))
            content.set_content(str(markup.joined(parts)))

        ui.timer(0.3, fill, once=True)


def _value(value: Any) -> str:
    shown = value if isinstance(value, str) else json.dumps(value)
    shown = markup.text(shown)
    return shown if len(shown) <= LONG else f"{shown[:LONG]}…"


def _origin(origin: str, now: Any) -> str:
    if now is not None:
        return f"the files of the start; the present ones give {_value(now)}"
    return markup.text(origin)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
