"""Random generators of an environment that draws from the process's global ones, kept apart from those of the agent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict


class RandomState:
    """States of the global generators of torch, NumPy and Python that belong to one environment.

    Within `own` the global generators continue from these states; afterwards they are again as they were. So what an
    agent draws changes nothing in the environment, and the reverse.
    """

    def __init__(self, device: torch.device) -> None:
        """Start from the present states of the global generators, on the CPU and on `device`."""
        self.device = device
        self.states = self._read()

    @contextmanager
    def own(self) -> Iterator[None]:
        """Let the global generators be those of the environment."""
        outer = self._read()
        self._write(self.states)
        try:
            yield
        finally:
            self.states = self._read()
            self._write(outer)

    def _read(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "torch": torch.get_rng_state(),
            "numpy": np.random.get_state(),
            "python": random.getstate(),
        }
        if self.device.type == "cuda":
            found["cuda"] = torch.cuda.get_rng_state(self.device)
        return found

    def _write(self, states: dict[str, Any]) -> None:
        torch.set_rng_state(states["torch"])
        np.random.set_state(states["numpy"])
        random.setstate(states["python"])
        if "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"], self.device)

    def state_dict(self) -> StateDict:
        """Return the states as tensors and plain values."""
        name, keys, position, has_gauss, gauss = self.states["numpy"]
        version, words, following = self.states["python"]
        found: dict[str, Any] = {key: self.states[key].clone() for key in ("torch", "cuda") if key in self.states}
        numpy_state = {"keys": torch.from_numpy(keys.astype(np.int64)), "position": position}
        found["numpy"] = numpy_state | {"name": str(name), "has_gauss": has_gauss, "gauss": gauss}
        found["python"] = {"version": version, "words": torch.tensor(words), "next": following}
        return found

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        drawn, python = state["numpy"], state["python"]
        keys = drawn["keys"].numpy().astype(np.uint32)
        self.states = {key: state[key].clone() for key in ("torch", "cuda") if key in state}
        self.states["numpy"] = (drawn["name"], keys, drawn["position"], drawn["has_gauss"], drawn["gauss"])
        self.states["python"] = (python["version"], tuple(python["words"].tolist()), python["next"])
