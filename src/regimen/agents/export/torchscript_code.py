"""Check of the program in a TorchScript file before it is loaded: a policy computes with tensors and does nothing else.

A TorchScript file is a program: its operators can read and write files, when it is loaded already (`__setstate__`).
PyTorch's SECURITY.md advises to treat such files as code. Its source is text in the file, which is read here.
"""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from regimen.system.errors import CheckpointError

MAX_SOURCE_BYTES = 16 * 2**20

METHOD = re.compile(r"forward\d*(__\d+)?")

BUILTINS = frozenset(("annotate", "bool", "float", "getattr", "int", "len", "unchecked_cast"))

TENSOR_OPERATORS = """
    _cast_Float _convolution abs add addmm all amax amin any arange argmax argmin atan atan2 batch_norm
    bmm broadcast_tensors cat ceil celu chunk clamp clamp_max clamp_min clone contiguous conv1d conv2d
    cos cosh cumsum detach dim div dropout elu embedding eq erf exp expand expand_as flatten flip floor
    floor_divide format full full_like gather ge gelu glu gru gru_cell gt hardsigmoid hardswish hardtanh
    index index_select isfinite layer_norm le leaky_relu len linear log log1p log_softmax logical_and
    logical_not logical_or lstm lstm_cell lt masked_fill matmul max maximum mean min minimum mish mm mul
    narrow ne neg new_ones new_zeros norm numel ones ones_like permute pow prelu reciprocal relu relu6
    remainder repeat reshape rms_norm rnn_relu rnn_tanh round rsqrt rsub scaled_dot_product_attention
    select selu sigmoid sign silu sin sinh size slice softmax softplus softsign split split_with_sizes
    sqrt square squeeze stack std sub sum swapaxes t tan tanh tensor tensor_split to transpose tril triu
    type_as unbind unflatten unsqueeze var view where zeros zeros_like
"""

OPERATORS = frozenset(
    [f"torch.{name}" for name in TENSOR_OPERATORS.split()]
    + [f"ops.prim.{name}" for name in ("NumToTensor", "data", "device", "dtype")]
    + [f"ops.aten.{name}" for name in ("Int", "ScalarImplicit")]
)
"""Operators of networks: they read and write nothing but their arguments, none of them in place."""


def require_network(path: Path) -> None:
    """Raise unless the program in a TorchScript file is a network and nothing else. The file is not loaded.

    Args:
        path: the file.

    Raises:
        CheckpointError: naming what else the program does.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sources = [info for info in archive.infolist() if info.filename.endswith(".py")]
            if sum(info.file_size for info in sources) > MAX_SOURCE_BYTES:
                raise CheckpointError(f"{path}: its program is longer than {MAX_SOURCE_BYTES >> 20} MiB.")
            found = sorted({what for info in sources for what in _unknown(archive.read(info).decode())})
    except (OSError, zipfile.BadZipFile, SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CheckpointError(f"{path} is damaged, or is no TorchScript file: {error}.") from error
    if found:
        raise CheckpointError(
            f"{path} is a program that does more than a network: {', '.join(found[:6])}. It is not loaded, because it "
            "could change files. Export the policy again: regimen export <run> format=onnx"
        )


def _unknown(source: str) -> Iterator[str]:
    """Yield the functions and operators of a source that no network has."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and not METHOD.fullmatch(node.name):
            yield f"method `{node.name}`"
        elif isinstance(node, ast.Import | ast.ImportFrom | ast.Lambda | ast.AsyncFunctionDef):
            yield type(node).__name__.lower()
        elif isinstance(node, ast.Call) and not _is_known(node.func):
            yield f"`{ast.unparse(node.func)}`"


def _is_known(function: ast.expr) -> bool:
    if isinstance(function, ast.Name):
        return function.id in BUILTINS
    name = ast.unparse(function)
    if name.startswith(("torch.", "ops.")):
        return name in OPERATORS
    return isinstance(function, ast.Attribute) and METHOD.fullmatch(function.attr) is not None
