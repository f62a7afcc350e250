"""`regimen adopt`: write policies from checkpoints that rsl_rl or rl_games itself wrote."""

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
    """Write policies from checkpoints of rsl_rl or rl_games: `regimen adopt model_300.pt --joints task task=<name>`.

    The agent is rsl_rl_ppo; for a file of rl_games it is typed: `agent=rl_games`, or another with its settings.

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
        target = path.with_suffix(".policy.pt")
        if getattr(config.agent, "POLICY_FORMAT", None) == "rl_games":
            from regimen.agents.rl_games.adopt import adopt as adopt_rl_games

            bundle = adopt_rl_games(path, config, io, joints)
            summary = f"{target}: epoch {bundle['adopted']['iteration']}\n{_unchecked(bundle, io)}"
        else:
            bundle, old = adopt.adopt(path, config, io, joints)
            summary = _summary(target, bundle, old, io)
        checkpoint.save(target, bundle)
        print(summary)
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
    return f"{target}: {', '.join(found)}, activation {actor['activation']}\n{_unchecked(bundle, io)}"


def _unchecked(bundle: PolicyBundle, io: IOSpec) -> str:
    """Return what no check can compare, as text."""
    terms = ", ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
    joints = ", ".join(bundle["adopted"]["joints"])
    return (
        f"  not checked: activations; observations {terms};\n"
        f"  joints {joints}; scale and zero of the actions as in the task"
    )
