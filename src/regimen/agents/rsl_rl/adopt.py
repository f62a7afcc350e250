"""Convert checkpoints written by rsl_rl itself to policies of this project: `regimen adopt model_300.pt --joints …`.

Such a file names neither its observations nor its joints. The task gives the former, the user the latter; after that
the policy is checked by name like any other.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.agents.rsl_rl import foreign_checkpoint
from regimen.agents.rsl_rl.build import build_actor
from regimen.agents.rsl_rl.config import RslRlPpoCfg
from regimen.agents.rsl_rl.foreign_checkpoint import LegacyPolicy
from regimen.agents.rsl_rl.policy import load_actor
from regimen.envs.term_binding import joint_terms
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system import files
from regimen.system.errors import ConfigError, IOMismatchError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.runs.checkpoint_header import PolicyBundle

AS_TASK = "task"
"""Instead of a list of joints: the order of the task."""


def adopt(path: Path, config: Config, io: IOSpec, joints: list[str]) -> tuple[PolicyBundle, LegacyPolicy]:
    """Return the bundle of a checkpoint with the policy of an rsl_rl file, and the content of that file.

    Args:
        path: the file.
        config: its task, and the agent, whose `actor.activation` is that of the policy.
        io: observations and actions of the task.
        joints: in the order in which the policy was trained with them.

    Raises:
        CheckpointError: see `foreign_checkpoint.read`.
        IOMismatchError: it reads or writes other numbers of values than the task, or moves other joints.
    """
    old = foreign_checkpoint.read(path)
    require_sizes(path, old, io)
    reorder(old, io, joints, joint_terms(config.env))
    actor = {"activation": config.agent.actor["activation"], **old.model}
    agent = RslRlPpoCfg(**{**asdict(config.agent), "actor": actor})
    load_actor(build_actor(agent, io, torch.device("cpu")), {"actor": old.state})
    adopted = {"file": path.name, "sha256": files.sha256(path), "iteration": old.iteration, "joints": joints}
    bundle: PolicyBundle = {
        "format": checkpoint.FORMAT,
        "run": None,
        "step": None,
        "metric": None,
        "adopted": adopted,
        "agent": asdict(agent),
        "io": io.to_dict(),
        "faults": [],
        "policy": {"actor": old.state},
    }
    return bundle, old


def require_sizes(path: Path, old: LegacyPolicy, io: IOSpec) -> None:
    """Raise unless the policy reads and writes as many values as the task has.

    Raises:
        IOMismatchError: naming the task's terms and joints.
    """
    if old.num_observations != io.size():
        terms = " + ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
        raise IOMismatchError(
            f"{path} reads {old.num_observations} values, the task offers {io.size()}: {terms}. Name a task whose "
            "observations are, term by term, those that the policy was trained with."
        )
    if old.num_actions != io.num_actions:
        raise IOMismatchError(f"{path} gives {old.num_actions} actions, the task has {io.num_actions} joints.")


def reorder(old: LegacyPolicy, io: IOSpec, joints: list[str], terms: list[str] | None) -> None:
    """Put the columns and rows of a policy's weights that belong to joints into the task's order, in place.

    Args:
        old: the policy.
        io: the task's; its joints are the new order.
        joints: the old order.
        terms: observation terms with one value a joint; None where the task does not name them.

    Raises:
        IOMismatchError: the joints are not those of the task.
        ConfigError: their order differs, and the observations of joints are not known.
    """
    new = io.action.joints
    if sorted(joints) != sorted(new):
        raise IOMismatchError(f"--joints names {', '.join(joints)}; the task has {', '.join(new)}.")
    if joints == new:
        return
    if terms is None:
        raise ConfigError("This task does not declare which observations belong to joints: use --joints task.")
    order, columns = io.joint_permutation(joints, terms)
    for name, tensor in old.state.items():
        if name in (old.first_layer, *(f"obs_normalizer.{part}" for part in ("_mean", "_var", "_std"))):
            old.state[name] = tensor[..., columns]
        elif name.startswith((f"mlp.{old.last_layer}.", "distribution.")):
            old.state[name] = tensor[order]


def io_of(config: Config) -> IOSpec:
    """Return observations and actions of a task, known only once it is open."""
    from regimen.envs.conformance.check import factory

    env = factory(config)(1)
    env.close()
    return env.io


def joint_order(words: list[str], io: IOSpec) -> list[str]:
    """Return the joints that were typed, those of the task where it was `task`."""
    return io.action.joints if words == [AS_TASK] else [joint.strip() for joint in words]
