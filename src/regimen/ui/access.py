"""Access to the page by a random token in the address, or by a password, checked before anything else."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import html
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

WRONG_PASSWORD_S = 1.0
"""Delay of the answer to a wrong password; the next one is compared after it, which bounds the rate of guesses."""

MAX_WAITING = 5
"""Passwords that wait to be compared; a further one is refused at once, with status 429."""

LONGEST_FORM = 4096
"""Bytes of a posted form."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
"""Content security policy of the pages: a browser sends no request to another machine."""

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"SAMEORIGIN"),
]

FORM = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>regimen</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>
body{{font:16px/1.5 system-ui,sans-serif;display:grid;place-items:center;min-height:90vh;margin:0;
background:Canvas;color:CanvasText;color-scheme:light dark}}
main{{max-width:24rem;padding:1.5rem}}input,button{{font:inherit;padding:.5rem .7rem;width:100%;margin:.3rem 0;
box-sizing:border-box}}p{{margin:.4rem 0}}</style></head><body><main><h1>regimen</h1>{content}</main></body></html>"""

PASSWORD_FORM = """<p>{message}</p><form method="post" action="/login"><input type="hidden" name="to" value="{to}">
<input type="password" name="password" aria-label="Password" autofocus autocomplete="current-password">
<button>Open</button></form>"""

TOKEN_TEXT = """<p>This page opens with the whole address that <code>regimen ui</code> printed, which ends in
<code>?token=…</code>.</p>"""


@dataclass
class Access:
    """The secret of a server.

    Attributes:
        port: TCP port; part of the cookie's name, because cookies are shared by all ports of a host.
        password: to be typed by the reader; None where the address carries the token.
        token: of the cookie, and without a password of the address as well.
    """

    port: int
    password: str | None = None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """Name of the cookie."""
        return f"regimen-{self.port}"

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in constant time."""
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def is_password(self, text: str) -> bool:
        """Return whether a text is the password, in constant time."""
        if self.password is None:
            return False
        given, wanted = (hashlib.sha256(one.encode(errors="replace")).digest() for one in (text, self.password))
        return hmac.compare_digest(given, wanted)


class Guard:
    """ASGI middleware around the whole server: without the cookie there is nothing but the way to get it."""

    def __init__(self, app: App, access: Access) -> None:
        """Args: app: what is guarded; access: the secret."""
        self.app, self._access = app, access
        self._comparing = asyncio.Lock()
        self._open = 0  # passwords that are compared or wait for it

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope.get("headers", [])}
        is_known = self._access.is_token(_cookie(headers.get(b"cookie", ""), self._access.cookie))
        if scope["type"] == "websocket":
            if is_known and _same_origin(headers):
                await self.app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
        elif self._access.password is None and self._has_token(scope):
            await self._welcome(send, _without_token(scope))
        elif is_known and scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _same_origin(headers):
            await _answer(send, 403, FORM.format(content="<p>Refused: the request comes from another page.</p>"))
        elif is_known:
            await self.app(scope, receive, _with_headers(send))
        elif self._access.password is None:
            await _answer(send, 401, FORM.format(content=TOKEN_TEXT))
        else:
            await self._by_password(scope, receive, send)

    def _has_token(self, scope: Scope) -> bool:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return scope["method"] in ("GET", "HEAD") and self._access.is_token(query.get("token", [""])[0])

    async def _by_password(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, message, to = 401, "Password of this server:", _path(scope["path"])
        if scope["query_string"]:
            to += f"?{scope['query_string'].decode('latin-1')}"
        if scope["method"] == "POST" and scope["path"] == "/login":
            form = parse_qs((await _body(receive)).decode(errors="replace"))
            to = _path(form.get("to", ["/"])[0])
            is_right = await self._compared(form.get("password", [""])[0])
            if is_right:
                await self._welcome(send, to)
                return
            message = "That is not the password of this server. Its owner gave it to `regimen ui`."
            if is_right is None:
                status, message = 429, "Other passwords are being compared. Try again in a few seconds."
        content = PASSWORD_FORM.format(message=html.escape(message), to=html.escape(to, quote=True))
        await _answer(send, status, FORM.format(content=content))

    async def _compared(self, password: str) -> bool | None:
        """Return whether it is the password, one after the other; None where too many wait."""
        if self._open > MAX_WAITING:
            return None
        self._open += 1
        try:
            async with self._comparing:
                if self._access.is_password(password):
                    return True
                await asyncio.sleep(WRONG_PASSWORD_S)
                return False
        finally:
            self._open -= 1

    async def _welcome(self, send: Send, to: str) -> None:
        value = f"{self._access.cookie}={self._access.token}; Path=/; HttpOnly; SameSite=Lax"
        headers = [(b"set-cookie", value.encode()), (b"location", to.encode("ascii", "ignore"))]
        await _answer(send, 303, "", headers)


def _without_token(scope: Scope) -> str:
    """Return the address of a request without the token, to be left in the browser."""
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    rest = urlencode([(name, value) for name, value in query if name != "token"])
    return f"{_path(scope['path'])}{f'?{rest}' if rest else ''}"


def _path(text: str) -> str:
    """Return the part of an address that stays on this server: `//host` and line breaks lead elsewhere."""
    clean = "".join(letter for letter in text if letter.isprintable() and letter != "\\")
    return f"/{clean.lstrip('/')}"


def _cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _same_origin(headers: dict[bytes, str]) -> bool:
    """Return whether a request comes from a page of this server; other servers of this host share its cookies."""
    origin = headers.get(b"origin")
    return origin is None or origin.split("://", 1)[-1] == headers.get(b"host")


def _with_headers(send: Send) -> Send:
    async def wrapped(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            if not any(name.lower() == b"content-security-policy" for name, _ in headers):
                headers.append((b"content-security-policy", POLICY.encode()))
            message = {**message, "headers": [*headers, *HEADERS]}
        await send(message)

    return wrapped


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LONGEST_FORM or not message.get("more_body") or message["type"] == "http.disconnect":
            return body[:LONGEST_FORM]


async def _answer(send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    body = text.encode()
    policy = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    all_headers = [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"content-security-policy", policy),
        *HEADERS,
        *(headers or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})
