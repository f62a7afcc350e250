"""Names of observation groups: what mjlab calls `actor` is `policy` in Regimen."""

from __future__ import annotations

from collections.abc import Collection

ACTOR = "actor"
POLICY = "policy"


def renamed(name: str, names: Collection[str]) -> str:
    """Return Regimen's name of a group of mjlab.

    Args:
        name: of the group.
        names: of all groups beside it; one that is called `policy` already stays that one.
    """
    return POLICY if name == ACTOR and POLICY not in names else name
