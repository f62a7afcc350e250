"""Networks that compute torques, read from a TorchScript or ONNX file and checked before a simulator starts.

`python -m regimen.envs.actuators.network <file> <columns>` prints what is wrong, for a process that imports no torch.
"""

from __future__ import annotations

import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from regimen.system.errors import CheckpointError, ConfigError
from regimen.system.torchscript_code import require_network

ONNX_SUFFIX = ".onnx"
INSTEAD = "Save it as ONNX, or without these."

State = tuple[torch.Tensor, torch.Tensor]
"""Hidden and cell state of a recurrent network, (layers, B, width) each."""


class TorqueNetwork(Protocol):
    """A network of B joints.

    Attributes:
        memory: layers and width of the state of a recurrent network, whose input is (B, 1, columns); None for a
            feed-forward one, whose input is (B, columns).
    """

    memory: tuple[int, int] | None

    def __call__(self, inputs: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State | None]:
        """Return one value for each joint, of any shape with B values, and the next state."""
        ...


class TorchScriptNetwork:
    """A network in TorchScript: `forward(x)`, or `forward(x, (h, c))` that returns the torque and `(h, c)`."""

    def __init__(self, content: bytes, device: torch.device) -> None:
        """Load it; `content` is that of the file."""
        with _quiet():
            self._module = torch.jit.load(io.BytesIO(content), map_location=device).eval()
        arguments = len(self._module.forward.schema.arguments) - 1
        weights = [value for name, value in self._module.named_parameters() if "weight_hh_l" in name]
        if arguments not in (1, 2) or (arguments == 2) != bool(weights):
            raise ConfigError(
                f"its forward has {arguments} arguments and {len(weights)} recurrent layers; expected forward(x), or "
                "forward(x, (h, c)) of an LSTM."
            )
        self.memory = (len(weights), int(weights[0].shape[1])) if weights else None

    def __call__(self, inputs: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State | None]:
        """See `TorqueNetwork`."""
        with torch.no_grad():
            if state is None:
                return self._module(inputs), None
            torque, after = self._module(inputs, state)
            return torque, after


class OnnxNetwork:
    """A network in ONNX, run by onnxruntime on the CPU: inputs x, or x, h and c; outputs the torque, or it, h and c."""

    def __init__(self, content: bytes, device: torch.device) -> None:
        """Open a session with one thread; `content` is that of the file."""
        if importlib.util.find_spec("onnxruntime") is None:
            raise ConfigError(f"needs onnxruntime. Type: {sys.executable} -m pip install -e '.[onnx]'")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._inputs = [node.name for node in self._session.get_inputs()]
        outputs = len(self._session.get_outputs())
        if (len(self._inputs), outputs) not in ((1, 1), (3, 3)):
            raise ConfigError(
                f"it has {len(self._inputs)} inputs and {outputs} outputs; expected x and the torque, or x, h, c of an "
                "LSTM and the torque, h, c."
            )
        self.memory = None
        if len(self._inputs) == 3:
            layers, _, width = self._session.get_inputs()[1].shape
            self.memory = (int(layers), int(width))

    def __call__(self, inputs: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State | None]:
        """See `TorqueNetwork`."""
        arrays = [part.cpu().numpy() for part in (inputs, *(state or ()))]
        outputs = self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))
        torque, *after = (torch.from_numpy(value).to(inputs.device) for value in outputs)
        return torque, (after[0], after[1]) if after else None


def open_network(file: str, columns: int, device: torch.device) -> TorqueNetwork:
    """Return the network of a file, which maps B rows to B finite values.

    Args:
        file: ends in `.onnx`; any other is TorchScript.
        columns: of its input.
        device: of inputs and outputs.

    Raises:
        ConfigError: it does not exist, cannot be loaded, does more than a network, or has other inputs or outputs.
    """
    path = Path(file).expanduser()
    kind = OnnxNetwork if path.suffix == ONNX_SUFFIX else TorchScriptNetwork
    try:
        if kind is TorchScriptNetwork:
            require_network(path, INSTEAD)
        network: TorqueNetwork = kind(path.read_bytes(), device)
        _try(network, columns, device)
    except (ConfigError, CheckpointError, OSError) as error:
        raise ConfigError(f"{path}: {error}" if str(path) not in str(error) else str(error)) from error
    except Exception as error:  # whatever a runtime raises for a file of another kind or other inputs
        text = " ".join(str(error).split())[-300:]
        raise ConfigError(f"{path} is no network of {columns} inputs for each joint: {text}") from error
    return network


def _try(network: TorqueNetwork, columns: int, device: torch.device) -> None:
    """Run the network for two and for three joints, one of them twice: values belong to their own rows.

    Raises:
        ConfigError: another number of values, or one that is not finite.
    """
    for rows in (2, 3):
        inputs = torch.linspace(-0.1, 0.1, columns, device=device).repeat(rows, 1)
        inputs = inputs if network.memory is None else inputs[:, None]
        state = start_state(network, rows, device)
        torque, after = network(inputs, state)
        if torque.numel() != rows:
            raise ConfigError(f"it returns {tuple(torque.shape)} for {rows} joints; expected one value for each.")
        if not bool(torque.isfinite().all()):
            raise ConfigError("it returns values that are not finite.")
        if state is not None and (after is None or any(x.shape != y.shape for x, y in zip(state, after, strict=True))):
            raise ConfigError(f"it does not return its state h, c of shape {tuple(state[0].shape)}.")


def start_state(network: TorqueNetwork, rows: int, device: torch.device) -> State | None:
    """Return the state of a recurrent network before its first step, zeros for each of `rows` joints."""
    if network.memory is None:
        return None
    layers, width = network.memory
    return torch.zeros(layers, rows, width, device=device), torch.zeros(layers, rows, width, device=device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the deprecation warnings of TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def main(arguments: list[str]) -> Any:
    """Print what is wrong with a file, nothing if it is a network of the given number of columns."""
    try:
        open_network(arguments[0], int(arguments[1]), torch.device("cpu"))
    except ConfigError as error:
        print(error)


if __name__ == "__main__":
    main(sys.argv[1:])
