"""The client's side of `message_server`: a connection that is kept, renewed where it was lost, with bounded waits."""

from __future__ import annotations

import errno
import io
import socket
import ssl
import time
import urllib.parse
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

from regimen.system import wire
from regimen.system.errors import (
    CheckpointError,
    ConfigError,
    DivergedError,
    EnvContractError,
    IOMismatchError,
    PreflightError,
    RegimenError,
)
from regimen.system.message_server import BINARY, SMALL_BYTES, is_loopback

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 1.0
"""Pause before a lost connection is tried again; it doubles up to the longest."""

MAX_REPLY_BYTES = 2**32
MAX_LINE, MAX_HEADERS = 2**14, 100

PASSED_ON = {
    kind.__name__: kind
    for kind in (ConfigError, IOMismatchError, PreflightError, CheckpointError, EnvContractError, wire.WireError)
}
"""Kinds of errors that are raised here as they were raised there."""


class ServerError(RegimenError):
    """A server cannot be reached, does not answer in time, or refuses; the message says what to do."""


class UnreachableError(ServerError):
    """A server cannot be reached, or does not answer in time."""


class BusyError(ServerError):
    """A server has no place for another client at present."""


class FinishedError(ServerError):
    """What a server was started for is done, and it takes nothing more."""


def url_problems(url: str) -> list[str]:
    """Return what is wrong with the address of a server, as ends of `key=value: …`.

    Args:
        url: such as `http://127.0.0.1:5001`.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return [f"{error}. Expected a form such as http://127.0.0.1:5001."]
    if parts.scheme not in ("http", "https") or not host or parts.path.strip("/") or parts.query or parts.username:
        return ["expected a form such as http://127.0.0.1:5001, without user or path."]
    if port is None:
        return ["the port is missing, such as http://127.0.0.1:5001."]
    if parts.scheme == "http" and not is_loopback(host):
        tunnel = f"ssh -N -L {port}:127.0.0.1:{port} {host}, and http://127.0.0.1:{port}"
        return [f"the token would be sent in the clear. Use https, or a tunnel: {tunnel}."]
    return []


def certificate_problems(certificate: str | None) -> list[str]:
    """Return what is wrong with the file of a certificate to trust.

    Args:
        certificate: path; None: those of the system.
    """
    try:
        _context(None if certificate is None else Path(certificate).expanduser())
    except ConfigError as error:
        return [str(error)]
    return []


def _context(certificate: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=None if certificate is None else str(certificate))
    except ssl.SSLError as error:
        raise ConfigError(f"certificate={certificate}: expected a certificate in PEM format ({error}).") from error
    except OSError as error:
        raise ConfigError(f"certificate={certificate}: {error.strerror or error}.") from error


class MessageClient:
    """A connection to a `MessageServer`. Not for several threads at once.

    A request whose answer was lost is sent again, so its receiver must take the same request twice without harm.

    Attributes:
        RENEWS_SILENT: whether a connection without an answer for `timeout_s` is given up and renewed, as one that was
            lost, for `reconnect_s`: a network that drops packets reports no loss. By default it is an error.
    """

    RENEWS_SILENT: ClassVar[bool] = False

    def __init__(
        self,
        url: str,
        token: str,
        timeout_s: float = 60.0,
        reconnect_s: float = 20.0,
        certificate: Path | None = None,
        advice: str = "",
    ) -> None:
        """Connect at the first request.

        Args:
            url: of the server.
            token: of the server.
            timeout_s: longest wait for one answer.
            reconnect_s: longest time of attempts to connect.
            certificate: of the authority that signed the server's, or the server's own; None: those of the system.
            advice: sentence for the end of messages about a server that does not answer.

        Raises:
            ConfigError: the address is none, or the certificate cannot be read.
        """
        if problems := url_problems(url):
            raise ConfigError(f"{url}: {problems[0]}")
        parts = urllib.parse.urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self.url, self.timeout_s, self.reconnect_s = url.rstrip("/"), timeout_s, reconnect_s
        self._advice = f" {advice}" if advice else ""
        self._address = parts.hostname, parts.port
        self._context = None
        if parts.scheme == "https":
            self._context = _context(certificate)
        self._head = (
            f"Host: {parts.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: {BINARY}\r\nContent-Length: "
        )
        self._socket: socket.socket | None = None
        self._file: io.BufferedReader | None = None

    def post(self, path: str, message: wire.Message) -> wire.Message:
        """Send a message and return the answer.

        Args:
            path: without the leading slash.
            message: sent again, as it is, where the answer was lost.

        Raises:
            BusyError: all connections of the server were in use for `reconnect_s`.
            UnreachableError: no connection within `reconnect_s`, or no answer within `timeout_s`.
            ServerError: a refusal without kind.
            RegimenError: of the kind that the server answered with.
            WireError: the answer is damaged.
        """
        parts = wire.encode(message)
        status, data = self._exchange(path, parts)
        answer = wire.decode(data)
        if status == HTTPStatus.OK:
            return answer
        raise received_error(answer, self.url)

    def hurry(self, seconds: float) -> None:
        """Wait no longer than `seconds` for an answer or a connection from now on."""
        self.timeout_s, self.reconnect_s = min(self.timeout_s, seconds), min(self.reconnect_s, seconds)
        if self._socket is not None:
            self._socket.settimeout(self.timeout_s)

    def close(self) -> None:
        """Close the connection."""
        if self._file is not None:
            self._file.close()
        if self._socket is not None:
            self._socket.close()
        self._file = self._socket = None

    def _exchange(self, path: str, parts: list[memoryview]) -> tuple[int, memoryview]:
        """Send a request until it is answered; return status and body."""
        pause, since = FIRST_PAUSE_S, None
        while True:
            begun = time.monotonic()
            try:
                return self._attempt(path, parts)
            except OSError as error:
                connected = self._socket is not None
                self.close()
                silent = connected and isinstance(error, TimeoutError)
                if silent and not self.RENEWS_SILENT:
                    raise UnreachableError(
                        f"{self.url} has not answered within {self.timeout_s:g} s: it is busy, or it hangs."
                        f"{self._advice}"
                    ) from None
                if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                    raise ServerError(
                        f"{self.url}: no encrypted connection: {error}. Name its certificate as one to trust."
                    ) from None
                now = time.monotonic()
                if since is None:
                    since = now if connected else begun
                if now - since + pause > self.reconnect_s:
                    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    why = f"no answer within {self.timeout_s:g} s" if silent else why
                    kind = BusyError if error.errno == errno.EBUSY else UnreachableError
                    raise kind(
                        f"{self.url} cannot be reached, tried for {self.reconnect_s:g} s: {why}.{self._advice}"
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _attempt(self, path: str, parts: list[memoryview]) -> tuple[int, memoryview]:
        length, fresh = wire.size(parts), self._socket is None
        connection, file = self._connected()
        pieces: list[memoryview | bytes] = [
            f"POST /{path} HTTP/1.1\r\n{self._head}{length}\r\n\r\n".encode("latin-1"),
            *parts,
        ]
        try:
            for piece in [b"".join(pieces)] if length <= SMALL_BYTES else pieces:
                connection.sendall(piece)
        except ConnectionError:
            if not fresh:
                raise
            # A server that refuses a request answers before it has read all, and closes: the answer may be here.
        status, headers = self._reply_head(file)
        size = headers.get("content-length", "")
        if headers.get("content-type") != BINARY or not size.isdigit() or int(size) > MAX_REPLY_BYTES:
            self.close()
            raise ServerError(f"{self.url} answers, but it is no server of Regimen. Look up its address and port.")
        data, received = wire.buffer(int(size)), 0
        while received < len(data):
            count = file.readinto(data[received:])
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "the answer was cut")
            received += count
        if headers.get("connection") == "close":
            self.close()
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise OSError(
                errno.EBUSY, str(wire.decode(data).get("message", "all its connections are in use")).rstrip(".")
            )
        return status, data

    def _connected(self) -> tuple[socket.socket, io.BufferedReader]:
        if self._socket is None or self._file is None:
            plain = socket.create_connection(self._address, timeout=min(self.timeout_s, self.reconnect_s))
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                host = self._address[0]
                self._socket = self._context.wrap_socket(plain, server_hostname=host) if self._context else plain
            except BaseException:
                plain.close()
                raise
            self._socket.settimeout(self.timeout_s)
            self._file = self._socket.makefile("rb")
        return self._socket, self._file

    def _reply_head(self, file: io.BufferedReader) -> tuple[int, dict[str, str]]:
        """Return the status and the headers of a reply, names in lower case."""
        first = file.readline(MAX_LINE)
        if not first:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was closed")
        version, _, rest = first.decode("latin-1").partition(" ")
        status = rest[:3]
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS):
            line = file.readline(MAX_LINE).decode("latin-1").strip()
            if not line:
                break
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return int(status) if version.startswith("HTTP/1.") and status.isdigit() else 0, headers


def received_error(answer: wire.Message, url: str) -> RegimenError:
    """Return the exception that an answer holds; of a kind that is not of Regimen it is a `ServerError`.

    Args:
        answer: made by `message_server.Reply.error`.
        url: of the server.
    """
    kind, text = ("".join(filter(_is_text, str(answer.get(key)))) for key in ("error", "message"))
    if kind == DivergedError.__name__:
        diverged = DivergedError(text, answer.get("env_ids") or ())
        diverged.of_state = answer.get("of_state") is True
        return diverged
    if kind in PASSED_ON:
        return PASSED_ON[kind](text)
    if kind == BusyError.__name__:
        return BusyError(f"{url}: {text}")
    if kind == FinishedError.__name__:
        return FinishedError(f"{url}: {text}")
    if kind in ("ServerError", "UnreachableError", "RegimenError"):
        return ServerError(f"{url}: {text}")
    return ServerError(f"{url} failed: {kind}: {text}. The log of the server has the place.")


def _is_text(letter: str) -> bool:
    """Return whether a letter of another machine can stand on a terminal."""
    return letter.isprintable() or letter == "\n"
