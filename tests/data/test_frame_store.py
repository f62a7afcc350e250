"""Frame store: each picture once, freed with its last use, restored exactly, and right in every minibatch."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import raises_naming
from regimen.data.frame_store import FrameStore, frame_bytes
from regimen.data.transition_buffer import TransitionBuffer, Transitions
from regimen.system.errors import DatasetError

IMAGES = {"near": [2, 3, 3], "far": [4, 4, 1]}
CPU = torch.device("cpu")


def pictures(numbers: torch.Tensor) -> dict[str, torch.Tensor]:
    """Pictures (B, H, W, C) whose pixels are the numbers (B,)."""
    return {n: numbers.to(torch.uint8)[:, None, None, None].expand(-1, *s).contiguous() for n, s in IMAGES.items()}


def steps(first: int, count: int) -> Transitions:
    """Transitions k = first, first + 1, …, each from picture k to picture k + 1."""
    k = torch.arange(first, first + count)
    obs, following = ({"policy": x[:, None].float()} | pictures(x) for x in (k, k + 1))
    rest = torch.zeros(count)
    return Transitions(obs, rest[:, None], rest, rest, following, rest.bool())


def made(capacity: int, store: FrameStore) -> TransitionBuffer:
    return TransitionBuffer(capacity, {"policy": 1}, 1, CPU, store)


def assert_shows(buffer: TransitionBuffer) -> None:
    """Every minibatch has the pictures of its transitions."""
    drawn = buffer.sample(3, 16)
    for k in range(3):
        for images, number in zip(drawn.images(k), (drawn.obs[k], drawn.next_obs[k]), strict=True):
            for name, expected in pictures(number.squeeze(1)).items():
                assert torch.equal(images[name], expected)


def test_a_picture_is_kept_once_and_freed_with_its_last_transition():
    store = FrameStore(IMAGES)
    online, prior = made(10, store), made(30, store)
    online.push(steps(0, 10))
    assert len(store) == 11 and store.bytes == 11 * frame_bytes(IMAGES) == 11 * (18 + 16)
    prior.push(steps(4, 3))
    assert len(store) == 11
    online.push(steps(10, 25))  # more than fit
    assert len(store) == 11 + 4, "25 to 35, and those of the other buffer"
    for buffer in (online, prior):
        assert_shows(buffer)
    read = prior.read(torch.arange(3))
    assert torch.equal(read.next_obs["far"], pictures(torch.tensor([5, 6, 7]))["far"])


def test_repeated_transitions_bring_no_pictures():
    store = FrameStore(IMAGES)
    buffer = made(10, store)
    buffer.push(steps(0, 5))
    buffer.push(steps(40, 5), first_id=0)
    assert len(store) == 6
    assert_shows(buffer)


def test_a_restored_store_goes_on_as_the_first_one():
    stores = FrameStore(IMAGES), FrameStore(IMAGES)
    first, second = (made(8, store) for store in stores)
    first.push(steps(0, 11))
    state = stores[0].state_dict()
    stores[1].load_state_dict(state)
    assert "frames" not in state, "a copy of all pictures would stay in memory"
    second.load_state_dict(first.state_dict())
    for buffer, store in zip((first, second), stores, strict=True):
        buffer.push(steps(9, 6))
        assert_shows(buffer)
        assert len(store) == 7, "9 to 15"
    torch.manual_seed(1)
    one = first.sample(1, 9).images(0)
    torch.manual_seed(1)
    other = second.sample(1, 9).images(0)
    assert all(torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in IMAGES)


@pytest.mark.parametrize(
    "wrong",
    [
        {"near": torch.zeros(1, 2, 3, 3, dtype=torch.uint8)},
        pictures(torch.zeros(1)) | {"far": torch.zeros(1, 4, 5, 1, dtype=torch.uint8)},
        pictures(torch.zeros(1)) | {"far": torch.zeros(1, 4, 4, 1)},
    ],
)
def test_pictures_of_another_size_or_type_are_refused(wrong):
    with raises_naming(DatasetError, "far", [4, 4, 1]):
        FrameStore(IMAGES).add(wrong)


def test_a_store_of_other_cameras_is_not_restored():
    with raises_naming(DatasetError, "near"):
        FrameStore(IMAGES).load_state_dict(FrameStore({"near": [2, 2, 3]}).state_dict())
