"""Reads a pickled list item by item, numpy arrays and plain containers only, in bounded memory.

A pickle is a program for a stack machine, which may call anything. This reader interprets the opcodes itself
(`pickletools.genops` splits them) and has no way to import or call: a name in the file is compared with a few known
ones, and every other name or opcode is an error. An item is given out as soon as the next one begins, and its objects
are freed one item later, so that a file of any size is read in the memory of a few items.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from regimen.system.errors import DatasetError
from regimen.system.file_kinds import this_is

MOST_ITEM_BYTES = 2**26
"""Bytes of an item in the file, and of the values made from them."""

MOST_ITEM_OPCODES = 200_000
MOST_DEPTH = 64
MOST_DIMENSIONS = 32
MOST_SHARED = 500_000
"""Short texts and types of the whole file, which later items may refer to."""

MOST_TEXT = 1024
"""Characters of a text that later items may refer to."""

_ARRAY, _RECONSTRUCT, _BUFFER, _SCALAR = "ndarray", "_reconstruct", "_frombuffer", "scalar"
_DTYPE, _ORDERED, _ENCODE = "dtype", "OrderedDict", "encode"
NAMES = {
    ("numpy", "ndarray"): _ARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("collections", "OrderedDict"): _ORDERED,
    ("_codecs", "encode"): _ENCODE,  # how protocols below 3 write bytes
    **{
        (f"numpy.{core}.{module}", name): name
        for core in ("core", "_core")
        for module, names in {"multiarray": (_RECONSTRUCT, _SCALAR), "numeric": (_BUFFER,)}.items()
        for name in names
    },
}
"""(module, name) in the file -> what it stands for here; nothing of it is imported."""

_DTYPES = re.compile(r"[<|=]?(b1|[iu][1248]|f[248])")


class _Name:
    """A known name of the file."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


class _NewArray:
    """An array whose content is yet to come; `key` is its place among the objects that can be referred to."""

    key: int | None = None


def read_items(path: Path) -> Iterator[Any]:
    """Yield the items of a pickled list, each as soon as it is complete.

    Args:
        path: the file.

    Yields:
        Dictionaries, lists, tuples, sets, texts, bytes, numbers, read-only numpy arrays and numpy scalars.

    Raises:
        DatasetError: the file is no pickled list, is cut short, or holds anything else; the message names it.
    """
    if not path.is_file():
        raise DatasetError(f"There is no file {path}.")
    with path.open("rb") as file:
        if file.read(1) not in (b"\x80", b"]", b"("):
            raise DatasetError(f"{path} is no pickled list. {this_is(path, bytes([128]))}".rstrip())
        file.seek(0)
        yield from _Machine(path, file).items()


class _BoundedFile:
    """A file of which no more than `MOST_ITEM_BYTES` are read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.tell = file, file.tell

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MOST_ITEM_BYTES:
            raise ValueError(f"one value of {size} bytes")
        return self._file.read(size)

    def readline(self) -> bytes:
        return self._file.readline(MOST_ITEM_BYTES)


class _Machine:
    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, _BoundedFile(file)
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._items: list[Any] | None = None
        self._memo: dict[int, Any] = {}
        self._puts = self._position = self._made = 0
        self._recent: set[int] = set()
        self._previous: set[int] = set()

    def items(self) -> Iterator[Any]:
        begin = opcodes = 0
        try:
            for opcode, argument, position in pickletools.genops(cast("BinaryIO", self._file)):
                self._position, opcodes = position or 0, opcodes + 1
                if opcodes > MOST_ITEM_OPCODES or self._position - begin > MOST_ITEM_BYTES:
                    raise self._error("one item is larger than any transition")
                if opcode.name == "STOP":
                    break
                if (work := _OPCODES.get(opcode.name)) is None:
                    raise self._error(f"the opcode {opcode.name}")
                complete = self._before_dict() if opcode.name == "EMPTY_DICT" else []
                work(self, argument)
                if opcode.name in ("APPEND", "APPENDS") and self._items:
                    complete, self._items[:] = list(self._items), []
                if complete:
                    yield from complete
                    del complete
                    self._free_previous()
                    begin, opcodes, self._made = self._position, 0, 0
        except (ValueError, IndexError, TypeError, AttributeError, KeyError, OverflowError, UnicodeError) as error:
            if not self._position and not self._puts:
                raise DatasetError(f"{self._path} is no pickle ({error}).") from error
            raise DatasetError(
                f"{self._path}: cut short or damaged at byte {self._position} ({error}). Copy it again."
            ) from error
        if self._items is None or len(self._stack) != 1 or self._stack[0] is not self._items:
            raise DatasetError(f"{self._path}: expected a pickled list of transitions, found another object.")

    def _before_dict(self) -> list[Any]:
        """Return the item that is complete because another dictionary begins beside it."""
        if len(self._below) == 1 and self._below[0] == [[]] and self._items is not None and len(self._stack) == 1:
            item, self._stack[:] = self._stack[0], []
            return [item]
        return []

    def _free_previous(self) -> None:
        """Free the objects of the item before last that the last one did not refer to."""
        for key in self._previous:
            del self._memo[key]
        self._previous, self._recent = self._recent, set()
        if len(self._memo) > MOST_SHARED:
            raise self._error("more shared texts than any transitions have")

    def _error(self, found: str) -> DatasetError:
        return DatasetError(
            f"{self._path}: found {found} at byte {self._position}. Only numpy arrays, numbers, text and plain "
            "containers are read; nothing in the file was executed. Convert the rest to these and save it again."
        )

    def _count_made(self, size: int) -> None:
        """Count bytes that are made here, before they are: one text in the file can be referred to at no cost."""
        self._made += size
        if self._made > MOST_ITEM_BYTES:
            raise self._error(f"one item of more than {MOST_ITEM_BYTES} bytes")

    def _scalars(self, values: Iterable[Any], what: str) -> None:
        """Refuse keys and members with values inside: nested deep enough, their hash overflows the stack of C."""
        for value in values:
            if not isinstance(value, str | int | float | bool | bytes | None):
                raise self._error(f"a {type(value).__name__} as the {what}")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _list(self, argument: Any) -> None:
        self._stack.append([])
        if self._items is None and not self._below and len(self._stack) == 1:
            self._items = self._stack[0]

    def _mark(self, argument: Any) -> None:
        if len(self._below) >= MOST_DEPTH:
            raise self._error(f"containers nested more than {MOST_DEPTH} deep")
        self._below.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        values, self._stack = self._stack, self._below.pop()
        return values

    def _list_of_marked(self, argument: Any) -> None:
        values = self._marked()
        self._list(None)
        self._stack[-1] += values

    def _append(self, argument: Any) -> None:
        value = self._stack.pop()
        self._plain_list().append(value)

    def _appends(self, argument: Any) -> None:
        values = self._marked()
        self._plain_list().extend(values)

    def _plain_list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise self._error(f"values appended to a {type(self._stack[-1]).__name__}")
        return self._stack[-1]

    def _dict_of_marked(self, argument: Any) -> None:
        values = self._marked()
        self._scalars(values[::2], "key of a dict")
        self._stack.append(dict(zip(values[::2], values[1::2], strict=True)))

    def _set_item(self, argument: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._scalars([key], "key of a dict")
        self._plain_dict()[key] = value

    def _set_items(self, argument: Any) -> None:
        values = self._marked()
        self._scalars(values[::2], "key of a dict")
        self._plain_dict().update(zip(values[::2], values[1::2], strict=True))

    def _plain_dict(self) -> dict[Any, Any]:
        if type(self._stack[-1]) is not dict:
            raise self._error(f"entries set in a {type(self._stack[-1]).__name__}")
        return self._stack[-1]

    def _add_items(self, argument: Any) -> None:
        values = self._marked()
        if type(self._stack[-1]) is not set:
            raise self._error(f"members added to a {type(self._stack[-1]).__name__}")
        self._scalars(values, "member of a set")
        self._stack[-1].update(values)

    def _frozen_set(self, argument: Any) -> None:
        values = self._marked()
        self._scalars(values, "member of a set")
        self._stack.append(frozenset(values))

    def _last(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError("a tuple without its values")
        values = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        self._stack.append(values)

    def _put(self, key: int) -> None:
        value = self._stack[-1]
        self._memo[key] = value
        self._puts += 1
        if isinstance(value, _NewArray):
            value.key = key
        shared = isinstance(value, _Name | np.dtype) or (isinstance(value, str) and len(value) <= MOST_TEXT)
        # There is one object for each bytes of length 0 and 1, and for each bool of numpy, in all of a process.
        alone = isinstance(value, np.bool_) or (isinstance(value, bytes) and len(value) < 2)
        if not (shared or alone or value is self._items):
            self._recent.add(key)

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise self._error(
                "a reference to an object of an earlier transition than the one before (copy.deepcopy makes each "
                "transition whole)"
            )
        if key in self._previous:
            self._previous.remove(key)
            self._recent.add(key)
        self._stack.append(self._memo[key])

    def _name(self, module: str, name: str) -> None:
        if (module, name) not in NAMES:
            raise self._error(f"{module}.{name}")
        self._stack.append(_Name(NAMES[module, name]))

    def _stack_name(self, argument: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._error(f"a name that is a {type(module).__name__} and a {type(name).__name__}")
        self._name(module, name)

    def _reduce(self, argument: Any) -> None:
        arguments, what = self._stack.pop(), self._stack.pop()
        if not isinstance(what, _Name) or what.kind not in _BUILDERS or type(arguments) is not tuple:
            raise self._error(f"a call of {what.kind if isinstance(what, _Name) else type(what).__name__}")
        self._stack.append(_BUILDERS[what.kind](self, *arguments))

    def _new_array(self, kind: Any, shape: Any, typecode: Any) -> _NewArray:
        if not isinstance(kind, _Name) or kind.kind != _ARRAY:
            raise self._error("an array of another class than numpy.ndarray")
        return _NewArray()

    def _new_dtype(self, code: Any, align: Any = False, copy: Any = True) -> np.dtype[Any]:
        if not isinstance(code, str):
            raise self._error(f"a numpy array whose dtype is a {type(code).__name__}")
        if not _DTYPES.fullmatch(code):
            kind = " of Python objects" if code.lstrip("|<>=").startswith("O") else ""
            raise self._error(f"a numpy array{kind}, dtype {code[:40]!r}")
        return np.dtype(code)

    def _array(self, dtype: Any, shape: Any, fortran: Any, content: Any) -> np.ndarray:
        plain = isinstance(dtype, np.dtype) and type(shape) is tuple and len(shape) <= MOST_DIMENSIONS
        plain = plain and all(type(n) is int and 0 <= n <= MOST_ITEM_BYTES for n in shape)
        if not plain or not isinstance(content, bytes | bytearray):
            raise self._error("a numpy array whose content is no plain numbers")
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise self._error(f"a numpy array of shape {shape} with {len(content)} bytes")
        if isinstance(content, bytearray):  # copied, as it can change
            self._count_made(len(content))
        return np.frombuffer(bytes(content), dtype).reshape(shape, order="F" if fortran else "C")

    def _array_of_buffer(self, content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        return self._array(dtype, shape, order == "F", content)

    def _scalar(self, dtype: Any, content: Any) -> Any:
        return self._array(dtype, (1,), False, content)[0]

    def _ordered(self, *entries: Any) -> dict[Any, Any]:
        if entries:
            raise self._error("an OrderedDict with arguments")
        return {}

    def _latin1(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(encoding, str) or encoding != "latin1" or not isinstance(text, str):
            found = repr(encoding[:40]) if isinstance(encoding, str) else f"of a {type(encoding).__name__}"
            raise self._error(f"a {type(text).__name__} in the encoding {found}")
        self._count_made(len(text))
        return text.encode("latin1")

    def _build(self, argument: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, _NewArray) and type(state) is tuple and len(state) == 5:
            _, shape, dtype, fortran, content = state
            self._stack[-1] = self._array(dtype, shape, fortran, content)
            if target.key is not None and target.key in self._memo:
                self._memo[target.key] = self._stack[-1]
        elif isinstance(target, np.dtype) and type(state) is tuple:
            if state[1] not in ("<", "|", "=") or any(part is not None for part in state[2:5]):
                raise self._error("a numpy array of records, or with the bytes of its numbers swapped")
        else:
            name = target.kind if isinstance(target, _Name) else type(target).__name__
            raise self._error(f"a state of a {name}")


_BUILDERS: dict[str, Callable[..., Any]] = {
    _RECONSTRUCT: _Machine._new_array,
    _DTYPE: _Machine._new_dtype,
    _BUFFER: _Machine._array_of_buffer,
    _SCALAR: _Machine._scalar,
    _ORDERED: _Machine._ordered,
    _ENCODE: _Machine._latin1,
}

_VALUES = (
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
)  # fmt: skip
"""Opcodes whose argument is the value."""

_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_VALUES, _Machine._push),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine._put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine._get),
    **dict.fromkeys(("PROTO", "FRAME"), lambda machine, argument: None),
    "MEMOIZE": lambda machine, argument: machine._put(machine._puts),
    "NONE": lambda machine, argument: machine._push(None),
    "NEWTRUE": lambda machine, argument: machine._push(True),
    "NEWFALSE": lambda machine, argument: machine._push(False),
    "MARK": _Machine._mark,
    "EMPTY_LIST": _Machine._list,
    "LIST": _Machine._list_of_marked,
    "APPEND": _Machine._append,
    "APPENDS": _Machine._appends,
    "EMPTY_DICT": lambda machine, argument: machine._push({}),
    "DICT": _Machine._dict_of_marked,
    "SETITEM": _Machine._set_item,
    "SETITEMS": _Machine._set_items,
    "EMPTY_SET": lambda machine, argument: machine._push(set()),
    "FROZENSET": _Machine._frozen_set,
    "ADDITEMS": _Machine._add_items,
    "EMPTY_TUPLE": lambda machine, argument: machine._push(()),
    "TUPLE": lambda machine, argument: machine._push(tuple(machine._marked())),
    "TUPLE1": lambda machine, argument: machine._last(1),
    "TUPLE2": lambda machine, argument: machine._last(2),
    "TUPLE3": lambda machine, argument: machine._last(3),
    "GLOBAL": lambda machine, argument: machine._name(*argument.split(" ", 1)),
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
}
