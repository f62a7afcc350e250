"""Passwords and keys: which files and values hold some, so that no record keeps them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

FILES = (
    ".env*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.kdbx", "*.jks", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*",
    "id_ed25519*", ".netrc", "_netrc", ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", "kubeconfig*",
    "*credential*", "*secret*", "*password*", "*passwd*", "*api_key*", "*apikey*", "token*", "*_token*", "*.token",
)  # fmt: skip
"""Patterns of the names of files that hold secrets."""

CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    rb"|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bsk-[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{30,}|\bAIza[\w-]{35}"
)
"""The beginnings that private keys and tokens of known services have."""

IN_URI = re.compile(r"(\w[\w+.-]*://[^/\s:@]*):([^/\s@]+)@")
"""User and password of a URI."""

SECRET = r"api_?key|access_?key|private_?key|(?:auth|access)_?token|secret|passw(?:or)?d"
"""Names of settings whose values are secret."""

KEY = re.compile(
    rf"(?i)((?:^|[\s.,{{\[_+-])(?:{SECRET}|token))"
    r"(\s*[=:]\s*)(?!null\b|\$\{)([^\s,}\]]+)"
)
"""A setting whose name says that its value is secret."""

SECRET_KEY = re.compile(rf"(?i)(?:^|[._])(?:{SECRET})$")
"""The name of such a setting in a configuration, as a dotted key."""

HIDDEN = "***"


def is_secret_file(name: str, content: bytes) -> bool:
    """Return whether a file holds secrets, by its name without folders or by its content."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in FILES) or CONTENT.search(content) is not None


def redacted(text: str) -> str:
    """Return text with the passwords of URIs and the values of settings such as `api_key=` replaced by `***`."""
    return KEY.sub(rf"\1\2{HIDDEN}", IN_URI.sub(rf"\1:{HIDDEN}@", text))
