"""Files of networks: which are loaded, and what is wrong with the others, by their names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from helpers.messages import raises_naming
from helpers.torque_networks import LstmNetwork, PdNetwork, save, save_lstm_onnx, save_pd_onnx
from regimen.envs.actuators.network import main, open_network
from regimen.system.errors import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
CPU = torch.device("cpu")


class Divides(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] / torch.zeros_like(x[:, 0])


class ReadsFiles(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0] + torch.from_file("file", False, 1)


def test_feed_forward_and_recurrent_files_are_loaded(tmp_path: Path) -> None:
    lstm = LstmNetwork()
    for file, columns, memory in (
        (save(PdNetwork(1.0, 1.0, 3), tmp_path / "pd.pt"), 6, None),
        (save_pd_onnx(1.0, 1.0, tmp_path / "pd.onnx"), 2, None),
        (save(lstm, tmp_path / "lstm.pt"), 2, (2, 4)),
        (save_lstm_onnx(lstm, tmp_path / "lstm.onnx"), 2, (2, 4)),
    ):
        assert open_network(str(file), columns, CPU).memory == memory


def test_other_files_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.pt").write_text("text")
    (tmp_path / "text.onnx").write_text("text")
    for file, columns, names in (
        (tmp_path / "none.pt", 2, []),
        (tmp_path / "text.pt", 2, []),
        (tmp_path / "text.onnx", 2, []),
        (save(torch.nn.Linear(2, 3), tmp_path / "wide.pt"), 2, ["2", "3"]),
        (save(PdNetwork(1.0, 1.0, 1), tmp_path / "pd.pt"), 4, ["4"]),
        (save_pd_onnx(1.0, 1.0, tmp_path / "pd.onnx"), 4, ["4"]),
        (save(Divides(), tmp_path / "divides.pt"), 2, []),
        (save(ReadsFiles(), tmp_path / "reads.pt"), 2, ["torch.from_file"]),
    ):
        with raises_naming(ConfigError, str(file), *names):
            open_network(str(file), columns, CPU)
        main([str(file), str(columns)])
        assert file.name in capsys.readouterr().out
