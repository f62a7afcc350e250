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

TOKEN = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY(?:[^-]|-(?!----))*(?:-----)?(?:[^-]|-(?!----))*"
    r"|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}"
    r"|\bglpat-[\w-]{20,}|\bxox[abprs]-[\w-]{10,}|\bsk-[A-Za-z0-9_-]{30,}|\bhf_[A-Za-z0-9]{30,}|\bAIza[\w-]{35}"
)
"""Private keys and the tokens of known services."""

CONTENT = re.compile(TOKEN.encode())
"""Such a key or token in the bytes of a file."""

IN_TEXT = re.compile(TOKEN, re.ASCII)
"""Such a key or token in text."""

IN_URI = re.compile(r"(\w[\w+.-]*://[^/\s:@]*):([^/\s@]+)@")
"""User and password of a URI."""

SECRET = (
    r"api_?key|access_?key|private_?key|secret_?key|(?:api|auth|access|bearer|refresh|session|secret|hf|github|gitlab)"
    r"_?token|secret|passphrase|[a-z0-9]*passw(?:or)?d"
)
"""Names of settings whose values are secret."""

KEY = re.compile(
    rf"(?i)((?:^|[\s.,{{\[_+'\"-])(?:{SECRET}|token))"
    r"(['\"]?\s*[=:]\s*)(?!null\b|['\"]?\$(?:[({]|(?-i:[A-Z_])+))([^\s,}\]]+)"
)
"""A setting whose name says that its value is secret; one that a shell or an interpolation fills in is none."""

SECRET_KEY = re.compile(rf"(?i)(?:^|[._])(?:{SECRET})(?:\.\d+)*$")
"""The name of such a setting in a configuration, as a dotted key, and an element of its list."""

HIDDEN = "***"


def is_secret_file(name: str, content: bytes) -> bool:
    """Return whether a file holds secrets, by its name without folders or by its content."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in FILES) or CONTENT.search(content) is not None


def redacted(text: str) -> str:
    """Return text in which `***` replaces passwords of URIs, values of settings such as `api_key=`, keys and tokens."""
    return IN_TEXT.sub(HIDDEN, KEY.sub(rf"\1\2{HIDDEN}", IN_URI.sub(rf"\1:{HIDDEN}@", text)))


def is_secret_value(key: str, value: object) -> bool:
    """Return whether a value of a configuration is a password or key, or text with one.

    Args:
        key: its dotted key.
        value: a scalar, None, or a list of both, at any depth.
    """
    if isinstance(value, list):
        return any(is_secret_value(key, item) for item in value)
    named = SECRET_KEY.search(key) is not None and not isinstance(value, bool) and value not in (None, "")
    return named or (isinstance(value, str) and redacted(value) != value)
