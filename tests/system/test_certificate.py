"""A certificate for one address: clients that trust it reach a server at that address alone, others reach none."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.system import certificate
from regimen.system.errors import PreflightError
from regimen.system.message_client import MessageClient, ServerError
from regimen.system.message_server import MessageServer, Reply, Tls


@pytest.fixture(params=["cryptography", "openssl"])
def made(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tls:
    """A certificate for 127.0.0.2, made by each of the two."""
    if request.param == "openssl":
        if shutil.which("openssl") is None:
            pytest.skip("no openssl here")
        without(monkeypatch)
    else:
        pytest.importorskip("cryptography")
        monkeypatch.setenv("PATH", "/nowhere")
    return certificate.make("127.0.0.2", tmp_path)


def without(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(certificate.importlib.util, "find_spec", lambda n: None if n == "cryptography" else find(n))


def ask(server: MessageServer, url: str, trusted: Path) -> object:
    client = MessageClient(url, "the token of a test", 5.0, 1.0, trusted)
    try:
        return client.post("anything", {})["answer"]
    finally:
        client.close()


def test_it_is_good_for_its_address_alone(made: Tls, tmp_path: Path) -> None:
    assert made.key.stat().st_mode & 0o077 == 0
    (tmp_path / "other").mkdir()
    other = certificate.make("127.0.0.2", tmp_path / "other")
    for host in ("127.0.0.2", "127.0.0.3"):
        server = MessageServer(lambda request: Reply.message({"answer": 1}), host, 0, "the token of a test", 1000, made)
        server.start()
        try:
            if host == "127.0.0.2":
                assert ask(server, server.url, made.certificate) == 1
                with raises_naming(ServerError, server.url, "certificate"):
                    ask(server, server.url, other.certificate)
            else:
                with raises_naming(ServerError, server.url, "certificate"):
                    ask(server, server.url, made.certificate)
        finally:
            server.stop()


def test_without_anything_to_make_it_with_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert certificate.why_none() == ""
    without(monkeypatch)
    monkeypatch.setenv("PATH", "/nowhere")
    with raises_naming(PreflightError, "127.0.0.2", "openssl", "pip install cryptography"):
        certificate.make("127.0.0.2", tmp_path)
