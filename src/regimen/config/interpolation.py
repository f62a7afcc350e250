"""Resolve interpolations of one plain value, such as `${hardware.submitit.cpus_per_task}`, without OmegaConf.

Nearly all interpolations are of this kind; OmegaConf takes as long for one as the composition of the rest of a job.
"""

from __future__ import annotations

import re
from typing import Any

from regimen.config.yaml_io import PlainConfig

SIMPLE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\}")


def resolved(data: PlainConfig) -> PlainConfig | None:
    """Return `data` with its interpolations resolved; None if one of them needs OmegaConf.

    Args:
        data: nested mappings and lists; interpolations name keys from its root.
    """
    try:
        return {key: _resolved(value, data) for key, value in data.items()}
    except NeedsOmegaConf:
        return None


class NeedsOmegaConf(Exception):
    """An interpolation is not the name of one plain value."""


def _resolved(node: Any, root: PlainConfig) -> Any:
    if isinstance(node, dict):
        return {key: _resolved(value, root) for key, value in node.items()}
    if isinstance(node, list):
        return [_resolved(value, root) for value in node]
    return _value(node, root) if isinstance(node, str) and "${" in node else node


def _value(text: str, root: PlainConfig) -> Any:
    match = SIMPLE.fullmatch(text)
    node: Any = root
    for key in match[1].split(".") if match else ():
        if not isinstance(node, dict) or key not in node:
            raise NeedsOmegaConf
        node = node[key]
    if not match or isinstance(node, dict | list) or (isinstance(node, str) and ("${" in node or node == "???")):
        raise NeedsOmegaConf
    return node
