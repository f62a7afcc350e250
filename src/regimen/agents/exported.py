"""A policy that was exported, ONNX or TorchScript, acting here again; it cannot learn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.agents.export.formats import open_network

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import IOSpec, Obs


@dataclass
class ExportedCfg:
    """Nothing to set: the file tells everything."""

    _target_: str = "regimen.agents.exported.Exported"


class Exported:
    """The action of an exported network, without memory."""

    def __init__(self, path: Path, inputs: list[str]) -> None:
        """Load the network of a file; `inputs` are the observation groups that it reads."""
        self.network, self.inputs = open_network(path), inputs

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the action (N, A) for the observations (N, d) of its groups."""
        return self.network([obs[group] for group in self.inputs])[0], None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Nothing to forget."""

    @classmethod
    def load_policy(cls, bundle: dict[str, Any], io: IOSpec, device: torch.device) -> Exported:
        """Return the policy of a bundle made by `export.reading`; the observations say the device."""
        return cls(Path(bundle["policy"]["path"]), bundle["policy"]["inputs"])
