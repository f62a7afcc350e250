"""Server and client of messages: tokens, bounds, lost connections, and waits that end."""

from __future__ import annotations

import base64
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import torch

from regimen.system import message_server, wire
from regimen.system.errors import ConfigError, DivergedError, PreflightError
from regimen.system.message_client import BusyError, MessageClient, ServerError, url_problems
from regimen.system.message_server import MessageServer, Reply, Request, Tls

TOKEN = "a token of this test"
MAX_BODY = 10_000_000


def echo(request: Request) -> Reply:
    """Send a message back; some paths fail."""
    message = wire.decode(request.body)
    errors: dict[str, Exception] = {
        "config": ConfigError("the config is wrong"),
        "busy": BusyError("taken"),
        "bug": KeyError("a bug"),
        "diverged": DivergedError("not finite", [3]),
    }
    if request.path in errors:
        raise errors[request.path]
    if request.path == "sleep":
        time.sleep(message["seconds"])
    return Reply.message({"path": request.path, **message})


@contextmanager
def serving(handler: Any = echo, port: int = 0, tls: Tls | None = None) -> Iterator[MessageServer]:
    server = MessageServer(handler, "127.0.0.1", port, TOKEN, MAX_BODY, tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def client_of(url: str, token: str = TOKEN, **kwargs: Any) -> Iterator[MessageClient]:
    client = MessageClient(url, token, **{"timeout_s": 5.0, "reconnect_s": 0.3, **kwargs})
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def server() -> Iterator[MessageServer]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("count", [3, 1_000_000])
def test_a_message_returns_over_one_connection(server: MessageServer, count: int) -> None:
    with client_of(server.url) as client:
        for value in range(3):
            x = torch.full((count,), float(value))
            assert torch.equal(client.post("echo", {"x": x})["x"], x)


def test_errors_arrive_as_their_kind(server: MessageServer, capfd: pytest.CaptureFixture[str]) -> None:
    with client_of(server.url) as client:
        with pytest.raises(DivergedError, match="not finite") as diverged:
            client.post("diverged", {})
        assert diverged.value.env_ids == [3]
        with pytest.raises(ConfigError, match="the config is wrong"):
            client.post("config", {})
        with pytest.raises(BusyError):
            client.post("busy", {})
        with pytest.raises(ServerError, match="a bug"):
            client.post("bug", {})
        assert client.post("echo", {"x": 1})["x"] == 1
    assert "Traceback" in capfd.readouterr().err


def test_a_wrong_token_is_refused_before_the_body_is_read(server: MessageServer) -> None:
    with client_of(server.url, "another") as client, pytest.raises(ServerError, match="token"):
        client.post("echo", {"x": torch.zeros(1_000_000)})


def test_a_body_over_the_bound_is_refused(server: MessageServer) -> None:
    with client_of(server.url) as client, pytest.raises(wire.WireError, match=str(MAX_BODY)):
        client.post("echo", {"x": torch.zeros(MAX_BODY, dtype=torch.uint8)})


def raw(server: MessageServer, data: bytes) -> bytes:
    """What the server answers to bytes, until it closes the connection."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        chunks = []
        while chunk := connection.recv(2**16):
            chunks.append(chunk)
    return b"".join(chunks)


BEARER = f"Authorization: Bearer {TOKEN}\r\n".encode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"405"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST /echo HTTP/1.1\r\n\r\n", b"401"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"\r\n", b"411"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"Content-Length: -5\r\n\r\n", b"411"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"Content-Length: 99999999999999\r\n\r\n", b"413"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"POST /echo HTTP/1.1\r\n" + b"A: b\r\n" * 1 + b"x" * 20_000 + b": y\r\n\r\n", b"400"),
        (b"POST /echo HTTP/1.1\r\n" + b"".join(b"H%d: b\r\n" % i for i in range(200)) + b"\r\n", b"400"),
        (b"POST /echo HTTP/1.1\r\n" + BEARER + b"Content-Length: 5\r\n\r\nhello", b"422"),
        (b"POST /echo HTTP/1.1\r\nAuthorization: Basic !!!\r\nContent-Length: 0\r\n\r\n", b"401"),
    ],
)
def test_requests_that_no_client_of_ours_sends_are_answered_with_their_status(
    server: MessageServer, request_: bytes, status: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    assert raw(server, request_).split(b" ")[1] == status
    with client_of(server.url) as client:
        assert client.post("echo", {"x": 1})["x"] == 1


def test_a_body_that_is_cut_harms_no_one(server: MessageServer) -> None:
    assert raw(server, b"POST /echo HTTP/1.1\r\n" + BEARER + b"Content-Length: 500\r\n\r\nhello") == b""
    with client_of(server.url) as client:
        assert client.post("echo", {"x": 1})["x"] == 1


def test_the_token_is_taken_as_the_password_of_an_address(server: MessageServer) -> None:
    body = wire.to_bytes({"x": 7})
    password = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
    head = f"POST /echo HTTP/1.1\r\nAuthorization: Basic {password}\r\nContent-Length: {len(body)}\r\n\r\n"
    assert raw(server, head.encode() + body).startswith(b"HTTP/1.1 200 OK")


def test_a_server_that_is_not_there_is_an_error_in_time() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    begun = time.monotonic()
    with client_of(url, advice="Start it.") as client, pytest.raises(ServerError, match=r"refused.*Start it\."):
        client.post("echo", {})
    assert time.monotonic() - begun < 3


def test_a_server_that_does_not_answer_is_an_error_in_time(server: MessageServer) -> None:
    with client_of(server.url, timeout_s=0.3) as client:
        with pytest.raises(ServerError, match=r"0\.3 s"):
            client.post("sleep", {"seconds": 1.0})
        assert client.post("echo", {"x": 1})["x"] == 1


def test_a_short_loss_is_not_noticed() -> None:
    with serving() as first, client_of(first.url, reconnect_s=10.0) as client:
        assert client.post("echo", {"x": 1})["x"] == 1
        first.stop()
        port = int(first.url.rpartition(":")[2])
        second: list[MessageServer] = []

        def start_again() -> None:
            time.sleep(0.3)
            second.append(MessageServer(echo, "127.0.0.1", port, TOKEN, MAX_BODY))
            second[0].start()

        thread = threading.Thread(target=start_again)
        thread.start()
        assert client.post("echo", {"x": 2})["x"] == 2
        thread.join()
        second[0].stop()


def test_another_program_at_the_address_is_named_as_such() -> None:
    def other(request: Request) -> Reply:
        return Reply(HTTPStatus.OK, "text/html", [b"<html>"])

    with serving(other) as server, client_of(server.url) as client, pytest.raises(ServerError, match="no server of"):
        client.post("echo", {})


def test_an_address_in_use_is_named(server: MessageServer) -> None:
    with pytest.raises(PreflightError, match="in use"):
        MessageServer(echo, "127.0.0.1", int(server.url.rpartition(":")[2]), TOKEN, MAX_BODY)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:5001",
        "ftp://127.0.0.1:1",
        "http://127.0.0.1",
        "http://10.0.0.5:5001",
        "http://u:p@127.0.0.1:1",
        "http://127.0.0.1:x",
        "http://127.0.0.1:1/path",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    assert url_problems(url)
    with pytest.raises(ConfigError):
        MessageClient(url, TOKEN)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:5001", "http://localhost:5001/", "https://10.0.0.5:5001", "http://[::1]:1"]
)
def test_addresses_that_are_taken(url: str) -> None:
    assert url_problems(url) == []


def test_a_refusal_is_the_answer_although_the_body_was_not_read(
    server: MessageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_server, "MAX_DRAINED_S", 0.0)  # the server closes while the client sends
    begun = time.monotonic()
    with client_of(server.url, reconnect_s=5.0) as client, pytest.raises(wire.WireError, match=str(MAX_BODY)):
        client.post("echo", {"x": torch.zeros(5 * MAX_BODY, dtype=torch.uint8)})
    assert time.monotonic() - begun < 4


def test_a_connection_without_a_token_has_a_deadline_although_bytes_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_server, "UNKNOWN_S", 0.5)
    with serving() as server, client_of(server.url) as client:
        assert client.post("echo", {"x": 1})["x"] == 1
        port = int(server.url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stranger:
            end, open_ = time.monotonic() + 5, True
            while open_ and time.monotonic() < end:
                time.sleep(0.05)
                try:
                    stranger.sendall(b"P")
                except OSError:
                    open_ = False
        assert not open_
        assert client._socket is not None
        own = client._socket.fileno()
        assert client.post("echo", {"x": 2})["x"] == 2
        assert client._socket.fileno() == own, "one with a token stays open"


def test_a_server_takes_as_many_connections_as_it_is_given() -> None:
    server = MessageServer(echo, "127.0.0.1", 0, TOKEN, MAX_BODY, max_connections=70)
    server.start()
    try:
        with ExitStack() as stack:
            clients = [stack.enter_context(client_of(server.url)) for _ in range(71)]
            assert [client.post("echo", {"x": i})["x"] for i, client in enumerate(clients[:70])] == list(range(70))
            with pytest.raises(BusyError, match="70"):
                clients[70].post("echo", {"x": torch.zeros(100_000)})
            clients[0].close()
            clients[70].reconnect_s = 5.0
            assert clients[70].post("echo", {"x": 70})["x"] == 70
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A certificate for 127.0.0.1 and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    tmp_path = tmp_path_factory.mktemp("tls")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=sim"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return Tls(certificate, key)


def test_an_encrypted_connection_needs_a_trusted_certificate(tls: Tls) -> None:
    certificate, key = tls.certificate, tls.key
    with serving(tls=tls) as server:
        assert server.url.startswith("https://")
        with client_of(server.url, certificate=certificate) as client:
            for count in (3, 1_000_000):
                assert client.post("echo", {"x": torch.ones(count)})["x"].shape == (count,)
        with client_of(server.url) as client, pytest.raises(ServerError, match="certificate"):
            client.post("echo", {})
    with pytest.raises(PreflightError, match=r"key\.pem"):
        Tls(key, key).context()


def test_a_connection_that_ends_or_hangs_before_it_is_made_is_tried_again(tls: Tls) -> None:
    """As behind a tunnel whose far end is not there yet."""
    with serving(tls=tls) as server, socket.socket() as tunnel:
        tunnel.bind(("127.0.0.1", 0))
        tunnel.listen()
        ends = []

        def forward() -> None:
            for _ in range(2):
                tunnel.accept()[0].close()
            ends.append(tunnel.accept()[0])  # this one is silent
            near, far = tunnel.accept()[0], socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
            ends.extend((near, far))
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

        def pump(source: socket.socket, target: socket.socket) -> None:
            with suppress(OSError):
                while data := source.recv(2**16):
                    target.sendall(data)
                target.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=forward)
        thread.start()
        url = f"https://127.0.0.1:{tunnel.getsockname()[1]}"
        with client_of(url, timeout_s=0.5, reconnect_s=10.0, certificate=tls.certificate) as client:
            assert client.post("echo", {"x": 1})["x"] == 1
        thread.join()
        for end in ends:
            end.close()


def test_a_certificate_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no certificate")
    for file in (tmp_path / "absent", tmp_path / "text"):
        with pytest.raises(ConfigError, match=f"certificate={file}"):
            MessageClient("https://127.0.0.1:1", TOKEN, certificate=file)
