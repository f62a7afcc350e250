"""The export formats ONNX and TorchScript: write a network, and run it."""

from __future__ import annotations

import io as streams
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from regimen.agents.export.header import EXTRA, PolicyDescription, require_runtime
from regimen.system.torchscript_code import require_network

if TYPE_CHECKING:
    from torch import nn


class Network(Protocol):
    """An exported network that acts: a tensor (N, …) for each input -> actions (N, A), targets (N, A), next state."""

    def __call__(self, inputs: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Act."""
        ...


class Onnx:
    """A network in ONNX, run by onnxruntime on the CPU."""

    SUFFIX = ".onnx"

    def __init__(self, source: bytes | str) -> None:
        """Open a session with one thread, which is fastest for some hundred rows.

        Args:
            source: the file's content, or its path.
        """
        require_runtime()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return actions, targets and the next state on the device of the inputs."""
        arrays = [value.cpu().numpy() for value in inputs]
        outputs = self._session.run(None, dict(zip(self._inputs, arrays, strict=True)))
        return [torch.from_numpy(value).to(inputs[0].device) for value in outputs]

    @staticmethod
    def traced(network: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str]) -> Any:
        """Return the network as a model of the format.

        Args:
            network: to export.
            inputs: name -> example, (N, …).
            outputs: names.
        """
        sizes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
        with _quiet():
            program = torch.onnx.export(
                network, tuple(inputs.values()), input_names=list(inputs), output_names=outputs, dynamo=True,
                dynamic_shapes=(sizes,), verbose=False,
            )  # fmt: skip
        assert program is not None
        model = program.model_proto  # a new object at each access
        _delete_source_paths(model)
        return model

    @staticmethod
    def content(model: Any, description: PolicyDescription) -> bytes:
        """Return the file content of a traced model with its description."""
        import onnx

        onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in description.to_dict().items()})
        return bytes(model.SerializeToString())

    @staticmethod
    def runtime() -> str:
        """Return name and version of the runtime."""
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"


class TorchScript:
    """A network in TorchScript, run by libtorch."""

    SUFFIX = ".torchscript.pt"

    def __init__(self, source: bytes | str) -> None:
        """Load it; `source` is the file's content, or its path."""
        with _quiet():
            self._module = torch.jit.load(streams.BytesIO(source) if isinstance(source, bytes) else source)

    def __call__(self, inputs: list[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Return actions, targets and the next state on the device of the inputs."""
        self._module.to(inputs[0].device)
        outputs: tuple[torch.Tensor, ...] = self._module(*inputs)
        return outputs

    @staticmethod
    def traced(network: nn.Module, inputs: dict[str, torch.Tensor], outputs: list[str]) -> Any:
        """Return the network as a model of the format; see `Onnx.traced`."""
        with _quiet(), torch.no_grad():
            return torch.jit.trace(network, tuple(inputs.values()))

    @staticmethod
    def content(model: Any, description: PolicyDescription) -> bytes:
        """Return the file content of a traced model with its description."""
        target = streams.BytesIO()
        with _quiet():
            torch.jit.save(model, target, _extra_files={EXTRA: json.dumps(description.to_dict(), indent=1)})
        return target.getvalue()

    @staticmethod
    def runtime() -> str:
        """Return name and version of the runtime."""
        return f"libtorch {torch.__version__}"


FORMATS: dict[str, type[Onnx] | type[TorchScript]] = {"onnx": Onnx, "torchscript": TorchScript}


def open_network(path: Path) -> Network:
    """Return the network of an exported file.

    Raises:
        CheckpointError: a TorchScript file whose program does more than a network.
    """
    if path.suffix == Onnx.SUFFIX:
        return Onnx(str(path))
    require_network(path, "Export the policy again: regimen export <run> format=onnx")
    return TorchScript(str(path))


def _delete_source_paths(model: Any) -> None:
    """Delete the exporter's metadata: the source lines of each node, with paths of this machine."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the warnings of TorchScript and the log of the exporter; what they concern is found by the check."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for kind in (DeprecationWarning, FutureWarning, UserWarning, torch.jit.TracerWarning):
                warnings.simplefilter("ignore", kind)
            yield
    finally:
        log.setLevel(level)
