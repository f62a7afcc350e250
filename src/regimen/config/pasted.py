"""Sections that users paste from configurations of other programs, such as `params` of rl_games and IsaacGymEnvs.

The dataclass of such a section declares `SUPPLIED: ClassVar[dict[str, str]]`: key below the section -> where a run sets
it instead. These keys are removed before interpolations are resolved, because their values refer to the
configuration of the other program. What that program computes by `${resolve_default:500,...}` becomes the default, 500.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from regimen.config.provenance import SCHEMA, ProvenanceTree
from regimen.config.yaml_io import flatten, parse_yaml

RESOLVE_DEFAULT = re.compile(r"\$\{resolve_default:([^,{}]*),.*\}", re.DOTALL)


def remove_supplied(tree: ProvenanceTree, node: str, kind: type[Any]) -> Iterator[str]:
    """Remove the keys of a section that the run supplies; yield a line that names them all, if there are any.

    Args:
        tree: all values.
        node: key of the section, such as `agent`.
        kind: its dataclass.
    """
    supplied: dict[str, str] = getattr(kind, "SUPPLIED", {})
    if not supplied:
        return
    removed = [key for key in supplied if tree.has(f"{node}.{key}") and tree.remove(f"{node}.{key}", SCHEMA)]
    for path, value in list(flatten({node: tree.data[node]})):
        if isinstance(value, str) and (match := RESOLVE_DEFAULT.fullmatch(value)):
            tree.assign(tuple(path.split(".")), parse_yaml(match[1]), tree.source_of(path))
    if removed:
        yield f"not used, the run supplies them: {'; '.join(f'{node}.{key} ({supplied[key]})' for key in removed)}"
