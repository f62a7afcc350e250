"""Without the token or the password nothing of the page is served, and no other page can use its cookie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest

from regimen.ui import access
from regimen.ui.access import Access, Guard

TOKEN = "t" * 32


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


async def inside(scope: Any, receive: Any, send: Any) -> None:
    """What is guarded."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"inside"})


def ask(
    secret: Access, path: str = "/", method: str = "GET", form: dict[str, str] | None = None, **headers: str
) -> Answer:
    return asyncio.run(answer_of(Guard(inside, secret), path, method, form, **headers))


async def answer_of(
    guard: Guard, path: str = "/", method: str = "GET", form: dict[str, str] | None = None, **headers: str
) -> Answer:
    found = Answer()

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": urlencode(form or {}).encode()}

    async def send(message: MutableMapping[str, Any]) -> None:
        found.status = message.get("status", found.status)
        found.headers |= {name.decode(): value.decode() for name, value in message.get("headers", [])}
        found.body += message.get("body", b"").decode()

    place, _, query = path.partition("?")
    pairs = [(name.encode(), value.encode()) for name, value in ({"host": "localhost:8760"} | headers).items()]
    scope = {"type": "http", "method": method, "path": place, "query_string": query.encode(), "headers": pairs}
    await guard(scope, receive, send)
    return found


def websocket(secret: Access, **headers: str) -> str:
    sent: list[str] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message["type"])

    pairs = [(name.encode(), value.encode()) for name, value in ({"host": "localhost:8760"} | headers).items()]
    scope = {"type": "websocket", "path": "/_nicegui_ws/socket.io/", "query_string": b"", "headers": pairs}
    asyncio.run(Guard(inside, secret)(scope, None, send))  # type: ignore[arg-type]
    return sent[0]


@pytest.fixture
def secret() -> Access:
    return Access(8760, token=TOKEN)


@pytest.mark.parametrize(
    "path", ["/", "/run/a", "/files/a/run.json", "/api/rows", "/?token=wrong", "/?token=", "/login"]
)
def test_without_the_token_nothing_is_served(secret: Access, path: str) -> None:
    answer = ask(secret, path)
    assert answer.status == 401 and "inside" not in answer.body and "set-cookie" not in answer.headers
    assert TOKEN not in answer.body


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address(secret: Access) -> None:
    answer = ask(secret, f"/run/a?curves=x&token={TOKEN}")
    assert answer.status == 303 and answer.headers["location"] == "/run/a?curves=x"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    assert ask(secret, cookie=cookie.partition(";")[0]).body == "inside"


def test_a_cookie_of_another_server_or_run_is_none(secret: Access) -> None:
    for cookie in (f"regimen-8761={TOKEN}", "regimen-8760=old", f"other={TOKEN}", "regimen-8760", "=;;"):
        assert ask(secret, cookie=cookie).status == 401
    assert ask(secret, f"/?token={TOKEN}", method="POST").status == 401


def test_pages_may_load_nothing_from_elsewhere(secret: Access) -> None:
    answer = ask(secret, cookie=f"regimen-8760={TOKEN}")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "http:" not in policy and "*" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_other_pages_of_the_same_host_cannot_use_the_cookie(secret: Access) -> None:
    cookie = f"regimen-8760={TOKEN}"
    assert websocket(secret, cookie=cookie, origin="http://localhost:8760") == "websocket.accept"
    assert websocket(secret, cookie=cookie, origin="http://localhost:8888") == "websocket.close"
    assert websocket(secret, origin="http://localhost:8760") == "websocket.close"
    assert ask(secret, method="POST", cookie=cookie, origin="http://localhost:8888").status == 403
    assert ask(secret, method="POST", cookie=cookie, origin="http://localhost:8760").status == 200


def test_a_password_opens_the_page_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_PASSWORD_S", 0.01)
    secret = Access(8760, "a good password")
    form = ask(secret, "/run/a?x=time")
    assert form.status == 401 and 'value="/run/a?x=time"' in form.body and "inside" not in form.body
    assert ask(secret, f"/?token={secret.token}").status == 401
    wrong = ask(secret, "/login", "POST", {"password": "a bad password", "to": "/run/a"})
    assert wrong.status == 401 and "set-cookie" not in wrong.headers
    right = ask(secret, "/login", "POST", {"password": "a good password", "to": "/run/a?x=time"})
    assert right.status == 303 and right.headers["location"] == "/run/a?x=time"
    assert ask(secret, cookie=right.headers["set-cookie"].partition(";")[0]).body == "inside"


def test_parallel_guesses_are_compared_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "WRONG_PASSWORD_S", 0.05)
    guard = Guard(inside, Access(8760, "a good password"))

    async def login(password: str) -> tuple[int, float]:
        answer = await answer_of(guard, "/login", "POST", {"password": password})
        return answer.status, time.monotonic()

    async def guess() -> list[tuple[int, float]]:
        guesses = await asyncio.gather(*(login(f"guess {number}") for number in range(100)), login("a good password"))
        return [*guesses, await login("a good password")]

    begun = time.monotonic()
    *guesses, among, after = asyncio.run(guess())
    compared = [end - begun for status, end in guesses if status == 401]
    assert 1 <= len(compared) <= 6 and max(compared) >= 0.05 * len(compared)
    assert [status for status, _ in guesses].count(429) == 100 - len(compared)
    assert among[0] == 429 and after[0] == 303


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example", "\\\\evil.example", "/\r\nset-cookie: a=b"])
def test_a_login_leads_nowhere_else(to: str) -> None:
    secret = Access(8760, "a good password")
    answer = ask(secret, "/login", "POST", {"password": "a good password", "to": to})
    location = answer.headers["location"]
    assert location.startswith("/") and not location.startswith("//") and "\n" not in location and "\\" not in location


def test_the_address_asked_for_is_escaped_in_the_form() -> None:
    answer = ask(Access(8760, "a good password"), '/"><script>alert(1)</script>')
    assert "<script>" not in answer.body
