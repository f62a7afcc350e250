"""A certificate for one address, signed by itself, for a server whose clients get it through the run directory."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.system.errors import PreflightError

if TYPE_CHECKING:
    from regimen.system.message_server import Tls

DAYS = 365
SKEW = timedelta(hours=1)
"""Time before now from which it is valid, for a client whose clock is behind; openssl begins now."""

OPENSSL_S = 60.0


def why_none() -> str:
    """Return why no certificate can be made here, with what to type; empty if one can be made."""
    if importlib.util.find_spec("cryptography") is not None or shutil.which("openssl"):
        return ""
    return (
        "the channel between the nodes is encrypted, and neither the Python package cryptography nor the program "
        "openssl is here to make its certificate. Type: pip install cryptography."
    )


def make(address: str, folder: Path) -> Tls:
    """Make a private key and a certificate of it for one address, signed by itself and valid for a year.

    Args:
        address: IP address that clients connect to.
        folder: receives `certificate.pem` and, readable by its owner alone, `key.pem`.

    Raises:
        PreflightError: there is nothing to make it with.
    """
    from regimen.system.message_server import Tls

    tls = Tls(folder / "certificate.pem", folder / "key.pem")
    tls.key.touch(mode=0o600)
    if importlib.util.find_spec("cryptography") is not None:
        _by_cryptography(address, tls)
    elif why := why_none():
        raise PreflightError(f"No certificate for {address}: {why}")
    else:
        _by_openssl(address, tls)
    return tls


def _by_cryptography(address: str, tls: Tls) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "learner")])
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - SKEW,
        not_valid_after=now + timedelta(days=DAYS),
    )
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(identity, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    tls.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    tls.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _by_openssl(address: str, tls: Tls) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-days", str(DAYS), "-subj", "/CN=learner", "-addext", f"subjectAltName=IP:{address}"]
    command += ["-keyout", str(tls.key), "-out", str(tls.certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=OPENSSL_S)
    except (OSError, subprocess.SubprocessError) as error:
        reason = (getattr(error, "stderr", None) or str(error)).strip()
        raise PreflightError(f"No certificate for {address}: openssl failed: {reason}") from error
