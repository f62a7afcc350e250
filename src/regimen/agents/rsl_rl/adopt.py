"""Makes a policy of this project of a checkpoint that rsl_rl itself wrote: `regimen adopt model_300.pt --joints …`.

Such a file says neither what its observations are nor which joint an action moves. The task says the first, the user
the second; from then on the policy is checked by name like any other.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.rsl_rl import foreign_checkpoint
from regimen.agents.rsl_rl.build import build_actor
from regimen.agents.rsl_rl.foreign_checkpoint import LegacyPolicy
from regimen.agents.rsl_rl.policy import load_actor
from regimen.agents.rsl_rl.ppo import RslRlPpoCfg
from regimen.envs.term_binding import joint_terms
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system import files
from regimen.system.errors import ConfigError, IOMismatchError

if TYPE_CHECKING:
    from regimen.config.schema import Config

AS_TASK = "task"
"""Instead of a list of joints: they are in the task's order."""


def adopt(path: Path, config: Config, io: IOSpec, joints: list[str]) -> tuple[dict[str, Any], LegacyPolicy]:
    """Return a checkpoint's bundle with the policy of a file of rsl_rl, and what was read from it.

    Args:
        path: the file.
        config: the task it is for, and the agent, whose `actor.activation` was its own.
        io: what the task offers.
        joints: in the order in which the policy was trained with them.

    Raises:
        CheckpointError: see `rsl_rl_legacy.read`.
        IOMismatchError: it reads or writes other numbers of values than the task, or moves other joints.
    """
    old = foreign_checkpoint.read(path)
    require_sizes(path, old, io)
    reorder(old, io, joints, joint_terms(config.env))
    actor = {"activation": config.agent.actor["activation"], **old.model}
    agent = RslRlPpoCfg(**{**asdict(config.agent), "actor": actor})
    load_actor(build_actor(agent, io, torch.device("cpu")), {"actor": old.state})
    adopted = {"file": path.name, "sha256": files.sha256(path), "iteration": old.iteration, "joints": joints}
    bundle = {"format": checkpoint.FORMAT, "run": None, "step": None, "metric": None, "adopted": adopted}
    return bundle | {"agent": asdict(agent), "io": io.to_dict(), "faults": [], "policy": {"actor": old.state}}, old


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
        terms: observation terms with one value a joint, None where the task does not tell them.

    Raises:
        IOMismatchError: the joints are not those of the task.
        ConfigError: their order differs, and which observations belong to joints is not known.
    """
    new = io.action.joints
    if sorted(joints) != sorted(new):
        raise IOMismatchError(f"--joints names {', '.join(joints)}; the task has {', '.join(new)}.")
    if joints == new:
        return
    if terms is None:
        raise ConfigError("This task does not tell which of its observations belong to joints: --joints task.")
    order, columns, start = [joints.index(joint) for joint in new], list(range(io.size())), 0
    for term, size in io.observations["policy"].items():
        if term in terms:
            if size != len(new):
                raise ConfigError(f"{term} has {size} values, one for some of the joints only: --joints task.")
            columns[start : start + size] = [start + k for k in order]
        start += size
    for name, tensor in old.state.items():
        if name in (old.first_layer, *(f"obs_normalizer.{part}" for part in ("_mean", "_var", "_std"))):
            old.state[name] = tensor[..., columns]
        elif name.startswith((f"mlp.{old.last_layer}.", "distribution.")):
            old.state[name] = tensor[order]


def io_of(config: Config) -> IOSpec:
    """Return what a task offers, which is known for sure only once it is open."""
    from regimen.envs.conformance.check import factory

    env = factory(config)(1)
    env.close()
    return env.io


def joint_order(words: list[str], io: IOSpec) -> list[str]:
    """Return the joints that were typed, those of the task where it was `task`."""
    return io.action.joints if words == [AS_TASK] else [joint.strip() for joint in words]


def adopt_verb(argv: list[str]) -> int:
    """Make policies of files that rsl_rl wrote: `regimen adopt model_300.pt --joints task task=<name>`.

    Args:
        argv: the arguments after the verb.
    """
    from regimen.config.compose import compose_config

    parser = argparse.ArgumentParser(prog="regimen adopt", description=adopt_verb.__doc__)
    parser.add_argument("arguments", nargs="+", help="files, and overrides as for launch.py, such as task=go2_flat")
    parser.add_argument("--joints", required=True, help="their order in the policy, separated by commas; or `task`")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    args = parser.parse_intermixed_args(argv)
    overrides = [argument for argument in args.arguments if "=" in argument]
    config = compose_config(["agent=rsl_rl_ppo", *overrides], args.config_dir)
    io = io_of(config)
    joints = joint_order(args.joints.split(","), io)
    for path in [Path(argument) for argument in args.arguments if "=" not in argument]:
        bundle, old = adopt(path, config, io, joints)
        target = path.with_suffix(".policy.pt")
        checkpoint.save(target, bundle)
        print(_account(target, bundle, old, io))
    return 0


def _account(target: Path, bundle: dict[str, Any], old: LegacyPolicy, io: IOSpec) -> str:
    """Return what was found, and what was taken on trust."""
    actor = bundle["agent"]["actor"]
    kind = f"{actor['rnn_type']} {actor['rnn_hidden_dim']}, then " if "rnn_type" in actor else ""
    found = [
        f"layers {kind}{'-'.join(map(str, actor['hidden_dims']))}",
        f"observations {'normalised' if actor['obs_normalization'] else 'as they are'}",
        *([] if old.iteration is None else [f"iteration {old.iteration}"]),
    ]
    terms = ", ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
    return "\n".join(
        [
            f"{target}: {', '.join(found)}",
            f"  taken on trust: activation {actor['activation']}; observations {terms};",
            f"  joints {', '.join(bundle['adopted']['joints'])}; scale and zero of the actions as in the task",
        ]
    )
