"""The frame of every page: navigation, light and dark, style, and what stands there when something is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from markupsafe import Markup
from nicegui import ui

from regimen.ui.markup import joined, notice

STATIC = Path(__file__).parent / "static"

PAGES = {"/": "Runs", "/sweeps": "Sweeps", "/pipelines": "Pipelines", "/datasets": "Datasets"}
"""Address -> title of the pages in the navigation."""

HEAD = """
<link rel="stylesheet" href="/assets/{version}/style.css">
<script src="/assets/{version}/page.js"></script>
"""


page = partial(ui.page, response_timeout=120.0)
"""Decorator of a page: its address. On a slow file system the runs may take a while to be listed."""


def assets_version() -> str:
    """Return a part of the addresses of style and scripts that changes with their content: browsers keep them."""
    newest = max(path.stat().st_mtime_ns for path in STATIC.iterdir())
    return f"{newest:x}"


@contextmanager
def frame(title: str, here: str, wide: bool = False) -> Iterator[None]:
    """Build the frame of a page around its content.

    Args:
        title: of the page.
        here: address of the page of the navigation that it belongs to.
        wide: whether the content fills the window.
    """
    ui.page_title(f"{title} · regimen")
    ui.add_head_html(HEAD.format(version=assets_version()))
    links = joined(
        Markup('<a href="{}"{}>{}</a>').format(address, Markup(' aria-current="page"') if address == here else "", name)
        for address, name in PAGES.items()
    )
    static(
        Markup(
            '<header class="top"><a class="brand" href="/">regimen</a><nav>{}</nav>'
            '<button type="button" class="theme" data-theme aria-label="Light or dark">◐</button></header>'
        ).format(links)
    )
    with ui.element("div").classes("page wide" if wide else "page"):
        yield


def static(content: Markup) -> ui.html:
    """Show markup that was built by `regimen.ui.markup`, whose values are escaped."""
    return ui.html(str(content), sanitize=False)


def heading(title: str, beside: Markup | str = "") -> None:
    """Show the heading of a page."""
    static(Markup('<div class="heading"><h1>{}</h1>{}</div>').format(title, beside))


@contextmanager
def section(title: str, anchor: str) -> Iterator[None]:
    """Build a section with a heading.

    Args:
        title: its heading.
        anchor: its id in the address.
    """
    with ui.element("section").props(f'id="{anchor}"'):
        static(Markup("<h2>{}</h2>").format(title))
        yield


def missing(message: str) -> None:
    """Show why there is nothing to show."""
    static(notice("warn", message.splitlines()))
