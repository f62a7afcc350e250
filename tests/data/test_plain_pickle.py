"""Plain pickles: what numpy and pickle write comes back; everything else is refused by its name and not executed."""

from __future__ import annotations

import builtins
import collections
import copyreg
import os
import pickle
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from helpers.messages import raises_naming
from regimen.data.plain_pickle import MOST_ITEM_BYTES, read_items
from regimen.system.errors import DatasetError


def transition(step: int, size: int = 8) -> dict[str, Any]:
    rng = np.random.default_rng(step)
    obs = {"state": rng.normal(size=(1, 5)), "wrist": rng.integers(0, 256, (1, size, size, 3), dtype=np.uint8)}
    return {
        "observations": obs,
        "actions": np.asfortranarray(rng.normal(size=(3, 2)).astype(np.float32)),
        "rewards": np.float64(step),
        "masks": 1.0 - (step % 3 == 2),
        "dones": np.bool_(step % 3 == 2),
        "infos": collections.OrderedDict(succeed=True, text="öß", none=None, many=(1, 2**70, -3), kinds={1, "a"}),
    }


def save(path: Path, value: Any, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol))
    return path


def assert_same(a: Any, b: Any) -> None:
    if isinstance(b, dict):
        assert list(a) == list(b)
        for key in b:
            assert_same(a[key], b[key])
    elif isinstance(b, np.ndarray | np.generic):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b


@pytest.mark.parametrize(
    ("count", "protocol"),
    [
        *((count, protocol) for count in (0, 1, 2) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
        *(
            pytest.param(1001, protocol, marks=pytest.mark.slow)  # more than a batch of pickle's own
            for protocol in (0, 1, pickle.HIGHEST_PROTOCOL)
        ),
    ],
)
def test_items_come_back_as_they_were(tmp_path: Path, count: int, protocol: int) -> None:
    known = [transition(step, size=2) for step in range(count)]
    if protocol < 4:
        for item in known:
            item["infos"].pop("kinds")  # sets are calls before protocol 4
    found = list(read_items(save(tmp_path / "a.pkl", known, protocol)))
    assert len(found) == count
    for one, other in zip(found, known, strict=True):
        assert_same(one, dict(other) | {"infos": dict(other["infos"])})


def test_an_item_comes_before_the_rest_of_the_file_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", [transition(step) for step in range(50)])
    path.write_bytes(path.read_bytes()[:-4000])
    found: list[Any] = []
    with raises_naming(DatasetError, "a.pkl", "cut short"):
        found.extend(read_items(path))
    assert 40 < len(found) < 50


def test_neighbours_may_share_objects_and_later_ones_a_constant(tmp_path: Path) -> None:
    observations = [{"state": np.full(40, step)} for step in range(31)]
    always, text = {"goal": np.arange(50)}, "x" * 60
    known = [{"a": observations[i], "b": observations[i + 1], "c": always, "d": text} for i in range(30)]
    for one, other in zip(read_items(save(tmp_path / "a.pkl", known)), known, strict=True):
        assert_same(one, other)
    shared = np.zeros(9)
    far = [{"a": shared}, {"a": 1}, {"a": 2}, {"a": shared}]
    with raises_naming(DatasetError, "earlier transition", "deepcopy"):
        list(read_items(save(tmp_path / "far.pkl", far)))


def test_memory_is_that_of_a_few_items(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pkl", [transition(step, size=128) for step in range(400)])
    size = path.stat().st_size
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_items(path)) == 400
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size > 19e6 and peak < 1.5e6


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


class Subclass(np.ndarray):
    pass


class Plain:
    pass


def attack(name: str, marker: Path) -> Any:
    touch = f"touch {marker}"
    table: dict[str, Any] = {
        "posix.system": Call(os.system, touch),
        "subprocess.Popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "builtins.eval": Call(eval, f"open({str(marker)!r}, 'w')"),
        "builtins.exec": Call(exec, f"open({str(marker)!r}, 'w')"),
        "builtins.getattr": Call(getattr, "".join, "__class__"),
        "builtins.__import__": Call(builtins.__import__, "os"),
        "_codecs.decode": Call(__import__("codecs").decode, b"x", "utf-8"),
        "pickle.loads": Call(__import__("_pickle").loads, b"."),
        "objects": np.array([Call(os.system, touch)], dtype=object),
        "records": np.zeros(2, dtype=[("a", "f4")]),
        "Subclass": np.zeros(3).view(Subclass),
        "Plain": Plain(),
        "copyreg._reconstructor": Call(copyreg._reconstructor, Plain, object, None),
        "numpy.load": Call(np.load, str(marker)),
        "numpy.memmap": Call(np.memmap, str(marker)),
        "datetime64": np.array(["2020-01-01"], dtype="datetime64[D]"),
    }
    return table[name]


ATTACKS = [
    "posix.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.getattr", "builtins.__import__",
    "_codecs.decode", "pickle.loads", "copyreg._reconstructor", "numpy.load", "numpy.memmap", "objects", "records",
    "Subclass", "Plain", "datetime64",
]  # fmt: skip


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", ATTACKS)
def test_anything_else_is_refused_by_its_name(tmp_path: Path, name: str, protocol: int) -> None:
    marker = tmp_path / "executed"
    path = save(tmp_path / "a.pkl", [{"a": 1}, {"infos": attack(name, marker)}], protocol)
    found = {"records": "V4", "Plain": "Plain" if protocol > 1 else "_reconstructor", "datetime64": "M8"}.get(
        name,
        name.rpartition(".")[2],  # protocols 0 to 2 write the modules of Python 2
    )
    with raises_naming(DatasetError, "a.pkl", found, "nothing in the file was executed"):
        list(read_items(path))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("program", "found"),
    [
        (b"(lp0\ncos\nsystem\n(S'touch x'\ntR.", "os.system"),
        (b"\x80\x02]q\x00ccodecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "codecs.encode"),
        (b"\x80\x02]q\x00c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.", "rot13"),
        (b"\x80\x02]q\x00(ios\nsystem\n.", "INST"),
        (b"\x80\x02]q\x00\x82\x01.", "EXT1"),
        (b"\x80\x02]q\x00Pabc\n.", "PERSID"),
        (b"\x80\x02]q\x00cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        (b"\x80\x02]q\x00cnumpy\nndarray\n(K\x09tR.", "ndarray"),
        (b"\x80\x02]q\x00cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.", "Python objects"),
        (b"\x80\x02]q\x00cnumpy\nndarray\n}X\x01\x00\x00\x00aK\x01sb.", "ndarray"),
        (b"\x80\x02]q\x00" + b"(" * 100 + b".", "nested"),
        pytest.param(b"\x80\x02]q\x00" + b"]" * 300_000 + b".", "larger than any transition", marks=pytest.mark.slow),
    ],
)
def test_programs_made_by_hand_are_refused(tmp_path: Path, program: bytes, found: str) -> None:
    (tmp_path / "a.pkl").write_bytes(program)
    with raises_naming(DatasetError, "a.pkl", found):
        list(read_items(tmp_path / "a.pkl"))


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    for opcode in (b"\x8e", b"\x96"):  # BINBYTES8, BYTEARRAY8
        (tmp_path / "a.pkl").write_bytes(b"\x80\x05]\x94" + opcode + (2**50).to_bytes(8, "little") + b"abc")
        tracemalloc.start()
        try:
            with raises_naming(DatasetError, "a.pkl", 2**50):
                list(read_items(tmp_path / "a.pkl"))
            assert tracemalloc.get_traced_memory()[1] < 1e6
        finally:
            tracemalloc.stop()


DEEP = b")" + b"\x85" * 20_000
"""A tuple in a tuple in a tuple …: ten times as deep, its hash overflows the stack of C."""

WIDE = b")q\x01" + b"".join(b"h" + bytes([i]) + b"\x86q" + bytes([i + 1]) for i in range(1, 60))
"""A pair of twice the same pair of twice the same pair …: 2**59 values to a hash, a text or numpy."""


@pytest.mark.parametrize("value", [DEEP, WIDE], ids=["deep", "wide"])
@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (b"}", b"Nsa.", "key"),
        (b"}(", b"Nua.", "key"),
        (b"(", b"Nda.", "key"),
        (b"\x8f(", b"\x90a.", "member"),
        (b"(", b"\x91a.", "member"),
        (b"X\x01\x00\x00\x00a", b"\x93a.", "tuple"),
        (b"cnumpy\ndtype\n", b"\x85Ra.", "dtype"),
        (b"c_codecs\nencode\nX\x01\x00\x00\x00a", b"\x86Ra.", "encoding"),
    ],
    ids=["SETITEM", "SETITEMS", "DICT", "ADDITEMS", "FROZENSET", "STACK_GLOBAL", "dtype", "encode"],
)
def test_nested_values_are_not_hashed_or_printed(
    tmp_path: Path, value: bytes, before: bytes, after: bytes, found: str
) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04]q\x00" + before + value + after)
    with raises_naming(DatasetError, "a.pkl", "tuple", found):
        list(read_items(tmp_path / "a.pkl"))


SIZE = 2**20
ENCODE = b"c_codecs\nencode\nq\x01X" + SIZE.to_bytes(4, "little") + b"x" * SIZE + b"q\x02"
ENCODED = b"h\x01h\x02X\x06\x00\x00\x00latin1\x86R"
"""The text above as bytes, once more."""

BUFFER = b"cnumpy.core.numeric\n_frombuffer\nq\x01cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85Rq\x02" + (
    b"\x96" + SIZE.to_bytes(8, "little") + b"x" * SIZE + b"q\x03"
)
BUFFERED = b"h\x01(h\x03h\x02J" + SIZE.to_bytes(4, "little") + b"\x85X\x01\x00\x00\x00CtR"
"""The bytearray above as an array, once more."""


@pytest.mark.parametrize(("begin", "one"), [(ENCODE, ENCODED), (BUFFER, BUFFERED)], ids=["encode", "bytearray"])
def test_one_text_becomes_no_more_bytes_than_an_item_may_have(tmp_path: Path, begin: bytes, one: bytes) -> None:
    def program(items: int, each: int) -> bytes:
        return b"\x80\x05]q\x00" + (b"}X\x01\x00\x00\x00k(" + begin + one * each + b"lsa") * items + b"."

    (tmp_path / "many.pkl").write_bytes(program(1, 300))
    tracemalloc.start()
    try:
        with raises_naming(DatasetError, "many.pkl", MOST_ITEM_BYTES):
            list(read_items(tmp_path / "many.pkl"))
        assert tracemalloc.get_traced_memory()[1] < 1.2 * MOST_ITEM_BYTES
    finally:
        tracemalloc.stop()
    (tmp_path / "few.pkl").write_bytes(program(2, 40))
    made = [[v for v in item["k"] if isinstance(v, bytes | np.ndarray)] for item in read_items(tmp_path / "few.pkl")]
    sizes = [sum(map(len, values)) for values in made]
    assert sizes == [40 * SIZE] * 2, "the sum is that of one item, not of the file"


def test_the_size_of_an_array_is_not_computed_from_huge_integers(tmp_path: Path) -> None:
    number = b"\x8b" + (1000).to_bytes(4, "little") + b"\x7f" * 1000
    shape = b"(" + number + b"q\x05" + b"h\x05" * 100_000 + b"t"
    dtype, name = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1\x85R", b"cnumpy.core.numeric\n_frombuffer\n"
    program = b"\x80\x05]q\x00" + name + b"(C\x01a" + dtype + shape + b"X\x01\x00\x00\x00CtRa."
    (tmp_path / "a.pkl").write_bytes(program)
    with raises_naming(DatasetError, "a.pkl", "array"):
        list(read_items(tmp_path / "a.pkl"))


def test_wrong_shapes_of_arrays_are_refused(tmp_path: Path) -> None:
    data = pickle.dumps([{"a": np.zeros(40)}], 2)
    assert data.count(b"K(\x85") == 1
    (tmp_path / "a.pkl").write_bytes(data.replace(b"K(\x85", b"K)\x85"))
    with raises_naming(DatasetError, "a.pkl", 41, 320):
        list(read_items(tmp_path / "a.pkl"))


@pytest.mark.parametrize("value", [{"a": 1}, 3, "text", (1, 2)])
def test_other_objects_and_files_are_refused(tmp_path: Path, value: Any) -> None:
    with raises_naming(DatasetError, "a.pkl", "list"):
        list(read_items(save(tmp_path / "a.pkl", value)))
    (tmp_path / "b.pkl").write_bytes(b"\x89HDF\r\n\x1a\n")
    with raises_naming(DatasetError, "b.pkl", "HDF5"):
        list(read_items(tmp_path / "b.pkl"))
    with raises_naming(DatasetError, "c.pkl"):
        list(read_items(tmp_path / "c.pkl"))


def test_no_name_of_the_file_is_imported(tmp_path: Path) -> None:
    (tmp_path / "a.pkl").write_bytes(b"\x80\x02]q\x00cthis\ns\n.")
    with raises_naming(DatasetError, "this.s"):
        list(read_items(tmp_path / "a.pkl"))
    assert "this" not in sys.modules
