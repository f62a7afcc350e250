"""Read checkpoints of rsl_rl 2 to 5: weights by name, network size from their shapes.

Version 2 and 3 keep actor and critic in one `model_state_dict` (2.2.4: `actor.0.weight`, `std` or `log_std`, and
normalisers next to it), version 5 an `actor_state_dict`. Python objects in the file are never unpickled.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents import adoption
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.agents.rsl_rl.config import RunnerSection

RENAMED = {
    r"actor\.(\d+\.\w+)": r"mlp.\1",
    r"memory_a\.rnn\.(\w+)": r"rnn.rnn.\1",
    r"actor_obs_normalizer\.(\w+)": r"obs_normalizer.\1",
    r"std": "distribution.std_param",
    r"log_std": "distribution.log_std_param",
}
"""Names of version 2 and 3 -> names of version 5."""

OF_CRITIC = ("critic.", "memory_c.", "critic_obs_normalizer.")
KNOWN = re.compile(
    r"mlp\.\d+\.(weight|bias)|rnn\.rnn\.(weight|bias)_(ih|hh)_l\d+|obs_normalizer\.(_mean|_var|_std|count)"
    r"|distribution\.(log_)?std_param"
)
STD_TYPES = {"scalar": "std_param", "log": "log_std_param"}
GATES = {4: "lstm", 3: "gru"}
"""Rows of a recurrent weight for each hidden value -> its type."""


@dataclass
class LegacyPolicy:
    """An actor under the tensor names of version 5, and the sizes inferred from it.

    Attributes:
        state: name -> tensor.
        model: `class_name` and arguments of the model, except for its activation, which is not stored.
        num_observations: d.
        num_actions: A.
        iteration: updates it was trained for; None where the file does not state it.
    """

    state: dict[str, torch.Tensor]
    model: RunnerSection
    num_observations: int
    num_actions: int
    iteration: int | None

    @property
    def first_layer(self) -> str:
        """Name of the first weight (h, d)."""
        return "rnn.rnn.weight_ih_l0" if self.model["class_name"] == "RNNModel" else "mlp.0.weight"

    @property
    def last_layer(self) -> int:
        """Number of the output layer."""
        return 2 * len(self.model["hidden_dims"])


def read(path: Path) -> LegacyPolicy:
    """Read a checkpoint that rsl_rl's runner saved.

    Args:
        path: such as model_300.pt.

    Raises:
        CheckpointError: it is none, holds Python objects, or the network cannot be inferred.
    """
    saved = adoption.read(path, "rsl_rl")
    if "actor_state_dict" in saved:
        state = dict(saved["actor_state_dict"])
    else:
        state = _renamed(saved["model_state_dict"])
        state |= {f"obs_normalizer.{name}": value for name, value in (saved.get("obs_norm_state_dict") or {}).items()}
    checkpoint.require_weights(path, state, torch.isfinite, "actor")
    return _inferred(path, state, saved.get("iter"))


def _renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the actor's tensors of version 2 or 3 under the names of version 5."""
    renamed = {}
    for name, tensor in state.items():
        if not name.startswith(OF_CRITIC):
            fitting = [(old, new) for old, new in RENAMED.items() if re.fullmatch(old, name)]
            renamed[re.sub(*fitting[0], name) if fitting else name] = tensor
    return renamed


def _inferred(path: Path, state: dict[str, torch.Tensor], iteration: Any) -> LegacyPolicy:
    try:
        weights = _layers(state)
        model = {
            "class_name": "MLPModel",
            "hidden_dims": [len(weight) for weight in weights[:-1]],
            "obs_normalization": "obs_normalizer._mean" in state,
            "distribution_cfg": {"class_name": "GaussianDistribution", "std_type": _std_type(state)},
        }
        first = weights[0]
        if "rnn.rnn.weight_ih_l0" in state:
            model |= _recurrent(state)
            first = state["rnn.rnn.weight_ih_l0"]
    except ValueError as error:
        raise CheckpointError(f"The network of {path} cannot be inferred: {error}.") from error
    updates = iteration if isinstance(iteration, int) else None
    return LegacyPolicy(state, model, first.shape[1], len(weights[-1]), updates)


def _layers(state: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    """Return the weights (out, in) of the linear layers, first to last.

    Raises:
        ValueError: they are no chain of two or more, or something else is there.
    """
    if unknown := sorted(name for name in state if not KNOWN.fullmatch(name)):
        raise ValueError(f"it has {', '.join(unknown[:6])}, which belong to no plain or recurrent actor")
    numbers = sorted(int(name.split(".")[1]) for name in state if name.startswith("mlp.") and name.endswith("weight"))
    if len(numbers) < 2 or numbers != list(range(0, 2 * len(numbers), 2)):
        raise ValueError(f"its linear layers are number {numbers}, expected 0, 2, … with an activation after each")
    weights = [state[f"mlp.{number}.weight"] for number in numbers]
    for before, after in itertools.pairwise(weights):
        if after.shape[1] != before.shape[0]:
            raise ValueError(f"a layer gives {before.shape[0]} values and the next one takes {after.shape[1]}")
    return weights


def _std_type(state: dict[str, torch.Tensor]) -> str:
    kinds = [kind for kind, name in STD_TYPES.items() if f"distribution.{name}" in state]
    if len(kinds) != 1:
        raise ValueError("expected one standard deviation for each action, `std` or `log_std`")
    return kinds[0]


def _recurrent(state: dict[str, torch.Tensor]) -> RunnerSection:
    rows, hidden = state["rnn.rnn.weight_hh_l0"].shape
    if rows // hidden not in GATES:
        raise ValueError(f"its recurrent weights have {rows} rows for {hidden} hidden values")
    count = sum(name.startswith("rnn.rnn.weight_ih") for name in state)
    kind = {"class_name": "RNNModel", "rnn_type": GATES[rows // hidden]}
    return {**kind, "rnn_hidden_dim": hidden, "rnn_num_layers": count}
