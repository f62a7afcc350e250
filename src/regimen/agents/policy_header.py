"""Plain values of a policy file, read without torch: of a checkpoint or of an exported policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.export import header
from regimen.config.targets import require_declared
from regimen.runs import checkpoint_header

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import PolicyBundle


def read_header(path: Path) -> PolicyBundle:
    """Return the plain values of a policy, its tensors left out.

    Args:
        path: checkpoint, or ONNX or TorchScript file of `regimen export`.

    Raises:
        CheckpointError: the file is no policy of this project.
        PreflightError: the file is ONNX, and onnxruntime is not installed.
    """
    return header.bundle(path) if header.is_exported(path) else checkpoint_header.read_plain(path)


def require_declared_agents(bundle: PolicyBundle, path: Path) -> None:
    """Raise if a policy, or a part of an assembled one, names an agent that is not code of the user.

    Args:
        bundle: at least its plain values.
        path: its file.

    Raises:
        CheckpointError: see `targets.require_declared`.
    """
    policy = bundle.get("policy")
    parts = policy.get("parts") if isinstance(policy, dict) else None
    for part in (bundle, *(parts if isinstance(parts, list) else ())):
        agent = part.get("agent") if isinstance(part, dict) else None
        if isinstance(agent, dict) and isinstance(agent.get("_target_"), str):
            require_declared(agent["_target_"], path)
