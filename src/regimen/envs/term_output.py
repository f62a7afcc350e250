"""Shape and type of what a term returns; a wrong one is an error that names the term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


def require_output(
    env: TermEnv, term: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype | None = torch.float32
) -> torch.Tensor:
    """Return what a term returned; where float32 is expected, other real numbers and booleans are converted.

    Args:
        env: N envs.
        term: path of the term in the configuration, such as `env.rewards.alive`.
        value: what it returned.
        shape: expected; -1 stands for any number of 1 or more.
        dtype: expected; None for any.

    Raises:
        ConfigError: another shape, dtype or device, or no tensor.
    """
    if isinstance(value, torch.Tensor):
        right = value.shape == shape or (
            len(value.shape) == len(shape)
            and all(own == wanted or (wanted == -1 and own > 0) for own, wanted in zip(value.shape, shape, strict=True))
        )
        if right and value.device.type == env.device.type:
            if dtype in (None, value.dtype):
                return value
            if dtype == torch.float32 and not value.is_complex():
                return value.float()
    raise ConfigError(f"{term}: {_returned(value)}; expected {_expected(shape, dtype, env.device)}.")


def _returned(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return f"returns a {type(value).__name__}"
    return f"returns shape {tuple(value.shape)}, {value.dtype}, on {value.device.type}"


def _expected(shape: tuple[int, ...], dtype: torch.dtype | None, device: torch.device) -> str:
    sizes = ", ".join("d" if size == -1 else str(size) for size in shape)
    comma = "," if len(shape) == 1 else ""
    kind = "" if dtype is None else f", {dtype}"
    return f"a tensor of shape ({sizes}{comma}){kind}, on {device.type}, one row for each env"
