"""Address of the page: a free port, and what a server there exposes."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from regimen.system.errors import ConfigError
from regimen.system.message_server import is_loopback

NEXT_PORTS = 100
"""Ports above a busy one that are tried for a free one to name."""


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes:
        host: name or address.
        port: TCP port, 0 for any free one.
        tls_certificate: file of the certificate chain, PEM; None for no encryption.
        tls_key: file of its private key, PEM.
    """

    host: str = "127.0.0.1"
    port: int = 8760
    tls_certificate: Path | None = None
    tls_key: Path | None = None

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return is_loopback(self.host)

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if self.tls_certificate else "http"


def listen(address: Address) -> socket.socket:
    """Return a socket that listens.

    Raises:
        ConfigError: the port is in use, with the next free one, or the address is none of this machine.
    """
    if not 0 <= address.port <= 65535:
        raise ConfigError(f"--port {address.port}: expected 1 to 65535, or 0 for any free one.")
    try:
        return _bound(address.host, address.port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and (free := _next_free(address)):
            raise ConfigError(
                f"Port {address.port} is in use, perhaps by another `regimen ui`. {free} is free: "
                f"regimen ui --port {free}"
            ) from error
        if error.errno == errno.EACCES:
            raise ConfigError(
                f"--port {address.port}: not permitted. Ports from 1024 on need no permission."
            ) from error
        raise ConfigError(f"{address.host}:{address.port}: {error.strerror or error}.") from error


def exposure(address: Address) -> list[str]:
    """Return what a server that other machines reach exposes behind its password."""
    lines = [
        f"warning: every machine that reaches {address.host} can ask for this page. The password gives access to all "
        "runs below outputs and multirun (records, configurations, logs, metrics, pictures, films and files that "
        "runs list) and to note, tag, cancel, resume and rerun with your rights."
    ]
    if address.tls_certificate is None:
        lines.append(
            "warning: without --tls-certificate and --tls-key the password and all content cross the network "
            "unencrypted. Safer: leave --host out and use the tunnel of `regimen ui`."
        )
    return lines


def _bound(host: str, port: int) -> socket.socket:
    """Return a listening socket at a name or address."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(place)
        sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


def _next_free(address: Address) -> int | None:
    for port in range(address.port + 1, min(address.port + NEXT_PORTS, 65536)):
        with suppress(OSError), _bound(address.host, port):
            return port
    return None
