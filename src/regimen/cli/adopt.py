"""`regimen adopt`: write policies from checkpoints that rsl_rl, skrl or rl_games itself wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.agents import adoption
from regimen.config.compose import compose
from regimen.config.groups import config_home
from regimen.envs.task_io import io_of
from regimen.orchestration.preflight import prepare_task
from regimen.runs import checkpoint
from regimen.runs.checkpoint_header import LIBRARIES
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle

FORMATS = {"rsl_rl": "rsl_rl", "skrl_ppo": "skrl", "rl_games": "rl_games"}
"""`POLICY_FORMAT` of an agent -> library whose checkpoints it takes."""


def adopt_verb(argv: list[str]) -> int:
    """Write policies from checkpoints of a library: `regimen adopt model_300.pt --joints task task=<name>`.

    The agent is rsl_rl_ppo; for a file of skrl or rl_games it is typed: agent=skrl_ppo, agent=rl_games, or another with
    its settings. Files are read before the task is opened; a task of another interpreter is opened there.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(prog="regimen adopt", description=adopt_verb.__doc__)
    parser.add_argument("arguments", nargs="+", help="files, and overrides as for launch.py, such as task=go2_flat")
    parser.add_argument("--joints", required=True, help="their order in the policy, separated by commas; or `task`")
    parser.add_argument("--config-dir", action="append", default=[], type=Path, help="folder of your own options")
    args = parser.parse_intermixed_args(argv)
    overrides = [argument for argument in args.arguments if "=" in argument]
    paths = [Path(argument) for argument in args.arguments if "=" not in argument]
    if not paths:
        parser.error("name a file, such as model_300.pt")
    composed = compose(["agent=rsl_rl_ppo", *overrides], [config_home(), *args.config_dir])
    for path in paths:
        adoption.require_file_of(path, _library(composed.config))
    prepare_task(composed)
    io = io_of(composed.config)
    joints = adoption.joint_order(args.joints.split(","), io)
    for path in paths:
        target = path.with_suffix(".policy.pt")
        bundle, summary = _adopted(path, composed.config, io, joints)
        checkpoint.save(target, bundle)
        print(f"{target}: {summary}\n{_unchecked(bundle, io)}")
    return 0


def _library(config: Config) -> str:
    """Return the library whose checkpoints the agent takes.

    Raises:
        ConfigError: it takes none.
    """
    library = FORMATS.get(getattr(config.agent, "POLICY_FORMAT", None) or "")
    if library is None:
        agents = ", ".join(f"agent={agent} for a file of {name}" for name, agent in LIBRARIES.items())
        raise ConfigError(f"agent={config.choices['agent']} takes no checkpoints of a library: type {agents}.")
    return library


def _adopted(path: Path, config: Config, io: IOSpec, joints: list[str]) -> tuple[PolicyBundle, str]:
    """Return the policy of a file, and the networks that were found in it as text."""
    library = _library(config)
    if library == "rl_games":
        from regimen.agents.rl_games.adopt import adopt as adopt_rl_games

        bundle = adopt_rl_games(path, config, io, joints)
        return bundle, f"epoch {bundle['adopted']['iteration']}"
    if library == "skrl":
        from regimen.agents.skrl_ppo.adopt import adopt as adopt_skrl

        bundle, file = adopt_skrl(path, config, io, joints)
        policy = bundle["agent"]["models"]["policy"]
        found = [
            f"layers {_sizes(file.actor.units)}{' shared with the value' if file.shared else ''}",
            _normalised(file.scaler is not None),
            *([] if file.steps is None else [f"step {file.steps}"]),
            f"activation {policy['network'][0]['activations']}, output {policy['output']}",
        ]
        return bundle, ", ".join(found)
    from regimen.agents.rsl_rl.adopt import adopt as adopt_rsl_rl

    bundle, old = adopt_rsl_rl(path, config, io, joints)
    actor = bundle["agent"]["actor"]
    kind = f"{actor['rnn_type']} {actor['rnn_hidden_dim']}, then " if "rnn_type" in actor else ""
    found = [
        f"layers {kind}{_sizes(actor['hidden_dims'])}",
        _normalised(actor["obs_normalization"]),
        *([] if old.iteration is None else [f"iteration {old.iteration}"]),
        f"activation {actor['activation']}",
    ]
    return bundle, ", ".join(found)


def _sizes(layers: list[int]) -> str:
    return "-".join(map(str, layers))


def _normalised(scaled: bool) -> str:
    return f"observations {'normalised' if scaled else 'not normalised'}"


def _unchecked(bundle: PolicyBundle, io: IOSpec) -> str:
    """Return what no check can compare, as text."""
    terms = ", ".join(f"{name} {size}" for name, size in io.observations["policy"].items())
    joints = ", ".join(bundle["adopted"]["joints"])
    return (
        f"  not checked: activations; observations {terms};\n"
        f"  joints {joints}; scale and zero of the actions as in the task"
    )
