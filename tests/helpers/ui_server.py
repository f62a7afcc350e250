"""`regimen ui` as a process of its own, and a headless Chromium that looks at it."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from helpers.launches import environment
from helpers.subprocesses import PATIENCE_S

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--use-angle=swiftshader", "--enable-unsafe-swiftshader"),  # 3D without a GPU
)


@dataclass
class Served:
    """A server that answers.

    Attributes:
        process: its process.
        url: its address with the token.
        output: lines that it printed.
    """

    process: subprocess.Popen[str]
    url: str = ""
    output: list[str] = field(default_factory=list)

    @property
    def base(self) -> str:
        """Its address without path and token, such as `http://localhost:8760`."""
        return self.url.partition("/?")[0]

    def stop(self) -> int:
        """End it as Ctrl-C does; return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_S)


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """Serve the runs of a folder.

    Args:
        folder: whose `outputs` and `multirun` are shown.
        arguments: further ones of `regimen ui`.
    """
    command = [sys.executable, "-m", "regimen.cli", "ui", "--port", "0", "--no-browser", *arguments]
    with subprocess.Popen(
        command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        running, is_there = Served(process), threading.Event()

        def read() -> None:
            for line in process.stdout or []:
                running.output.append(line.rstrip())
                if not running.url and (found := re.search(r"https?://\S+", line)):
                    running.url = found[0]
                    is_there.set()
            is_there.set()

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert is_there.wait(PATIENCE_S) and running.url, running.output
            yield running
        finally:
            process.kill()
            reader.join()


@dataclass
class Watched:
    """A page of the browser, and what went wrong in it.

    Attributes:
        page: Playwright's page.
        problems: errors of its console and scripts, and answers of 400 and more.
        elsewhere: requests to other hosts.
    """

    page: Any
    problems: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def until(self, condition: str, argument: Any = None) -> Any:
        """Wait until a JavaScript expression is true; return its value."""
        return self.page.wait_for_function(condition, arg=argument, timeout=PATIENCE_S * 1000).json_value()

    def text(self, selector: str = "body") -> str:
        """Return the text that a reader sees in an element."""
        return str(self.page.inner_text(selector))


@contextmanager
def chromium() -> Iterator[Callable[..., Watched]]:
    """Start the browser; return a function that opens a window: options of Playwright's context -> page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=list(FLAGS))

        def window(**options: Any) -> Watched:
            context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
            context.set_default_timeout(PATIENCE_S * 1000)
            watched = Watched(context.new_page())
            watched.page.on("console", lambda one: one.type == "error" and watched.problems.append(one.text))
            watched.page.on("pageerror", lambda error: watched.problems.append(f"script: {error}"))
            watched.page.on("response", lambda r: r.status >= 400 and watched.problems.append(f"{r.status} {r.url}"))
            watched.page.on("request", lambda r: _is_elsewhere(r.url) and watched.elsewhere.append(r.url))
            return watched

        try:
            yield window
        finally:
            browser.close()


def _is_elsewhere(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob", "about") and parts.hostname not in ("localhost", "127.0.0.1")
