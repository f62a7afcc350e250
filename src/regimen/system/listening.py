"""Address, token and certificate of a server: what is wrong with them before the start, and how they are read."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.system.message_server import Tls

MIN_TOKEN = 16


class Listening(Protocol):
    """The settings of a server.

    Attributes:
        host: address to listen at.
        token: file with the token, None for a new one.
        tls_certificate: file of the certificate chain, PEM, None for no encryption.
        tls_key: file of its private key, PEM.
    """

    host: str
    token: str | None
    tls_certificate: str | None
    tls_key: str | None


def problems(settings: Listening, port: int, key: str, scheduled: bool) -> list[str]:
    """Return one line for each invalid value, and one if the address is in use.

    Args:
        settings: of the server.
        port: TCP port.
        key: dotted key of the settings, such as `stage`.
        scheduled: whether a scheduler starts the server, on a machine that is not known yet.
    """
    lines = [] if 1 <= port <= 65535 else [f"port={port}: expected 1 to 65535."]
    files = {
        "token": settings.token,
        "tls_certificate": settings.tls_certificate,
        "tls_key": settings.tls_key,
    }
    absent = {n: f for n, f in files.items() if f is not None and not Path(f).expanduser().is_file()}
    lines += [f"{name}={'…' if name == 'token' else file}: no such file." for name, file in absent.items()]
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        lines.append("tls_certificate and tls_key belong together: set both, or none.")
    lines += _address_problems(settings, port, key)
    if lines or scheduled:
        return lines
    return [f"port={port}: {why}" for why in (_why_not_free(settings.host, port, key),) if why]


def _address_problems(settings: Listening, port: int, key: str) -> list[str]:
    from regimen.system.message_server import is_loopback

    if is_loopback(settings.host) or settings.tls_certificate is not None:
        return []
    tunnel = f"ssh -N -L {port}:127.0.0.1:{port} <this machine>"
    return [
        f"host={settings.host}: others could read the token on the way. Set {key}.tls_certificate and {key}.tls_key, "
        f"or leave the host away and reach it through a tunnel: {tunnel}."
    ]


def _why_not_free(host: str, port: int, key: str) -> str:
    """Return why no server can listen at an address, or nothing."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return f"{host}:{port}: {error.strerror or error}. Choose another one, such as {key}.port={port + 1}."
    return ""


def tls(settings: Listening) -> Tls | None:
    """Return certificate and key, None without them."""
    from regimen.system.message_server import Tls

    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return Tls(Path(settings.tls_certificate).expanduser(), Path(settings.tls_key).expanduser())


def new_token(path: Path) -> str:
    """Make a token, and a file that only its owner can read; return the token."""
    token = secrets.token_urlsafe(32)
    write_token(path, token)
    return token


def write_token(path: Path, token: str) -> None:
    """Write a token to a new file that only its owner can read."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token)


def read_token(path: Path, key: str) -> str:
    """Return the token in a file.

    Args:
        path: the file.
        key: dotted key that names it, such as `stage.token`.

    Raises:
        ConfigError: it has fewer than 16 characters or others than a header of HTTP holds, or cannot be read.
    """
    try:
        token = path.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: the file cannot be read: {error}.") from error
    if len(token) < MIN_TOKEN:
        raise ConfigError(
            f"{key}: the file has fewer than {MIN_TOKEN} characters. `openssl rand -hex 32` makes a token."
        )
    return require_token(token, key)


def require_token(token: str, key: str) -> str:
    """Return a token that a header of HTTP holds.

    Args:
        token: as it was read.
        key: dotted key or variable that names it.

    Raises:
        ConfigError: it has none, or other characters than visible ones of ASCII and spaces.
    """
    if not token or not token.isascii() or not token.isprintable():
        raise ConfigError(
            f"{key}: a token has visible characters of ASCII alone. Expected the one that the server made; "
            "`openssl rand -hex 32` makes another."
        )
    return token
