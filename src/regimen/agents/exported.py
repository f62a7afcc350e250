"""An exported policy, ONNX or TorchScript, as a policy; it cannot be trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from regimen.agents.export.formats import open_network

if TYPE_CHECKING:
    import torch

    from regimen.envs.vec_env import IOSpec, Obs
    from regimen.runs.checkpoint_header import PolicyBundle


@dataclass
class ExportedCfg:
    """No settings: the file has the description."""

    POLICY_FORMAT: ClassVar[str] = "exported"
    _target_: str = "regimen.agents.exported.Exported"


class Exported:
    """A policy that returns the action of an exported network."""

    def __init__(self, path: Path, inputs: list[str]) -> None:
        """Load the network of a file; `inputs` are the observation groups that it reads."""
        self.network, self.inputs = open_network(path), inputs

    def act(self, obs: Obs, state: None) -> tuple[torch.Tensor, None]:
        """Return the action (N, A) for the observations (N, d) of its groups."""
        return self.network([obs[group] for group in self.inputs])[0], None

    def reset(self, state: None, env_ids: torch.Tensor) -> None:
        """Do nothing: the policy has no state."""

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> Exported:
        """Return the policy of a bundle made by `export.header`; it uses the device of the observations."""
        return cls(Path(bundle["policy"]["path"]), bundle["policy"]["inputs"])
