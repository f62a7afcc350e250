"""Import rl_games without the changes that it makes to the process: printing, print options, precision, threads."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regimen.runs.checkpoint_header import StateDict
from regimen.system.errors import CheckpointError, PreflightError

INSTALL = "Type: make rl_games (or: pip install --no-deps rl_games==1.6.5 tensorboardX)."
MODULES = (
    "rl_games.algos_torch.a2c_continuous",
    "rl_games.algos_torch.a2c_discrete",
    "rl_games.algos_torch.sac_agent",
    "rl_games.algos_torch.players",
    "rl_games.algos_torch.model_builder",
    "rl_games.common.algo_observer",
    "rl_games.common.tr_helpers",
)
LOG = logging.getLogger("rl_games")


@contextlib.contextmanager
def unchanged_process() -> Iterator[None]:
    """Restore on exit what importing or building parts of rl_games changes; its DeprecationWarnings are not shown."""
    options = {name: getattr(torch._tensor_str.PRINT_OPTS, name) for name in ("precision", "sci_mode")}
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()
    cudnn, cuda = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        torch.set_printoptions(**options)
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = flags
        torch.set_float32_matmul_precision(precision)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        print_to_log()


def load() -> None:
    """Import the algorithms, players, models and networks of rl_games.

    Raises:
        PreflightError: it is not installed.
    """
    with unchanged_process(), _without_compiler():
        for name in MODULES:
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                raise PreflightError(f"rl_games cannot be imported: {error}. {INSTALL}") from error
    sys.modules["rl_games.algos_torch.torch_ext"].safe_load = read_checkpoint  # type: ignore[attr-defined]


@contextlib.contextmanager
def _without_compiler() -> Iterator[None]:
    """Let `torch.compile` return its argument: rl_games compiles a test network on import, which takes seconds."""
    compiler = torch.compile
    torch.compile = lambda model=None, **_: model
    try:
        yield
    finally:
        torch.compile = compiler


def read_checkpoint(path: str | Path) -> StateDict:
    """Return the content of a `.pth` file of rl_games, without running code; the library itself would run it.

    Args:
        path: the file. Beside tensors and plain values it may hold numpy scalars, such as the best reward.

    Raises:
        CheckpointError: it holds other objects, or is no checkpoint.
    """
    scalar = np._core.multiarray.scalar  # type: ignore[attr-defined]
    kinds = [type(np.dtype(name)) for name in ("float32", "float64", "int32", "int64", "bool")]
    allowed = [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *kinds]
    try:
        with torch.serialization.safe_globals(allowed):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint {path}.") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} is no checkpoint of rl_games, or holds Python objects. {error}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} is no checkpoint of rl_games: it holds a {type(state).__name__}.")
    return state


def print_to_log() -> None:
    """Let the modules of rl_games print to the logger `rl_games`, at level DEBUG, in place of the screen."""
    for name, module in list(sys.modules.items()):
        if name.startswith("rl_games.") and "print" not in vars(module):
            vars(module)["print"] = _log


def _log(*values: Any, **_: Any) -> None:
    LOG.debug("%s", " ".join(map(str, values)))
