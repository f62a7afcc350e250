"""`regimen adopt`: write policies from checkpoints that rsl_rl itself wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents.rsl_rl import adopt
from regimen.agents.rsl_rl.foreign_checkpoint import LegacyPolicy
from regimen.config.compose import compose_config
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import PolicyBundle


def adopt_verb(argv: list[str]) -> int:
    """Write policies from checkpoints of rsl_rl: `regimen adopt model_300.pt --joints task task=<name>`.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen adopt", description=adopt_verb.__doc__)
    parser.add_argument("arguments", nargs="+", help="files, and overrides as for launch.py, such as task=go2_flat")
    parser.add_argument("--joints", required=True, help="their order in the policy, separated by commas; or `task`")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    args = parser.parse_intermixed_args(argv)
    overrides = [argument for argument in args.arguments if "=" in argument]
    config = compose_config(["agent=rsl_rl_ppo", *overrides], args.config_dir)
    io = adopt.io_of(config)
    joints = adopt.joint_order(args.joints.split(","), io)
    for path in [Path(argument) for argument in args.arguments if "=" not in argument]:
        bundle, old = adopt.adopt(path, config, io, joints)
        target = path.with_suffix(".policy.pt")
        checkpoint.save(target, bundle)
        print(_summary(target, bundle, old, io))
    return 0


def _summary(target: Path, bundle: PolicyBundle, old: LegacyPolicy, io: IOSpec) -> str:
    """Return network and iteration of the checkpoint, and what could not be checked, as text."""
    actor = bundle["agent"]["actor"]
    kind = f"{actor['rnn_type']} {actor['rnn_hidden_dim']}, then " if "rnn_type" in actor else ""
    found = [
        f"layers {kind}{'-'.join(map(str, actor['hidden_dims']))}",
        f"observations {'normalised' if actor['obs_normalization'] else 'not normalised'}",
        *([] if old.iteration is None else [f"iteration {old.iteration}"]),
    ]
    terms = ", ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
    return "\n".join(
        [
            f"{target}: {', '.join(found)}",
            f"  not checked: activation {actor['activation']}; observations {terms};",
            f"  joints {', '.join(bundle['adopted']['joints'])}; scale and zero of the actions as in the task",
        ]
    )
