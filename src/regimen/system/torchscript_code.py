"""Check of the program in a TorchScript file before it is loaded: a network computes with tensors and nothing else.

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
HELPERS = (
    *("__len__", "_conv_forward", "_update_flat_weights", "check_forward_args", "check_hidden_size", "check_input"),
    *("get_expected_cell_size", "get_expected_hidden_size", "permute_hidden"),
)
"""Further methods of the layers of `torch.nn`; none is the name of an operator, which a tensor would have."""

ARCHIVE, CLASSES = "__torch__", "classes"
"""Beginning of names of functions in the file, which are examined as well; C++ classes follow in `torch.classes`."""

BUILTINS = frozenset(("annotate", "bool", "float", "getattr", "int", "len", "unchecked_cast", "uninitialized"))

TENSOR_OPERATORS = """
    _cast_Float _convolution abs add addmm all amax amin any arange argmax argmin atan atan2
    batch_norm bmm broadcast_tensors cat ceil celu chunk clamp clamp_max clamp_min clone contiguous
    conv1d conv2d cos cosh cumsum detach dim div dropout elu embedding eq erf exp expand expand_as
    flatten flip floor floor_divide format full full_like gather ge gelu glu gru gru_cell gt
    hardsigmoid hardswish hardtanh index index_select isfinite layer_norm le leaky_relu len linear log
    log1p log_softmax logical_and logical_not logical_or lstm lstm_cell lt masked_fill matmul max
    maximum mean min minimum mish mm mul narrow ne neg new_ones new_zeros norm numel ones ones_like
    permute pow prelu reciprocal relu relu6 remainder repeat reshape rms_norm rnn_relu rnn_tanh round
    rsqrt rsub scaled_dot_product_attention select selu sigmoid sign silu sin sinh size slice softmax
    softplus softsign split split_with_sizes sqrt square squeeze stack std sub sum swapaxes t tan tanh
    tensor tensor_split to transpose tril triu type_as unbind unflatten unsqueeze var view where zeros
    zeros_like __contains__ __is__ __isnot__ __not__ list dropout_ elu_ hardswish_ hardtanh_
    leaky_relu_ mish_ relu6_ relu_ selu_ silu_
"""

OPERATORS = frozenset(
    [f"torch.{name}" for name in TENSOR_OPERATORS.split()]
    + [f"ops.prim.{name}" for name in ("NumToTensor", "RaiseException", "data", "device", "dtype")]
    + [f"ops.aten.{name}" for name in ("Int", "ScalarImplicit")]
)
"""Operators of networks: they read and write nothing but their arguments."""


def require_network(path: Path, instead: str) -> None:
    """Raise unless the program in a TorchScript file is a network and nothing else. The file is not loaded.

    Args:
        path: the file.
        instead: what to do if it is not, for the message.

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
            f"could change files. {instead}"
        )


def _unknown(source: str) -> Iterator[str]:
    """Yield the functions and operators of a source that no network has."""
    tree = ast.parse(source)
    functions = {id(node) for node in tree.body if isinstance(node, ast.FunctionDef)}
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and id(node) not in functions and not _is_method(node.name):
            yield f"method `{node.name}`"
        elif isinstance(node, ast.Import | ast.ImportFrom | ast.Lambda | ast.AsyncFunctionDef):
            yield type(node).__name__.lower()
        elif isinstance(node, ast.Call) and not _is_known(node.func, aliases):
            yield f"`{ast.unparse(node.func)}`"
    yield from (f"`{name}`" for name in _operators(tree) if name not in OPERATORS)


def _aliases(tree: ast.AST) -> set[str]:
    """Return the names that are assigned functions of the file, and nothing else."""
    of_file: list[ast.Name] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_of_file(node.value):
            of_file += [target for target in node.targets if isinstance(target, ast.Name)]
    places = {id(target) for target in of_file}
    others = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in places:
            others.add(node.id)
    return {target.id for target in of_file} - others


def _operators(node: ast.AST) -> Iterator[str]:
    """Yield each full name that begins with `torch` or `ops`, called or not: an operator may have another name."""
    if isinstance(node, ast.Name) and node.id in ("torch", "ops"):
        yield node.id
    elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(("torch.", "ops.")):
        yield ast.unparse(node)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _operators(child)


def _is_method(name: str) -> bool:
    return METHOD.fullmatch(name) is not None or name in HELPERS


def _is_of_file(value: ast.expr) -> bool:
    parts = ast.unparse(value).split(".") if isinstance(value, ast.Attribute) else []
    return bool(parts) and parts[0] == ARCHIVE and CLASSES not in parts


def _is_known(function: ast.expr, aliases: set[str]) -> bool:
    if isinstance(function, ast.Name):
        return function.id in BUILTINS or function.id in aliases
    if ast.unparse(function).startswith(("torch.", "ops.")) or _is_of_file(function):
        return True  # `_operators` examines the former
    return isinstance(function, ast.Attribute) and _is_method(function.attr)
