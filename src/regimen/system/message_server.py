"""An HTTP/1.1 server for messages: a thread for each connection, a token, bounded sizes, TLS where it is configured.

Requests are `POST <path>` with a body whose length is stated. The token is compared before the body is read:
`Authorization: Bearer <token>`, or `Basic` with the token as the password, which clients send for
`http://any:<token>@host`.
"""

from __future__ import annotations

import base64
import hmac
import http.server
import math
import socket
import socketserver
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from regimen.system import wire
from regimen.system.errors import DivergedError, PreflightError, RegimenError

BINARY = "application/x-regimen"
JSON = "application/json"

UNKNOWN_S, IDLE_S = 10.0, 300.0
"""Seconds until a connection is closed: from its opening without the right token, from its last bytes with it."""

MAX_CONNECTIONS = 64
MAX_SURPLUS = 16
"""Connections beyond the bound that are open at once, to be answered that there is no place."""

MAX_DRAINED_S = 1.0
MAX_LINE, MAX_HEADERS = 2**14, 100
SMALL_BYTES = 2**17
"""Parts up to this size in sum are copied together and sent in one call."""


@dataclass
class Request:
    """A request whose token was right.

    Attributes:
        path: without the leading slash.
        content_type: of the body.
        body: memory that only this request holds.
    """

    path: str
    content_type: str
    body: memoryview


@dataclass
class Reply:
    """Answer to a request.

    Attributes:
        status: of HTTP.
        content_type: of the body.
        parts: the body.
    """

    status: HTTPStatus
    content_type: str
    parts: list[memoryview] | list[bytes]

    @classmethod
    def message(cls, message: wire.Message, status: HTTPStatus = HTTPStatus.OK) -> Reply:
        """Return the reply that holds a message."""
        return cls(status, BINARY, wire.encode(message))

    @classmethod
    def error(cls, error: Exception, status: HTTPStatus | None = None) -> Reply:
        """Return the reply that holds an error.

        Args:
            error: what was raised.
            status: by default 422 for one that the client can correct, 500 for any other.
        """
        message: wire.Message = {"error": type(error).__name__, "message": str(error)}
        if isinstance(error, DivergedError):
            message |= {"env_ids": error.env_ids, "of_state": error.of_state}
        default = (
            HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, RegimenError) else HTTPStatus.INTERNAL_SERVER_ERROR
        )
        return cls.message(message, status or default)


Handler = Callable[[Request], Reply]
"""Called from the thread of the connection; what it raises is answered by `Reply.error`."""


@dataclass
class Tls:
    """Certificate chain and private key of a server, files in PEM format."""

    certificate: Path
    key: Path

    def context(self) -> ssl.SSLContext:
        """Return the context of the server's side.

        Raises:
            PreflightError: a file cannot be read, or the key is not that of the certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise PreflightError(f"TLS with {self.certificate} and {self.key}: {error}.") from error
        return context


def is_loopback(host: str) -> bool:
    """Return whether an address reaches this machine only."""
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"


class MessageServer:
    """A server that listens from its construction on; `start` begins to answer.

    Attributes:
        url: such as `http://127.0.0.1:5001`.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        token: str,
        max_body: int,
        tls: Tls | None = None,
        body_advice: str = "",
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Bind the address.

        Args:
            handler: answers requests.
            host: address to listen at.
            port: 0: a free one.
            token: that every request must have.
            max_body: bytes of a request's body; a larger one is refused before it is read.
            tls: encrypts the connections.
            body_advice: sentence for the end of the message about a body that is too large.
            max_connections: at once; a request of a further one is answered by status 503.

        Raises:
            PreflightError: the address is in use or not one of this machine, or the certificate cannot be read.
        """
        context = tls.context() if tls else None
        try:
            self._server = _Server((host, port), handler, token, max_body, context, body_advice, max_connections)
        except OSError as error:
            raise PreflightError(f"{host}:{port}: {error.strerror or error}.") from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"{'https' if tls else 'http'}://{shown}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="accept", daemon=True)

    def start(self) -> None:
        """Begin to accept connections, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Close the address and all connections; requests that are being answered are cut."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: Handler,
        token: str,
        max_body: int,
        context: ssl.SSLContext | None,
        body_advice: str,
        max_connections: int,
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer, self.token, self.max_body, self.context = handler, token, max_body, context
        self.body_advice, self.max_connections = body_advice, max_connections
        self.connections: dict[socket.socket, float] = {}  # -> time at which it is closed
        self.surplus: set[socket.socket] = set()  # those of them beyond the bound
        self.changing = threading.Lock()
        super().__init__(address, _Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = self.socket.accept()
        if self.context is not None:  # the handshake is part of the first read, in the thread of the connection
            connection = self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self.changing:
            return self._has_place() or len(self.surplus) < MAX_SURPLUS

    def _has_place(self) -> bool:
        return len(self.connections) - len(self.surplus) < self.max_connections

    def process_request(self, request: Any, client_address: Any) -> None:
        with self.changing:
            if not self._has_place():
                self.surplus.add(request)
            self.connections[request] = time.monotonic() + UNKNOWN_S
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self.changing:
            self.connections.pop(request, None)
            self.surplus.discard(request)
        super().shutdown_request(request)

    def keep(self, connection: socket.socket) -> None:
        """Leave a connection open that had the right token."""
        with self.changing:
            if connection in self.connections:
                self.connections[connection] = math.inf

    def service_actions(self) -> None:
        """Close connections without a token whose time is over; called several times per second."""
        self.close_connections(time.monotonic())

    def close_connections(self, now: float = math.inf) -> None:
        with self.changing:
            for connection, end in self.connections.items():
                if end <= now:
                    with suppress(OSError):  # of the plain socket: a thread may be reading from the encrypted one
                        socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that breaks: a client that vanishes is no fault of the server."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


class _Connection(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = UNKNOWN_S
    server: _Server
    raw_requestline: bytes
    headers: dict[str, str]  # type: ignore[assignment]  # names in lower case

    def parse_request(self) -> bool:
        """Read the head of a request; that of the library takes as long as all else together."""
        words = self.raw_requestline.decode("latin-1").split()
        self.close_connection, self.headers = True, {}
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return self._refuse_head(HTTPStatus.BAD_REQUEST, "The first line is no request of HTTP/1.1.")
        self.command, self.path, self.request_version = words
        for _ in range(MAX_HEADERS):
            line = self.rfile.readline(MAX_LINE + 1).decode("latin-1")
            if not line.rstrip("\r\n"):
                break
            name, colon, value = line.partition(":")
            if not colon or len(line) > MAX_LINE or name != name.strip() or name.lower() in self.headers:
                return self._refuse_head(HTTPStatus.BAD_REQUEST, "A header is too long, stands twice or is none.")
            self.headers[name.lower()] = value.strip()
        else:
            return self._refuse_head(HTTPStatus.BAD_REQUEST, f"The request has more than {MAX_HEADERS} headers.")
        if self.command != "POST":
            return self._refuse_head(HTTPStatus.METHOD_NOT_ALLOWED, "Requests are POST.")
        default = "close" if words[2] == "HTTP/1.0" else "keep-alive"
        self.close_connection = self.headers.get("connection", default).lower() != "keep-alive"
        if self.headers.get("expect", "").lower() == "100-continue":
            self.connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _refuse_head(self, status: HTTPStatus, line: str) -> bool:
        self._send(Reply.error(RegimenError(line), status))
        return False

    def do_POST(self) -> None:
        refusal, length = self._refusal()
        if refusal is not None:
            self.close_connection = True
            self._send(refusal)
            self._drain(length)
            return
        self.connection.settimeout(IDLE_S)
        self.server.keep(self.connection)
        body, received = wire.buffer(length), 0
        while received < length:
            count = self.rfile.readinto(body[received:])
            if not count:
                self.close_connection = True
                return
            received += count
        path, kind = self.path.lstrip("/"), self.headers.get("content-type", "")
        try:
            reply = self.server.answer(Request(path, kind, body))
        except Exception as error:
            if not isinstance(error, RegimenError):
                traceback.print_exc()
            reply = Reply.error(error)
        self._send(reply)

    def _refusal(self) -> tuple[Reply | None, int]:
        """Return the reply to a request that is not even read, or None; and the length of its body."""
        text = self.headers.get("content-length", "")
        length = int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1
        if not self._has_token():
            line = "The token of the request is not that of this server."
            return Reply.error(RegimenError(line), HTTPStatus.UNAUTHORIZED), length
        if self.connection in self.server.surplus:
            line = f"All {self.server.max_connections} connections of this server are in use."
            return Reply.error(RegimenError(line), HTTPStatus.SERVICE_UNAVAILABLE), length
        if length < 0:
            line = "A request needs the header Content-Length."
            return Reply.error(wire.WireError(line), HTTPStatus.LENGTH_REQUIRED), length
        if length > self.server.max_body:
            most, advice = self.server.max_body, self.server.body_advice
            line = f"A request of {length} bytes is larger than this server reads, {most} bytes. {advice}"
            return Reply.error(wire.WireError(line.strip()), HTTPStatus.REQUEST_ENTITY_TOO_LARGE), length
        return None, length

    def _has_token(self) -> bool:
        scheme, _, given = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode().partition(":")[2]
            except ValueError:
                return False
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.encode(), self.server.token.encode())

    def _send(self, reply: Reply) -> None:
        length = wire.size(reply.parts)
        close = "Connection: close\r\n" if self.close_connection else ""
        head = f"HTTP/1.1 {reply.status.value} {reply.status.phrase}\r\nContent-Type: {reply.content_type}\r\n"
        parts = [f"{head}Content-Length: {length}\r\n{close}\r\n".encode(), *reply.parts]
        for part in [b"".join(parts)] if length <= SMALL_BYTES else parts:
            self.connection.sendall(part)

    def _drain(self, length: int) -> None:
        """Read on for a moment after a refusal: a connection closed with unread bytes may lose the reply."""
        end, left = time.monotonic() + MAX_DRAINED_S, length
        self.connection.settimeout(MAX_DRAINED_S)
        with suppress(OSError):
            while left > 0 and time.monotonic() < end:
                chunk = self.rfile.read1(min(left, 2**16))
                if not chunk:
                    return
                left -= len(chunk)

    def log_message(self, format: str, *args: Any) -> None:
        """Write no line for each request."""
