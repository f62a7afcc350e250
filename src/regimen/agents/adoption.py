"""Common parts of the conversions of checkpoints of other libraries: reading, sizes, order of joints, bundle.

Such a file holds weights, but names neither its observations nor its joints. The task gives the former, the user the
latter; after that the policy is checked by name like any other.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.term_binding import joint_terms
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.runs.checkpoint_header import LIBRARIES, library_of, library_of_file
from regimen.system import files
from regimen.system.errors import CheckpointError, ConfigError, IOMismatchError, did_you_mean
from regimen.system.file_kinds import ZIP, this_is

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

EXPECTED = {"rsl_rl": "model_state_dict or actor_state_dict", "skrl": "policy and value"}
"""Library whose checkpoints are read here -> keys that these have."""

AS_TASK = "task"
"""Instead of a list of joints: the order of the task."""


def require_file_of(path: Path, library: str) -> None:
    """Raise unless a file may be a checkpoint of a library; nothing in it is run.

    Args:
        path: the file.
        library: one of `LIBRARIES`.

    Raises:
        CheckpointError: it is missing, cut short or no checkpoint, or of another library: with the agent to type.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path} (from {Path.cwd()}).")
    if not zipfile.is_zipfile(path):
        kind = this_is(path, ZIP) or "Its end is missing. "
        raise CheckpointError(f"{path} is cut short or is no checkpoint. {kind}Torch writes them as zip files.")
    if (other := library_of_file(path)) not in (library, None):
        raise CheckpointError(f"{path} is a checkpoint of {other}, not of {library}: type agent={LIBRARIES[other]}.")


def read(path: Path, library: str) -> StateDict:
    """Return the content of a library's checkpoint, without running code.

    Args:
        path: the file.
        library: one of `EXPECTED`, whose checkpoints hold tensors and plain values only.

    Raises:
        CheckpointError: see `require_file_of`; or it holds Python objects, or has other keys.
    """
    require_file_of(path, library)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects beside its tensors, which could run code and are not read. Where it was "
            "made, save it without them: d = torch.load(path, weights_only=False); d['infos'] = None; torch.save(d, "
            "path)."
        ) from error
    except (RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path} is cut short or is no checkpoint: {error}.") from error
    if library_of(content) != library:
        keys = ", ".join(map(str, list(content)[:6])) if isinstance(content, dict) else type(content).__name__
        raise CheckpointError(f"{path} is no checkpoint of {library}: expected {EXPECTED[library]}, found {keys}.")
    return dict(content)


def require_sizes(path: Path, num_observations: int, num_actions: int, io: IOSpec, config: Config) -> None:
    """Raise unless a policy reads and writes as many values as the task has.

    Args:
        path: its file.
        num_observations: d.
        num_actions: A.
        io: observations and actions of the task.
        config: of the task.

    Raises:
        IOMismatchError: naming the task, its terms and joints.
    """
    task = " ".join(filter(None, [f"task={config.choices['task']}", _id(config)]))
    if num_observations != io.size():
        terms = " + ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
        raise IOMismatchError(
            f"{path} reads {num_observations} values, {task} offers {io.size()}: {terms}. Name a task whose "
            "observations are, term by term, those that the policy was trained with."
        )
    if num_actions != io.num_actions:
        raise IOMismatchError(
            f"{path} gives {num_actions} actions, {task} has {io.num_actions} joints: {', '.join(io.action.joints)}."
        )


def _id(config: Config) -> str:
    name = getattr(config.env, "id", None)
    return f"env.id={name}" if name else ""


def joint_order(words: list[str], io: IOSpec) -> list[str]:
    """Return the joints that were typed, those of the task where it was `task`."""
    return io.action.joints if words == [AS_TASK] else [joint.strip() for joint in words]


def permutation(io: IOSpec, joints: list[str], config: Config) -> tuple[list[int], list[int]] | None:
    """Return where each action, and each column of the observation, of the task is in a policy; None if unchanged.

    Args:
        io: of the task; its joints are the new order.
        joints: those of the policy, in its order.
        config: of the task.

    Raises:
        IOMismatchError: the joints are not those of the task.
        ConfigError: their order differs, and the observations of joints are not known.
    """
    if sorted(joints) != sorted(io.action.joints):
        raise IOMismatchError(f"--joints names {', '.join(joints)}; the task has {', '.join(io.action.joints)}.")
    if joints == io.action.joints:
        return None
    declared = joint_terms(config.env)
    return io.joint_permutation(joints, terms_of_joints(io) if declared is None else declared)


def terms_of_joints(io: IOSpec) -> list[str]:
    """Return the terms of the group `policy` with one value for each joint, by the meaning of an open environment.

    Raises:
        ConfigError: no term names its joints, as in a direct task, or one has other joints or another order than the
            action, or may have them unnamed.
    """
    meaning, found = io.meaning.get("policy", {}), []
    for name, size in io.observations["policy"].items():
        joints = meaning.get(name, {}).get("joints")
        if joints is None and ("bodies" in meaning.get(name, {}) or size % io.num_actions):
            continue
        if joints != io.action.joints:
            has = "has other joints than the action" if joints else "may belong to joints, which it does not name"
            raise ConfigError(f"The observation {name} {has}: --joints can only be `task`.")
        found.append(name)
    if not found:
        raise ConfigError("This task does not declare which observations belong to joints: use --joints task.")
    return found


def require_activation(key: str, name: Any, known: Sequence[str]) -> None:
    """Raise unless an activation is one that a library has.

    Args:
        key: its key.
        name: its value.
        known: names of the library.

    Raises:
        ConfigError: with the nearest name.
    """
    if name not in known:
        raise ConfigError(f"{key}={name}: no activation of that name. {did_you_mean(str(name), known)}")


def adopted_bundle(
    path: Path, agent: Any, io: IOSpec, policy: StateDict, joints: list[str], iteration: int | None
) -> PolicyBundle:
    """Return the checkpoint of a policy from a file of a library.

    Args:
        path: the file.
        agent: dataclass of the agent that loads the policy.
        io: of the task.
        policy: weights in the keys of the agent.
        joints: in the order of the file.
        iteration: updates, epochs or steps of its training; None where the file does not state them.
    """
    return {
        "format": checkpoint.FORMAT,
        "run": None,
        "step": None,
        "metric": None,
        "adopted": {"file": path.name, "sha256": files.sha256(path), "iteration": iteration, "joints": joints},
        "agent": asdict(agent),
        "io": io.to_dict(),
        "faults": [],
        "policy": policy,
    }
