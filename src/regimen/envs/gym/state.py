"""Full state of one Gymnasium environment as plain data: generator, attributes, and MuJoCo's state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict

PLAIN = (bool, int, float, str, type(None))

LAGGING = ("xpos", "xquat", "xmat", "xipos", "subtree_com", "cinert", "cvel", "cfrc_ext", "qfrc_actuator", "site_xpos")
"""Fields of MuJoCo's data that a task may read before its next step, computed in the last one."""


class EnvState:
    """Reads and writes the state of an environment that keeps it in arrays and numbers."""

    def __init__(self, env: Any) -> None:
        """Take an environment without its wrappers."""
        self.env = env

    def read(self) -> StateDict:
        """Return the state as tensors and plain values."""
        held = {k: v for k, v in vars(self.env).items() if isinstance(v, (*PLAIN, np.ndarray, np.generic))}
        return {"attributes": {k: _pack(v) for k, v in held.items()}, "random": self.env.np_random.bit_generator.state}

    def write(self, state: StateDict) -> None:
        """Restore what `read` returned."""
        for name, value in state["attributes"].items():
            setattr(self.env, name, _unpack(value))
        self.env.np_random.bit_generator.state = state["random"]


class MujocoState(EnvState):
    """The same with the simulator's state."""

    def read(self) -> StateDict:
        """Return the state as tensors and plain values."""
        import mujoco

        model, data, kind = self.env.model, self.env.data, mujoco.mjtState.mjSTATE_INTEGRATION
        whole = np.zeros(mujoco.mj_stateSize(model, kind))
        mujoco.mj_getState(model, data, whole, kind)
        lagging = {name: _pack(getattr(data, name)) for name in LAGGING}
        return {**super().read(), "simulator": _pack(whole), "lagging": lagging}

    def write(self, state: StateDict) -> None:
        """Restore what `read` returned."""
        import mujoco

        super().write(state)
        whole = state["simulator"].numpy()
        mujoco.mj_setState(self.env.model, self.env.data, whole, mujoco.mjtState.mjSTATE_INTEGRATION)
        for name, value in state["lagging"].items():
            getattr(self.env.data, name)[:] = value.numpy()


def state_of(env: Any) -> EnvState | None:
    """Return the reader and writer of the state of `env`; None where the state may be incomplete."""
    inner = env.unwrapped
    module = type(inner).__module__
    if module.startswith("gymnasium.envs.classic_control."):
        return EnvState(inner)
    return MujocoState(inner) if module.startswith("gymnasium.envs.mujoco.") else None


def _pack(value: Any) -> Any:
    """Return an array as a new tensor, for a checkpoint."""
    return torch.tensor(value) if isinstance(value, np.ndarray | np.generic) else value


def _unpack(value: Any) -> Any:
    """Return a new array, or a numpy scalar for a tensor without dimensions."""
    return value.numpy().copy()[()] if isinstance(value, torch.Tensor) else value
