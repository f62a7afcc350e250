"""Networks that compute the torque of an ideal PD, and an LSTM, as TorchScript and ONNX files."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

HIDDEN = 4


class PdNetwork(torch.nn.Module):
    """Torque of a PD: of (B, 2 · moments) it reads the first error and the first velocity."""

    def __init__(self, stiffness: float, damping: float, moments: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2 * moments, 1, bias=False)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[0, 0], self.layer.weight[0, moments] = stiffness, -damping

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class LstmNetwork(torch.nn.Module):
    """Torque of (B, 1, 2) and a state."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lstm = torch.nn.LSTM(2, HIDDEN, num_layers=2, batch_first=True)
        self.out = torch.nn.Linear(HIDDEN, 1)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        y, after = self.lstm(x, state)
        return self.out(y[:, 0]), after


def save(network: torch.nn.Module, file: Path) -> Path:
    """Write a network as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(network), str(file))
    return file


def save_pd_onnx(stiffness: float, damping: float, file: Path) -> Path:
    """Write the PD of one moment as ONNX: a product with a constant."""
    import onnx
    from onnx import TensorProto, helper

    weights = helper.make_tensor("w", TensorProto.FLOAT, (2, 1), [stiffness, -damping])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["torque"])],
        "pd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("joints", 2))],
        [helper.make_tensor_value_info("torque", TensorProto.FLOAT, ("joints", 1))],
        [weights],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file


def save_lstm_onnx(network: LstmNetwork, file: Path) -> Path:
    """Write an LSTM as ONNX with the inputs x, h, c and the outputs torque, h, c."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes, constants, h_out, c_out = [], [], [], []
    nodes.append(helper.make_node("Transpose", ["x"], ["y0"], perm=[1, 0, 2]))
    for layer in range(2):
        # ONNX orders the gates i, o, f, c; torch i, f, g, o
        order = [0, 3, 1, 2]

        def gates(values: torch.Tensor, order: list[int] = order) -> torch.Tensor:
            return torch.cat([values.chunk(4)[gate] for gate in order])

        own = dict(network.lstm.named_parameters())
        w, r = gates(own[f"weight_ih_l{layer}"]), gates(own[f"weight_hh_l{layer}"])
        b = torch.cat((gates(own[f"bias_ih_l{layer}"]), gates(own[f"bias_hh_l{layer}"])))
        for name, value in (("w", w), ("r", r), ("b", b)):
            constants.append(numpy_helper.from_array(value.detach()[None].numpy(), f"{name}{layer}"))
        constants.append(numpy_helper.from_array(torch.tensor([layer]).numpy(), f"i{layer}"))
        nodes += [helper.make_node("Gather", [s, f"i{layer}"], [f"{s}{layer}"], axis=0) for s in ("h", "c")]
        inputs = [f"y{layer}", f"w{layer}", f"r{layer}", f"b{layer}", "", f"h{layer}", f"c{layer}"]
        outputs = [f"z{layer}", f"h{layer}_out", f"c{layer}_out"]
        nodes.append(helper.make_node("LSTM", inputs, outputs, hidden_size=HIDDEN))
        constants.append(numpy_helper.from_array(torch.tensor([1]).numpy(), f"a{layer}"))
        nodes.append(helper.make_node("Squeeze", [f"z{layer}", f"a{layer}"], [f"y{layer + 1}"]))
        h_out.append(f"h{layer}_out")
        c_out.append(f"c{layer}_out")
    constants += [
        numpy_helper.from_array(network.out.weight.detach().t().contiguous().numpy(), "out_w"),
        numpy_helper.from_array(network.out.bias.detach().numpy(), "out_b"),
        numpy_helper.from_array(torch.tensor([0]).numpy(), "zero"),
    ]
    nodes += [
        helper.make_node("Squeeze", ["y2", "zero"], ["flat"]),
        helper.make_node("MatMul", ["flat", "out_w"], ["product"]),
        helper.make_node("Add", ["product", "out_b"], ["torque"]),
        helper.make_node("Concat", h_out, ["h_next"], axis=0),
        helper.make_node("Concat", c_out, ["c_next"], axis=0),
    ]
    state = (2, "joints", HIDDEN)
    graph = helper.make_graph(
        nodes,
        "lstm",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ("joints", 1, 2)),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, state),
        ],
        [
            helper.make_tensor_value_info("torque", TensorProto.FLOAT, ("joints", 1)),
            helper.make_tensor_value_info("h_next", TensorProto.FLOAT, state),
            helper.make_tensor_value_info("c_next", TensorProto.FLOAT, state),
        ],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(file))
    return file
