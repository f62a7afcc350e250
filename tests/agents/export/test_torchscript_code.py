"""A TorchScript file is loaded only if its program is a network."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from helpers.messages import raises_naming
from regimen.agents.export.formats import open_network
from regimen.system.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class WritesWhenLoaded(torch.nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    @torch.jit.export
    def __getstate__(self):
        return (self.path, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]):
        self.path = state[0]
        self.training = state[1]
        torch.from_file(self.path, True, 8, dtype=torch.uint8).fill_(65)

    def forward(self, x):
        return x, x


class WritesWhenCalled(torch.nn.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def forward(self, x):
        return x + torch.from_file(self.path, True, 8, dtype=torch.uint8).fill_(65), x


@pytest.mark.parametrize(("kind", "named"), [(WritesWhenLoaded, "__setstate__"), (WritesWhenCalled, "torch.from_file")])
def test_a_program_that_opens_files_is_refused_before_it_runs(tmp_path: Path, kind: type, named: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    torch.jit.save(torch.jit.script(kind(str(victim))), str(tmp_path / "evil.torchscript.pt"))
    with raises_naming(CheckpointError, named, "evil.torchscript.pt", "onnx"):
        open_network(tmp_path / "evil.torchscript.pt")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text"])
def test_damage_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.torchscript.pt").write_bytes(content)
    with raises_naming(CheckpointError, "policy.torchscript.pt"):
        open_network(tmp_path / "policy.torchscript.pt")


@pytest.mark.parametrize(
    "network",
    [
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ELU(), torch.nn.LayerNorm(4), torch.nn.Tanh()),
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.SiLU(), torch.nn.Linear(4, 2), torch.nn.Softmax(-1)),
        torch.nn.Sequential(torch.nn.Unflatten(1, (1, 3)), torch.nn.Conv1d(1, 2, 2), torch.nn.GELU()),
    ],
)
def test_networks_are_loaded(tmp_path: Path, network: torch.nn.Module) -> None:
    path = tmp_path / "policy.torchscript.pt"
    torch.jit.save(torch.jit.trace(network, torch.zeros(2, 3)), str(path))
    assert open_network(path) is not None


class Alias(torch.nn.Module):
    def forward(self, x):
        return x.relu(), x


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ("f = torch.from_file\n    return (f(x), x)", "torch.from_file"),
        ("f = torch\n    return (f.from_file(x), x)", "torch"),
        ("f = x.save\n    return (f(x), x)", "f"),
        ('return (x.save("file"), x)', "x.save"),
        ("f = __torch__.torch.classes.files.Writer\n    return (f(x), x)", "f"),
    ],
)
def test_an_operator_by_another_name_is_refused(tmp_path: Path, source: str, named: str) -> None:
    """A source that was written by hand, in the archive of a network."""
    file, forged = tmp_path / "network.torchscript.pt", tmp_path / "forged.torchscript.pt"
    torch.jit.save(torch.jit.script(Alias()), str(file))
    open_network(file)
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(forged, "w") as copy:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith(".py"):
                head = content.decode().split("Tuple[Tensor, Tensor]:")[0]
                content = f"{head}Tuple[Tensor, Tensor]:\n    {source}\n".encode()
            copy.writestr(name, content)
    with raises_naming(CheckpointError, named, "forged.torchscript.pt"):
        open_network(forged)
