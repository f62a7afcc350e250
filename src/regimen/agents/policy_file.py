"""Load a policy: from a checkpoint of this project or from an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from regimen.agents.export import header
from regimen.config.targets import resolve
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle


def load_bundle(policy: str | None) -> PolicyBundle:
    """Return the checkpoint bundle of `policy`, a path of a checkpoint or of an exported policy.

    Raises:
        ConfigError: `policy` is None.
        CheckpointError: the file is no policy of this project.
    """
    if policy is None:
        raise ConfigError("This stage needs a policy: policy=<run reference or file>, for example policy=latest.")
    path = Path(policy)
    bundle = header.bundle(path) if header.is_exported(path) else checkpoint.load(path)
    missing = sorted({"agent", "io", "policy"} - set(bundle))
    if missing:
        raise CheckpointError(f"{policy} lacks {', '.join(missing)}: expected a checkpoint written by stage=train.")
    return cast("PolicyBundle", bundle)


def load_policy(bundle: PolicyBundle, env: VecEnv, seed: int) -> Policy:
    """Return the policy of a checkpoint for `env`.

    A model of several groups of tasks has one `IOSpec` per group in `ios`; the one nearest to the env is used.

    Args:
        bundle: content of the checkpoint, see `load_bundle`.
        env: gives observations, actions and device.
        seed: of torch, for policies that sample.

    Raises:
        IOMismatchError: observations or actions of the policy do not fit the env.
    """
    io = require_fits(bundle, env)
    torch.manual_seed(seed)
    policy: Policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
    io.require_fits(env.io, groups=tuple(getattr(policy, "groups", ("policy",))))
    return policy


def require_fits(bundle: PolicyBundle, env: VecEnv) -> IOSpec:
    """Return the `IOSpec` of a checkpoint that is nearest to an env.

    Raises:
        IOMismatchError: observations or actions of the policy do not fit the env.
    """
    specs = [IOSpec.from_dict(io) for io in bundle.get("ios", [bundle["io"]])]
    io = min(specs, key=lambda io: len(io.differences(env.io)))
    io.require_fits(env.io)
    return io
