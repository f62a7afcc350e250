"""The walk over the attributes of an object: what is saved, what is restored in place, what cannot be saved."""

from __future__ import annotations

import collections
import copy
import enum
import io
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from helpers.messages import raises_naming
from regimen.agents.runner.capture import Capture
from regimen.system.errors import CheckpointError


class Schedule:
    def __init__(self) -> None:
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


class Held:
    """Anything that an agent may hold."""

    def __init__(self, value: float = 0.0) -> None:
        self.number, self.text, self.nothing, self.flag = value, f"{value}", None, value > 0
        self.tensor = torch.full((3,), value)
        self.leaf = torch.tensor(value, requires_grad=True)
        self.array, self.scalar = np.full(2, value), np.float32(value)
        self.items = [value, (torch.full((2,), value), [value])]
        self.recent = collections.deque([value], maxlen=4)
        self.chosen = {int(value), 7}
        self.named = {"a": value, 3: {"b": torch.full((1,), value)}}
        self.layer = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        self.layer[0].calls = int(value)
        self.optimiser = torch.optim.Adam(self.layer.parameters())
        self.generator, self.numpy_generator = torch.Generator(), np.random.default_rng(int(value))
        self.generator.manual_seed(int(value))
        self.schedule = Schedule()
        self.schedule.step = int(value)
        self.inner = self.optimiser_twin = None
        self.method, self.kind = self.layer.forward, Held
        if value:
            nn.functional.mse_loss(self.layer(torch.randn(4, 2)), torch.zeros(4, 2)).backward()
            self.optimiser.step()
            self.layer.eval()


def round_trip(saved: dict) -> dict:
    """What a checkpoint holds of it."""
    file = io.BytesIO()
    torch.save(saved, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_everything_is_restored_and_stays_the_same_object():
    source, target = Held(5.0), Held()
    source.same = source.items
    source.itself = source
    held = {
        name: getattr(target, name) for name in ("tensor", "leaf", "layer", "optimiser", "generator", "named", "items")
    }
    capture = Capture((), ())
    capture.load(target, round_trip(capture.save(source)))
    assert capture.omitted == []
    for name, value in held.items():
        assert getattr(target, name) is value, name
    assert target.leaf.requires_grad and target.leaf.is_leaf
    for name in ("number", "text", "nothing", "flag", "recent", "chosen", "scalar"):
        assert getattr(target, name) == getattr(source, name), name
    assert type(target.scalar) is np.float32 and target.recent.maxlen == 4
    assert np.array_equal(target.array, source.array) and torch.equal(target.tensor, source.tensor)
    assert torch.equal(target.items[1][0], source.items[1][0]) and target.items[1][1] == [5.0]
    assert torch.equal(target.named[3]["b"], source.named[3]["b"])
    assert not target.layer[1].training and target.layer[0].calls == 5
    for own, other in zip(target.layer.state_dict().values(), source.layer.state_dict().values(), strict=True):
        assert torch.equal(own, other)
    assert target.optimiser.state_dict()["state"][0]["step"] == 1
    assert target.schedule.step == 5
    draws = [(torch.rand(3, generator=held.generator), held.numpy_generator.random()) for held in (source, target)]
    assert torch.equal(draws[0][0], draws[1][0]) and draws[0][1] == draws[1][1]


def test_a_saved_state_does_not_change_with_its_source():
    source = Held(2.0)
    capture = Capture((), ())
    saved = capture.save(source)
    kept = copy.deepcopy(saved["tensor"]), copy.deepcopy(saved["layer"][1])
    source.tensor.add_(1.0)
    with torch.no_grad():
        source.layer[0].weight.add_(1.0)
    assert torch.equal(saved["tensor"][1], kept[0][1])
    assert torch.equal(saved["layer"][1]["0.weight"], kept[1]["0.weight"])


class Phase(enum.Enum):
    WARM, ON = 0, 1


@dataclass(frozen=True)
class Stats:
    mean: torch.Tensor
    count: int = 0


class Key:
    """No key of a checkpoint."""


class Curious:
    def __init__(self) -> None:
        self.network, self.config, self.draws = nn.Linear(2, 2), {"scale": 1.0}, random.Random(0)
        self.stats = self.first = Stats(torch.zeros(1))
        self.phase, self.visits, self.table = Phase.WARM, {("hip", 1): 0.3}, {Key: "constant"}


class Library:
    """Stands for an agent of the library."""

    def __init__(self) -> None:
        self.network, self.helper = nn.Linear(2, 2), Curious()
        self.helper.alias = self.network


def test_a_helper_object_of_an_agent_is_restored_whatever_its_attributes_are_called_and_hold():
    source, target = Library(), Library()
    held = source.helper
    with torch.no_grad():
        held.network.weight.fill_(7.0)
        source.network.weight.fill_(7.0)
    held.config["scale"], held.phase, held.stats = 3.0, Phase.ON, Stats(torch.ones(1), 4)
    held.visits[("knee", 2)] = 5.0
    held.draws.random()
    capture = Capture((), (), ("network", "config"), Library.__module__.partition(".")[0])
    held.__class__ = type("Curious", (), {"__module__": "elsewhere", "__init__": Curious.__init__})
    capture.load(target, round_trip(capture.save(source)))
    made = target.helper
    assert torch.equal(made.network.weight, held.network.weight) and made.config == {"scale": 3.0}
    assert not torch.equal(target.network.weight, source.network.weight), "of the library, and of its alias"
    assert made.draws.random() == held.draws.random() and made.phase is Phase.ON
    assert made.stats.count == 4 and made.stats.mean.item() == 1.0 and made.first.mean.item() == 0.0
    assert made.visits == held.visits
    assert made.table == {Key: "constant"} and capture.omitted == ["Library.helper.table (keys)"]


def test_a_checkpoint_of_a_dict_without_tuples_as_keys_leaves_them():
    target = Curious()
    Capture((), ()).load(target, {"visits": ("dict", [["a", ("value", 2.0)]])})
    assert target.visits == {("hip", 1): 0.3, "a": 2.0}


def test_skipped_names_external_objects_and_what_cannot_be_saved():
    source = Held(1.0)
    source.env, source.stream, source.rows = object(), open(__file__), iter([1, 2])  # noqa: SIM115
    with source.stream:
        capture = Capture(["text"], [source.env])
        saved = capture.save(source)
    assert not {"text", "env", "stream", "rows", "method", "kind"} & saved.keys()
    assert capture.omitted == ["Held.stream", "Held.rows"]


def test_buffers_that_have_grown_and_tensors_of_another_shape():
    class Meter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(1))

    source, target = Held(), Held()
    source.meter, target.meter = Meter(), Meter()
    source.meter.mean = torch.ones(1, 1)
    source.tensor = torch.ones(5)
    capture = Capture((), ())
    capture.load(target, capture.save(source))
    assert target.meter.mean.shape == (1, 1) and target.tensor.shape == (5,)


def test_an_object_that_a_new_agent_lacks_is_named():
    source, target = Held(), Held()
    source.inner = Schedule()
    capture = Capture((), ())
    with raises_naming(CheckpointError, "Held.inner", "__init__"):
        capture.load(target, capture.save(source))


def test_an_object_that_an_agent_for_playing_lacks_is_left_out():
    source, target = Held(5.0), Held()
    source.inner, source.later = Schedule(), {"layer": nn.Linear(2, 2)}
    capture = Capture((), ())
    capture.load(target, capture.save(source), tolerate_absent=True)
    assert target.inner is None and target.number == 5.0


def test_another_architecture_is_named():
    source, target = Held(), Held()
    target.layer = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    capture = Capture((), ())
    with pytest.raises(CheckpointError, match=r"Held\.layer"):
        capture.load(target, capture.save(source))
