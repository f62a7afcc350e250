"""Signature of a run: hashes of its configuration and code; a run with equal hashes need not be repeated."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from regimen.config.yaml_io import flatten
from regimen.runs import code_snapshot, inputs
from regimen.runs.code_snapshot import LENGTH
from regimen.runs.user_files import without_inputs_of_task

IRRELEVANT = ("name", "dry_run", "wait", "force", "resume", "logger", "video", "nan_dump")
"""Keys of the whole configuration that cannot change what is learned or measured."""

RELEVANT_HARDWARE = ("device", "nodes", "processes", "threads")
"""Threads change the order of sums: PPO with 512 envs, FastSAC with 64 differ in the last bits on 1 and 2 threads."""

HARDWARE_OF_ACTORS = ("actors", "channel.push_steps", "channel.ahead", "channel.transport")
"""Counted where a channel is set: each actor has envs and a seed of its own, and acts with weights of some age."""

INPUT_KEYS = (*inputs.SINGLE, *inputs.LISTS)
"""Keys whose value is a path: what lies there counts, not where it lies."""


def config_signature(config: dict[str, Any], checksums: Mapping[str, str | None]) -> str:
    """Return a hash of the configuration without what cannot change the result, and of the inputs' content.

    Args:
        config: resolved plain configuration.
        checksums: input name -> SHA-256 of what is read, or, while it does not exist yet, what it will be.
    """
    return _hash(json.dumps([relevant_config(config), checksums], sort_keys=True, default=str).encode())


def relevant_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration that can change the result, without inputs; of files the content counts.

    Args:
        config: resolved plain configuration.
    """
    kept = {
        k: v for k, v in copy.deepcopy(without_inputs_of_task(config)).items() if k not in (*IRRELEVANT, *INPUT_KEYS)
    }
    hardware = dict(flatten(config.get("hardware") or {}))
    has_channel = bool((config.get("hardware") or {}).get("channel"))
    kept["hardware"] = {k: hardware.get(k) for k in (*RELEVANT_HARDWARE, *(HARDWARE_OF_ACTORS if has_channel else ()))}
    kept["choices"] = {k: v for k, v in (config.get("choices") or {}).items() if k not in ("hardware", "experiment")}
    if inputs.agent_follows_policy(config):  # whose checksum counts
        kept.pop("agent", None)
        kept["choices"].pop("agent", None)
    return kept


def code_signature(config: dict[str, Any], code: str | None = None) -> str:
    """Return a hash of this package and of the user's modules, models and files, see `code_snapshot.sources`.

    Args:
        config: resolved plain configuration.
        code: copy that the run works from, see `code_snapshot.take`; None for the code as it is now.
    """
    return code_snapshot.signature(config, code)


def continued(before: str | None, now: str) -> str:
    """Return the code signature of a run that was resumed with other code: a hash of both signatures.

    Args:
        before: as recorded.
        now: of the code that it is resumed with.
    """
    return now if before in (None, now) else _hash(f"{before} {now}".encode())


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:LENGTH]
