"""`regimen ui`: the page of all runs in a browser."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from regimen.display.console import say
from regimen.system.errors import ConfigError
from regimen.ui.address import Address, listen
from regimen.ui.quick_start import without_client_libraries

PASSWORD_VARIABLE = "REGIMEN_UI_PASSWORD"
LEAST_PASSWORD = 8
"""Characters of a password."""


def ui_verb(argv: list[str]) -> int:
    """Serve the page of all runs below the current folder: `regimen ui [--port 8760] [--no-browser]`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen ui",
        description="Serve the page of all runs below outputs/ and multirun/ of the current folder.",
        epilog=f"A --host that other machines reach needs a password: {PASSWORD_VARIABLE}, or typed at the prompt.",
    )
    parser.add_argument("--port", type=int, default=8760, help="TCP port (default 8760; 0 for any free one)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default 127.0.0.1, this machine)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="private key of the certificate, PEM")
    args = parser.parse_args(argv)
    _check(args)
    address = Address(args.host, args.port, args.tls_certificate, args.tls_key)
    password = None if address.is_local else _password(args.host)
    with listen(address) as sock:
        with without_client_libraries():
            from regimen.ui.server import serve
        serve(sock, address, password, not args.no_browser, say)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise unless the page can be served with these arguments.

    Raises:
        ConfigError: NiceGUI is not installed, or a file or an argument is missing.
    """
    if find_spec("nicegui") is None:
        raise ConfigError("regimen ui needs NiceGUI, which is not installed. Type: pip install -e '.[ui]'")
    if (args.tls_certificate is None) != (args.tls_key is None):
        raise ConfigError("--tls-certificate and --tls-key belong together: give both, or none.")
    for flag, path in (("--tls-certificate", args.tls_certificate), ("--tls-key", args.tls_key)):
        if path is not None and not path.is_file():
            raise ConfigError(f"{flag} {path}: no such file.")


def _password(host: str) -> str:
    """Return the password of a server that other machines reach: of the environment, else typed.

    Raises:
        ConfigError: there is none, or it is too short.
    """
    password = os.environ.get(PASSWORD_VARIABLE, "")
    if not password and sys.stdin.isatty():
        password = getpass.getpass(f"password of the page at {host}: ")
    if not password:
        raise ConfigError(
            f"--host {host}: other machines reach this address, so the page needs a password. Set {PASSWORD_VARIABLE}, "
            "or leave --host out and use an SSH tunnel."
        )
    if len(password) < LEAST_PASSWORD:
        raise ConfigError(f"The password has {len(password)} characters; expected {LEAST_PASSWORD} or more.")
    return password
