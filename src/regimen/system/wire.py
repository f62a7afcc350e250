"""Messages between processes: plain values and arrays in one block of bytes, without pickle.

A message is a tree of dictionaries, lists, tuples, text, bytes, numbers, None, numpy arrays and torch tensors, as a
checkpoint is. Its bytes are a frame of 16, the tree in msgpack, and the content of the arrays, each at a multiple of
`ALIGNMENT` from the start:

    b"RGM1" | bytes of the tree (4) | bytes of the message (8) | the tree | zeros | array 0 | zeros | array 1 | …

Beside the tree stand type and shape of each array, in the order in which the tree has them. Arrays are sent from the
memory in which they are, and those of a received message are views of its bytes, which can be written to. Reading
builds nothing but these kinds, allocates no more than the message is long, and refuses all else with `WireError`.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

import msgpack
import numpy as np

from regimen.system.errors import RegimenError

Message: TypeAlias = dict[str, Any]
"""Name -> value, nested."""

MAGIC = b"RGM1"
FRAME = struct.Struct("<4sIQ")
ALIGNMENT = 64
"""Of the memory of each array in bytes: results of vectorised code do not depend on how a message was laid out."""

MAX_TREE_BYTES = 4 * 2**20
MAX_ITEMS = 2**16
MAX_DEPTH = 32
MAX_DIMENSIONS = 8

DTYPES = {
    dtype.newbyteorder("<").name: dtype.newbyteorder("<")
    for dtype in map(np.dtype, ("?", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"))
}
"""Name of an element type, as numpy and torch have it -> type."""

NAMES = {dtype: name for name, dtype in DTYPES.items()}

TENSOR, ARRAY, SCALAR, TUPLE, INTEGER = range(1, 6)
"""Kinds of values that msgpack has no form for: three kinds of arrays, tuples, and integers beyond 64 bits."""

MAX_INTEGER_BYTES = 64


class WireError(RegimenError):
    """A message is damaged, too large, or has a value of another kind, type or shape than expected."""


def encode(message: Message) -> list[memoryview]:
    """Return a message as parts of bytes that follow each other; the arrays are not copied.

    Args:
        message: not changed until the parts are written.

    Raises:
        WireError: a value of another kind, or more of them than a receiver accepts.
    """
    arrays: list[np.ndarray] = []
    packed = _packed(message, arrays, 0)
    tree = msgpack.packb([packed, [[NAMES[array.dtype], *array.shape] for array in arrays]], strict_types=True)
    if len(tree) > MAX_TREE_BYTES:
        raise WireError(f"A message has {len(tree)} bytes of plain values, at most {MAX_TREE_BYTES} can be sent.")
    parts = [memoryview(tree)]
    length = FRAME.size + len(tree)
    for array in arrays:
        gap = -length % ALIGNMENT
        parts += [memoryview(bytes(gap)), array.reshape(-1).view(np.uint8).data]
        length += gap + array.nbytes
    return [memoryview(FRAME.pack(MAGIC, len(tree), length)), *parts]


def to_bytes(message: Message) -> bytes:
    """Return a message as bytes, into which the arrays are copied; see `encode`."""
    return b"".join(encode(message))


def size(parts: Sequence[memoryview | bytes]) -> int:
    """Return the number of bytes of all parts."""
    return sum(map(len, parts))


def buffer(length: int) -> memoryview:
    """Return new memory to receive a message of `length` bytes into, aligned as `decode` needs it."""
    memory = np.empty(length + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    return memory[start : start + length].data


def decode(data: memoryview | bytes) -> Message:
    """Return the message in `data`; its arrays are views of it.

    Args:
        data: all bytes of one message; aligned and writable memory, such as `buffer` returns, is not copied.

    Raises:
        WireError: damaged, of another format, or too large; the message names what is wrong.
    """
    view = memoryview(data)
    if view.readonly or np.frombuffer(view, np.uint8).ctypes.data % ALIGNMENT:
        view = buffer(len(data))
        view[:] = data
    if len(view) < FRAME.size:
        raise WireError(f"A message has {len(view)} bytes, expected {FRAME.size} or more: it was cut.")
    magic, tree_bytes, length = FRAME.unpack_from(view)
    if magic != MAGIC:
        raise WireError(f"A message begins with {bytes(magic)!r}, expected {MAGIC!r}: it is of another format.")
    if length != len(view):
        raise WireError(f"A message has {len(view)} bytes, its frame names {length}: it was cut or damaged.")
    if tree_bytes > min(MAX_TREE_BYTES, length - FRAME.size):
        raise WireError(f"A message names {tree_bytes} bytes of plain values, more than it has or may have.")
    end = FRAME.size + tree_bytes
    tree = _unpacked(view[FRAME.size : end])
    if type(tree) is not list or len(tree) != 2 or type(tree[0]) is not dict or type(tree[1]) is not list:
        raise WireError("A message has another form than names with values, and types and shapes of their arrays.")
    reader = _Reader(view, end, tree[1])
    message: Message = reader.value(tree[0], 0)
    if reader.table or reader.end != length:
        raise WireError("A message has more arrays or bytes than its values name.")
    return message


def require(message: Message, name: str, dtype: str | None = None, shape: tuple[int | None, ...] | None = None) -> Any:
    """Return the array `name` of a received message, with the element type and shape that its reader expects.

    Args:
        message: received.
        name: of the array, or of the tensor.
        dtype: such as `float32`; None: any.
        shape: None in place of a length: any; None alone: any shape.

    Raises:
        WireError: it is missing, no array, or has another type or shape.
    """
    value: Any = message.get(name)
    if not hasattr(value, "dtype") or not hasattr(value, "shape"):
        found = "is missing" if value is None else f"is a {type(value).__name__}"
        raise WireError(f"`{name}` {found}, expected an array.")
    has = str(value.dtype).removeprefix("torch.")
    if dtype is not None and has != dtype:
        raise WireError(f"`{name}` has elements of type {has}, expected {dtype}.")
    if shape is not None and not _fits(tuple(value.shape), shape):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise WireError(f"`{name}` has shape {tuple(value.shape)}, expected ({expected}).")
    return value


def require_plain(message: Message, name: str, kind: type | tuple[type, ...]) -> Any:
    """Return the value `name` of a received message, which must be of a kind, such as `int` or `(str, NoneType)`.

    Raises:
        WireError: it is missing, or of another kind; a bool is no int.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    value = message.get(name)
    if type(value) not in kinds:
        expected = " or ".join(k.__name__ for k in kinds)
        raise WireError(f"`{name}` is a {type(value).__name__}, expected {expected}.")
    return value


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(e is None or n == e for n, e in zip(shape, expected, strict=True))


def _packed(value: Any, arrays: list[np.ndarray], depth: int) -> Any:
    """Return a value in the kinds of msgpack; append the arrays in it to `arrays`."""
    kind = type(value)
    if kind in (str, bytes, float, bool, type(None)):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else msgpack.ExtType(INTEGER, _integer(value))
    if depth > MAX_DEPTH:
        raise WireError(f"A message is nested more than {MAX_DEPTH} deep.")
    if kind in (dict, list, tuple) and len(value) > MAX_ITEMS:
        raise WireError(f"A {kind.__name__} of {len(value)} values cannot be sent; at most {MAX_ITEMS}. Send an array.")
    if kind is dict:
        if wrong := next((key for key in value if type(key) not in (str, int)), None):
            raise WireError(f"A key of a message is the {type(wrong).__name__} {wrong!r}, expected text or a number.")
        return {key: _packed(item, arrays, depth + 1) for key, item in value.items()}
    if kind is list:
        return [_packed(item, arrays, depth + 1) for item in value]
    if kind is tuple:
        items = [_packed(item, arrays, depth + 1) for item in value]
        return msgpack.ExtType(TUPLE, msgpack.packb(items, strict_types=True))
    if isinstance(value, np.ndarray):
        return _array(ARRAY, value, arrays)
    if isinstance(value, np.generic):
        return _array(SCALAR, np.asarray(value), arrays)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        try:
            array = value.detach().cpu().numpy()
        except (TypeError, RuntimeError) as error:
            raise WireError(f"A tensor of {value.dtype}, {value.layout}, cannot be sent: {error}") from None
        return _array(TENSOR, array, arrays)
    raise WireError(f"A {kind.__module__}.{kind.__qualname__} cannot be sent: only plain values, arrays and tensors.")


def _integer(value: int) -> bytes:
    data = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    if len(data) > MAX_INTEGER_BYTES:
        raise WireError(f"An integer of {value.bit_length()} bits cannot be sent.")
    return data


def _array(kind: int, array: np.ndarray, arrays: list[np.ndarray]) -> Any:
    if array.dtype not in NAMES or array.ndim > MAX_DIMENSIONS:
        what = f"{array.dtype} with {array.ndim} dimensions"
        raise WireError(f"An array of {what} cannot be sent. Types that can: {', '.join(DTYPES)}.")
    arrays.append(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    return msgpack.ExtType(kind, b"")


def _unpacked(data: memoryview | bytes) -> Any:
    """Return what msgpack holds; only bytes, plain values, lists, dictionaries and `ExtType`."""
    try:
        return msgpack.unpackb(data, strict_map_key=False, max_array_len=MAX_ITEMS, max_map_len=MAX_ITEMS)
    except (ValueError, msgpack.UnpackException, RecursionError, TypeError) as error:
        raise WireError(
            f"The plain values of a message cannot be read: {str(error) or type(error).__name__}."
        ) from None


class _Reader:
    """Puts the arrays of a received message into its tree.

    Attributes:
        table: type and lengths of the arrays to come, the next one last.
        end: of what was read, in bytes.
    """

    def __init__(self, view: memoryview, end: int, table: list[Any]) -> None:
        self.view, self.end, self.table = view, end, table[::-1]

    def value(self, value: Any, depth: int) -> Any:
        """Return a value of the tree with its arrays."""
        kind = type(value)
        if kind in (str, bytes, float, bool, int, type(None)):
            return value
        if depth > MAX_DEPTH:
            raise WireError(f"A message is nested more than {MAX_DEPTH} deep.")
        if kind is dict:
            if not all(type(key) in (str, int) for key in value):
                raise WireError("A message has a key that is neither text nor a number.")
            return {key: self.value(item, depth + 1) for key, item in value.items()}
        if kind is list:
            return [self.value(item, depth + 1) for item in value]
        if kind is not msgpack.ExtType:
            raise WireError(f"A message has a value of the kind {kind.__name__}.")  # a time of msgpack's own
        code, data = value
        if code == TUPLE:
            return self._tuple(data, depth)
        if code == INTEGER and len(data) <= MAX_INTEGER_BYTES:
            return int.from_bytes(data, "little", signed=True)
        if code not in (TENSOR, ARRAY, SCALAR) or data:
            raise WireError(f"A message has a value of the unknown kind {code}.")
        array = self._array()
        if code == TENSOR:
            import torch

            return torch.from_numpy(array)
        return array if code == ARRAY else array[()]

    def _tuple(self, data: bytes, depth: int) -> tuple[Any, ...]:
        items = _unpacked(data)
        if type(items) is not list:
            raise WireError("A tuple of a message has another form than its items.")
        return tuple(self.value(item, depth + 1) for item in items)

    def _array(self) -> np.ndarray:
        if not self.table:
            raise WireError("A message has more arrays in its values than it describes.")
        described = self.table.pop()
        if type(described) is not list or not described or type(described[0]) is not str:
            raise WireError("An array of a message is described in another form than type and lengths.")
        name, *shape = described
        if name not in DTYPES:
            raise WireError(f"A message has an array of type {name!r}. Types that are read: {', '.join(DTYPES)}.")
        if len(shape) > MAX_DIMENSIONS or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
            raise WireError(f"A message has an array of shape {shape}.")
        start = self.end + -self.end % ALIGNMENT
        length = math.prod(shape) * DTYPES[name].itemsize
        if start + length > len(self.view):
            raise WireError(f"An array of shape {tuple(shape)} reaches beyond the end of its message.")
        self.end = start + length
        if not length:
            return np.empty(shape, DTYPES[name])
        return np.frombuffer(self.view[start : self.end], DTYPES[name]).reshape(shape)
