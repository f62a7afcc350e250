"""Observations, logs and printed text of an environment of a library, in the form that Regimen has."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator
from typing import Any

import torch

from regimen.envs.vec_env import Obs


def vectors(observed: dict[str, Any]) -> Obs:
    """Return group -> (N, d) float32, the terms of a group that is not concatenated one after the other."""
    return {
        name: (torch.cat(list(group.values()), dim=1) if isinstance(group, dict) else group).float()
        for name, group in observed.items()
    }


def scalars(log: dict[str, Any]) -> dict[str, float]:
    """Return the scalars of a log, read from the device at once."""
    names = [name for name, value in log.items() if isinstance(value, torch.Tensor) and value.numel() == 1]
    read = torch.stack([log[name].detach().float().reshape(()) for name in names]).tolist() if names else []
    plain = {name: float(value) for name, value in log.items() if isinstance(value, int | float)}
    return plain | dict(zip(names, read, strict=True))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a library writes to stdout while it starts and ends; show it if that fails."""
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            yield
    except BaseException:
        sys.stdout.write(printed.getvalue())
        raise
