"""Messages: what is sent arrives bit for bit, and what is damaged is refused before anything is built of it."""

from __future__ import annotations

import datetime
import struct
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regimen.system import wire
from regimen.system.wire import WireError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=12,
)


def sent(message: dict[str, Any]) -> dict[str, Any]:
    """The message as a receiver has it."""
    return wire.decode(wire.to_bytes(message))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(), PLAIN, max_size=4))
def test_plain_values_arrive_as_they_were(message: dict[str, Any]) -> None:
    assert sent(message) == message


@pytest.mark.parametrize("name", wire.DTYPES)
def test_arrays_and_tensors_of_each_type_arrive_bit_for_bit(name: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(name)
    got = sent({"array": array, "strided": array[:, ::2], "empty": array[:0], "scalar": array[0, 0, 1], "none": None})
    assert all(np.array_equal(got[k], v) for k, v in (("array", array), ("strided", array[:, ::2])))
    assert got["array"].dtype == array.dtype and got["empty"].shape == (0, 3, 4)
    assert type(got["scalar"]) is type(array[0, 0, 1]) and got["scalar"] == array[0, 0, 1]
    if hasattr(torch, name):
        tensor = torch.from_numpy(array).transpose(0, 2)
        assert torch.equal(sent({"x": (tensor,)})["x"][0], tensor)


def test_a_state_of_a_simulator_arrives_with_its_generators() -> None:
    state = {
        "generator": torch.Generator().manual_seed(3).get_state(),
        "numpy": np.random.default_rng(3).bit_generator.state,
        "nan": torch.tensor([float("nan"), float("-inf"), -0.0]),
    }
    got = sent(state)
    assert torch.equal(got["generator"], state["generator"]) and got["numpy"] == state["numpy"]
    assert got["nan"].numpy().tobytes() == state["nan"].numpy().tobytes()


def test_received_arrays_are_aligned_views_that_can_be_written_to() -> None:
    parts = wire.encode({"a": torch.ones(3), "b": torch.ones(5, dtype=torch.float64)})
    memory = wire.buffer(wire.size(parts))
    memory[:] = b"".join(parts)
    got = wire.decode(memory)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    for tensor in got.values():
        assert tensor.data_ptr() % wire.ALIGNMENT == 0
        assert start <= tensor.data_ptr() < start + len(memory)
        tensor += 1


@pytest.mark.parametrize(
    "value",
    [
        object(),
        print,
        {1.5: 2},
        datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        np.array([object()]),
        np.zeros(2, ">f4"),
        torch.zeros(2, dtype=torch.bfloat16),
        torch.zeros(2).to_sparse(),
        2**600,
        [0] * (wire.MAX_ITEMS + 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused_by_the_sender(value: Any) -> None:
    with pytest.raises(WireError):
        wire.encode({"value": value})


def test_endless_nesting_is_refused_on_both_sides() -> None:
    value: Any = []
    for _ in range(wire.MAX_DEPTH + 2):
        value = [value]
    with pytest.raises(WireError, match="nested"):
        wire.encode({"value": value})
    for wrap in (lambda inner: [inner], lambda inner: msgpack.ExtType(wire.TUPLE, msgpack.packb([inner]))):
        inner: Any = 1
        for _ in range(200):
            inner = wrap(inner)
        with pytest.raises(WireError):
            wire.decode(framed([{"value": inner}, []]))


def framed(tree: Any, arrays: bytes = b"") -> bytes:
    """A message with a tree of one's own."""
    packed = msgpack.packb(tree)
    gap = bytes(-(wire.FRAME.size + len(packed)) % wire.ALIGNMENT) if arrays else b""
    total = wire.FRAME.size + len(packed) + len(gap) + len(arrays)
    return wire.FRAME.pack(wire.MAGIC, len(packed), total) + packed + gap + arrays


ARRAY = msgpack.ExtType(wire.ARRAY, b"")


@pytest.mark.parametrize(
    "tree",
    [
        [{"x": ARRAY}, []],
        [{}, [["float32", 1]]],
        [{"x": ARRAY}, [["float32", 2**40, 2**40]]],
        [{"x": ARRAY}, [["float32", -1]]],
        [{"x": ARRAY}, [["float32", 1.5]]],
        [{"x": ARRAY}, [["object", 1]]],
        [{"x": ARRAY}, [["float32", *[1] * 9]]],
        [{"x": ARRAY}, [7]],
        [{"x": msgpack.ExtType(77, b"os")}, []],
        [{"x": msgpack.ExtType(wire.INTEGER, bytes(100))}, []],
        [{"x": msgpack.Timestamp(1)}, []],
        [["x"], []],
        {"x": 1},
    ],
)
def test_trees_that_no_sender_makes_are_refused(tree: Any) -> None:
    with pytest.raises(WireError):
        wire.decode(framed(tree, b"\0" * 4))


@pytest.mark.parametrize(
    "data",
    [b"", b"RGM1", b"<html>" * 9, wire.FRAME.pack(b"RGM1", 2**31, 16), wire.FRAME.pack(b"RGM1", 0, 2**60)],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        wire.decode(data)


def test_a_list_that_names_more_items_than_there_are_bytes_costs_no_memory() -> None:
    tree = b"\x92\xdd" + struct.pack(">I", 2**32 - 1)
    data = wire.FRAME.pack(wire.MAGIC, len(tree), wire.FRAME.size + len(tree)) + tree
    with pytest.raises(WireError):
        wire.decode(data)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_message_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    message = {"action": torch.ones(4, 2), "seed": 2**70, "nested": {"a": [1, (2.5, "x")]}, "raw": b"123"}
    bytes_ = bytearray(wire.to_bytes(message))
    for _ in range(data.draw(st.integers(1, 4))):
        bytes_[data.draw(st.integers(0, len(bytes_) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(bytes_)))
    for damaged in (bytes(bytes_), bytes(bytes_[:cut])):
        with suppress(WireError):
            assert isinstance(wire.decode(damaged), dict)


def test_a_reader_names_what_is_not_as_it_expects() -> None:
    got = sent({"action": torch.zeros(4, 2), "seed": True})
    assert wire.require(got, "action", "float32", (None, 2)) is got["action"]
    for name, dtype, shape in (("action", "float64", None), ("action", None, (4, 3)), ("absent", None, None)):
        with pytest.raises(WireError, match=name):
            wire.require(got, name, dtype, shape)
    with pytest.raises(WireError, match="seed"):
        wire.require_plain(got, "seed", int)
