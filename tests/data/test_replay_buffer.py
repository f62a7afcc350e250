"""The replay ring against a record of everything that happened."""

from __future__ import annotations

import pytest
import torch

from regimen.data.replay_buffer import Batch, ReplayRing, ring_bytes

N, A, GAMMA = 3, 2, 0.9
CPU = torch.device("cpu")


def history(steps: int, end_every: int = 5) -> list[dict]:
    """A made life of N envs: all values differ, no two envs end together, every second end is a time-out."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for t in range(steps):
        ended = (torch.arange(N) + t) % end_every == end_every - 1
        terminated = ended & (torch.tensor(t) // end_every % 2 == 0)
        draw = {"action": torch.randn(N, A, generator=generator), "reward": torch.randn(N, generator=generator)}
        obs, final = torch.randn(N, 4, generator=generator), torch.randn(N, 4, generator=generator)
        rows.append({**draw, "terminated": terminated, "ended": ended, "obs": obs, "final": final})
    return rows


def written(rows: list[dict], capacity: int) -> ReplayRing:
    ring = ReplayRing(N, capacity, {"policy": 4}, A, CPU)
    ring.begin({"policy": torch.zeros(N, 4)})
    for row in rows:
        put(ring, row)
    return ring


def put(ring: ReplayRing, row: dict) -> None:
    final = {"policy": torch.where(row["ended"][:, None], row["final"], torch.nan)}
    ring.add(row["action"], row["reward"], row["terminated"], row["ended"], {"policy": row["obs"]}, final)


def expected(rows: list[dict], env: int, start: int, num_steps: int) -> tuple[float, float, torch.Tensor]:
    """Return, discount and successor by walking through the record."""
    total, t = 0.0, start
    for k in range(num_steps):
        t = start + k
        total += GAMMA**k * float(rows[t]["reward"][env])
        if rows[t]["ended"][env] or t == len(rows) - 1:
            break
    discount = 0.0 if rows[t]["terminated"][env] else GAMMA ** (t - start + 1)
    return total, discount, rows[t]["final" if rows[t]["ended"][env] else "obs"][env]


@pytest.mark.parametrize("num_steps", [1, 3, 8])
@pytest.mark.parametrize(("steps", "capacity", "end_every"), [(7, 20, 5), (20, 20, 5), (57, 20, 5), (60, 20, 1)])
def test_every_return_equals_the_one_walked_through(num_steps, steps, capacity, end_every):
    rows = history(steps, end_every)
    ring = written(rows, capacity)
    assert ring.size == min(steps, capacity)
    for env in range(N):
        for age in range(1, ring.size + 1):
            batch = ring.read(torch.tensor([env]), torch.tensor([age]), GAMMA, num_steps)
            start = steps - age
            total, discount, successor = expected(rows, env, start, num_steps)
            assert float(batch.reward) == pytest.approx(total, abs=1e-5)
            assert float(batch.discount) == pytest.approx(discount)
            assert torch.equal(batch.next_obs["policy"][0], successor)
            before = rows[start - 1]["obs"][env] if start else torch.zeros(4)
            assert torch.equal(batch.obs["policy"][0], before)
            assert torch.equal(batch.action[0], rows[start]["action"][env])


def test_a_truncated_end_counts_its_final_observation_and_a_terminated_one_nothing():
    rows = history(10)
    ring = written(rows, 20)
    ended = [(t, e) for t in range(10) for e in range(N) if rows[t]["ended"][e]]
    for t, env in ended:
        batch = ring.read(torch.tensor([env]), torch.tensor([10 - t]), GAMMA, 1)
        assert float(batch.discount) == (0.0 if rows[t]["terminated"][env] else pytest.approx(GAMMA))
        assert torch.equal(batch.next_obs["policy"][0], rows[t]["final"][env])
    assert {bool(rows[t]["terminated"][e]) for t, e in ended} == {True, False}


def test_minibatches_cover_all_envs():
    ring = ReplayRing(N, 20, {"policy": 1}, A, CPU)
    number = {"policy": torch.arange(N)[:, None].float()}
    ring.begin(number)
    none = torch.zeros(N, dtype=torch.bool)
    for _ in range(9):
        ring.add(torch.zeros(N, A), torch.zeros(N), none, none, number, number)
    batch = ring.sample(batches=4, each=2, gamma=GAMMA, num_steps=1)
    assert batch.obs["policy"].shape == (4, 6, 1)
    for minibatch in batch.obs["policy"]:
        assert torch.bincount(minibatch[:, 0].long()).tolist() == [2, 2, 2]


@pytest.mark.parametrize("steps", [6, 33])
def test_restored_ring_goes_on_as_the_first(steps):
    rows = history(steps + 30)
    ring = written(rows[:steps], 20)
    state = {k: v for k, v in ring.state_dict().items()}
    other = ReplayRing(N, 20, {"policy": 4}, A, CPU)
    other.load_state_dict(state)
    for row in rows[steps:]:
        put(other, row)
    for row in rows[steps:]:
        put(ring, row)
    env, age = torch.arange(N).repeat_interleave(20), torch.arange(1, 21).repeat(N)
    one, two = (r.read(env, age, GAMMA, 3) for r in (ring, other))
    for name in ("action", "reward", "discount"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert torch.equal(one.next_obs["policy"], two.next_obs["policy"])


def test_a_part_filled_ring_saves_only_what_it_holds():
    state = written(history(6), 1000).state_dict()
    assert state["columns"]["obs.policy"].untyped_storage().nbytes() == N * 7 * 4 * 4


def test_estimated_bytes_are_those_allocated():
    ring = ReplayRing(N, 31, {"policy": 4, "critic": 6}, A, CPU)
    tensors = [*ring._rings().values(), *ring._finals.values()]
    assert sum(t.nbytes for t in tensors) == ring_bytes(N, 31, 10, A)


def test_episodes_that_are_ended_lead_no_return_into_the_next_ones():
    rows = history(12)
    for row in rows:
        row["terminated"], row["ended"] = torch.zeros(N, dtype=torch.bool), torch.zeros(N, dtype=torch.bool)
    ring = written(rows[:6], 20)
    last, first = torch.full((N, 4), 7.0), torch.full((N, 4), -7.0)
    ring.end_episodes({"policy": last})
    ring.begin({"policy": first})
    put(ring, rows[6])
    env = torch.arange(N)
    batch = ring.read(env, torch.full((N,), 2), GAMMA, 3)
    assert torch.equal(batch.next_obs["policy"], last)
    assert torch.equal(batch.reward, rows[5]["reward"]) and torch.all(batch.discount == GAMMA)
    assert torch.equal(ring.read(env, torch.ones(N, dtype=torch.long), GAMMA, 3).obs["policy"], first)


@pytest.mark.parametrize(("rows", "sizes"), [(32, [32]), (33, [32, 1]), (64, [32, 32]), (80, [32, 32, 16]), (7, [7])])
def test_parts_of_a_batch_are_all_of_its_rows_in_order(rows, sizes):
    obs, following = {"policy": torch.randn(rows, 4)}, {"policy": torch.randn(rows, 4)}
    batch = Batch(obs, torch.randn(rows, A), torch.randn(rows), torch.rand(rows), following)
    parts = batch.parts(32)
    assert [len(part.reward) for part in parts] == sizes
    for name in ("action", "reward", "discount"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(batch, name))
    assert torch.equal(torch.cat([part.obs["policy"] for part in parts]), obs["policy"])
    assert torch.equal(torch.cat([part.next_obs["policy"] for part in parts]), following["policy"])


def test_parts_are_of_nearly_equal_size():
    rows = 1040
    batch = Batch({}, torch.zeros(rows, A), torch.zeros(rows), torch.zeros(rows), {})
    assert [len(part.reward) for part in batch.parts(1024)] == [528, 512]
