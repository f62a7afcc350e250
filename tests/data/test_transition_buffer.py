"""Transition buffer: ids, overwriting, exact restoring, and what a minibatch holds."""

from __future__ import annotations

import pytest
import torch

from helpers.messages import raises_naming
from regimen.data.transition_buffer import TransitionBuffer, Transitions, buffer_bytes
from regimen.system.errors import DatasetError

SIZES = {"policy": 3, "privileged": 2}
CPU = torch.device("cpu")


def made(rows: int, first: int = 0) -> Transitions:
    """Transitions whose every value follows from the number of the transition."""
    number = torch.arange(first, first + rows, dtype=torch.float32)
    obs = {group: number[:, None] + torch.arange(size) / 10 for group, size in SIZES.items()}
    following = {group: x + 100 for group, x in obs.items()}
    return Transitions(obs, -number[:, None].expand(rows, 2), number / 2, number % 3, following, number % 2 == 0)


def assert_same(one: Transitions, other: Transitions) -> None:
    for side in ("obs", "next_obs"):
        for group in SIZES:
            assert torch.equal(getattr(one, side)[group], getattr(other, side)[group])
    for name in ("action", "reward", "mask", "intervened"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name


def test_transitions_come_back_by_their_ids_and_the_oldest_are_overwritten():
    buffer = TransitionBuffer(10, SIZES, 2, CPU)
    assert buffer.push(made(7)) == 6 and len(buffer) == 7
    assert buffer.push(made(6, 7)) == 12 and len(buffer) == 10
    assert_same(buffer.read(torch.arange(3, 13)), made(10, 3))
    with raises_naming(DatasetError, 3, 12):
        buffer.read(torch.tensor([2]))


def test_a_push_larger_than_the_buffer_keeps_its_end():
    buffer = TransitionBuffer(4, SIZES, 2, CPU)
    assert buffer.push(made(11)) == 10
    assert_same(buffer.read(torch.arange(7, 11)), made(4, 7))


def test_the_first_transitions_are_kept_however_many_come():
    buffer = TransitionBuffer(7, SIZES, 2, CPU, kept=3)
    for piece in made(24).pieces(5):
        buffer.push(piece)
    assert len(buffer) == 7 and buffer.next_id == 24
    assert_same(buffer.read(torch.arange(3)), made(3))
    assert_same(buffer.read(torch.arange(20, 24)), made(4, 20))
    with raises_naming(DatasetError, 20, 23):
        buffer.read(torch.tensor([19]))
    again = TransitionBuffer(7, SIZES, 2, CPU, kept=3)
    again.load_state_dict(buffer.state_dict())
    for one in (buffer, again):
        one.push(made(2, 24))
    ids = torch.tensor([0, 2, 22, 25])
    assert_same(again.read(ids), buffer.read(ids))


def test_a_push_larger_than_what_is_overwritten_keeps_the_first_and_the_last():
    buffer = TransitionBuffer(5, SIZES, 2, CPU, kept=3)
    buffer.push(made(11))
    assert_same(buffer.read(torch.arange(3)), made(3))
    assert_same(buffer.read(torch.tensor([9, 10])), made(2, 9))


@pytest.mark.parametrize(("first", "rows"), [(0, 5), (2, 3), (3, 2), (0, 2)])
def test_repeated_ids_are_harmless(first, rows):
    buffer, again = (TransitionBuffer(8, SIZES, 2, CPU) for _ in range(2))
    buffer.push(made(5))
    again.push(made(5))
    wrong = made(rows, 50)  # other content under the same ids: what was there stays
    assert again.push(wrong, first_id=first) == 4
    assert again.next_id == 5
    assert_same(again.read(torch.arange(5)), buffer.read(torch.arange(5)))


def test_a_push_that_is_partly_there_adds_the_rest_and_a_gap_is_refused():
    buffer = TransitionBuffer(8, SIZES, 2, CPU)
    buffer.push(made(5))
    assert buffer.push(made(4, 3), first_id=3) == 6
    assert_same(buffer.read(torch.arange(7)), made(7))
    with raises_naming(DatasetError, 7, 8):
        buffer.push(made(1, 9), first_id=9)


@pytest.mark.parametrize("rows", [6, 13])
def test_restored_exactly_before_and_after_it_was_full(rows):
    buffer = TransitionBuffer(10, SIZES, 2, CPU)
    buffer.push(made(rows))
    restored = TransitionBuffer(10, SIZES, 2, CPU)
    restored.load_state_dict(buffer.state_dict())
    drawn = []
    for each in (buffer, restored):
        each.push(made(3, rows))
        torch.manual_seed(0)
        drawn.append(each.sample(2, 16).rows)
    assert torch.equal(*drawn)
    assert_same(buffer.read(torch.arange(rows - 2, rows + 3)), restored.read(torch.arange(rows - 2, rows + 3)))


def test_a_state_of_other_groups_or_capacity_is_refused():
    state = TransitionBuffer(10, SIZES, 2, CPU).state_dict()
    with raises_naming(DatasetError, "policy"):
        TransitionBuffer(10, {"policy": 5}, 2, CPU).load_state_dict(state)
    full = TransitionBuffer(10, SIZES, 2, CPU)
    full.push(made(10))
    with raises_naming(DatasetError, 12):
        TransitionBuffer(12, SIZES, 2, CPU).load_state_dict(full.state_dict() | {"next_id": 20})


def test_minibatches_hold_whole_transitions_and_all_of_them():
    buffer = TransitionBuffer(10, SIZES, 2, CPU)
    buffer.push(made(13))
    drawn = buffer.sample(3, 200)
    number = -drawn.action[..., 0]
    assert sorted(number.unique().tolist()) == list(range(3, 13))
    assert torch.equal(drawn.obs[..., 0], number) and torch.equal(drawn.obs[..., 3], number)
    assert torch.equal(drawn.next_obs[..., 3], number + 100)
    assert torch.equal(drawn.reward, number / 2) and torch.equal(drawn.mask, number % 3)
    assert torch.equal(drawn.obs_action, torch.cat((drawn.obs, drawn.action), -1))
    both = drawn.beside(buffer.sample(3, 50))
    assert both.rows.shape[:2] == (3, 250) and torch.equal(both.rows[:, :200], drawn.rows)


def test_another_width_is_refused():
    buffer = TransitionBuffer(10, {"policy": 3, "privileged": 4}, 2, CPU)
    with raises_naming(DatasetError, "privileged", 4):
        buffer.push(made(2))


def test_the_estimate_of_the_memory_is_what_the_rows_take():
    buffer = TransitionBuffer(10, SIZES, 2, CPU)
    buffer.push(made(10))
    assert buffer.state_dict()["rows"].nbytes == buffer_bytes(10, 5, 2)


def test_joined_and_selected_transitions_are_those_of_their_parts():
    assert_same(Transitions.join([made(3), made(4, 3)]), made(7))
    assert_same(made(7).select(torch.arange(7) >= 5), made(2, 5))
