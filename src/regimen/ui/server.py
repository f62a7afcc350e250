"""The server: its pages behind a token or password, its address on the screen, and a clean end."""

from __future__ import annotations

import asyncio
import os
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware
from nicegui import ui

from regimen.ui import actions, routes
from regimen.ui.access import Access, Guard
from regimen.ui.address import Address, exposure
from regimen.ui.history import History
from regimen.ui.pages import register

END_S = 1
"""Time that open connections have at the end."""

ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="7" fill="#1f5fbf"/>
<path d="M7 23 13 13l5 6 7-11" fill="none" stroke="#fff" stroke-width="3" stroke-linejoin="round"/></svg>"""


def serve(
    sock: socket.socket, address: Address, password: str | None, opens_browser: bool, say: Callable[[str], object]
) -> None:
    """Serve the pages until Ctrl-C.

    Args:
        sock: listening socket.
        address: where it listens.
        password: that readers type; None for a token in the address.
        opens_browser: whether to open the page in a browser of this machine.
        say: prints one line.
    """
    port = sock.getsockname()[1]
    access = Access(port, password)
    app = application(History(), address)
    config = uvicorn.Config(
        Guard(app, access),
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=END_S,
        ssl_certfile=address.tls_certificate,
        ssl_keyfile=address.tls_key,
    )
    server = _Server(config, lambda: _announce(address, access, opens_browser, say))
    with suppress(KeyboardInterrupt), sock:
        asyncio.run(server.serve(sockets=[sock]))
    say("ended; runs that were started here continue")


def application(history: History, address: Address) -> FastAPI:
    """Return the server's application, not yet guarded.

    Args:
        history: the runs.
        address: where it will listen; content is compressed for other machines only.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(work) for work in (history.watch(), actions.watch())]
        yield
        for task in tasks:
            task.cancel()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(routes.router(history))
    register(history)
    ui.run_with(
        app,
        title="regimen",
        favicon=ICON,
        dark=None,
        tailwind=False,
        binding_refresh_interval=None,
        reconnect_timeout=10.0,
        gzip_middleware_factory=None if address.is_local else partial(GZipMiddleware, compresslevel=4),
        show_welcome_message=False,
    )
    return app


class _Server(uvicorn.Server):
    """Announces itself once it answers."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._announce()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with suppress(KeyboardInterrupt), super().capture_signals():
            yield


def _announce(address: Address, access: Access, opens_browser: bool, say: Callable[[str], object]) -> None:
    """Print where the page is and what is exposed; open a browser."""
    shown = "localhost" if address.host in ("127.0.0.1", "::1", "localhost") else address.host
    shown = f"[{shown}]" if ":" in shown else shown
    url = f"{address.scheme}://{shown}:{access.port}/"
    if access.password is None:
        url += f"?token={access.token}"
    say(f"runs of {Path.cwd()}: {url}")
    if address.is_local:
        say(f"from another machine: ssh -N -L {access.port}:127.0.0.1:{access.port} {socket.gethostname()}")
    else:
        for line in exposure(address):
            say(line)
    say("Ctrl-C ends it")
    if opens_browser and _has_browser():
        asyncio.get_running_loop().run_in_executor(None, webbrowser.open, url)


def _has_browser() -> bool:
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.uname().sysname == "Darwin")
