"""Whether a policy fits a task, found without torch and without a simulator: names and figures of both, compared.

A checkpoint is a zip whose pickle holds the plain values and only refers to the tensors, so the plain values can be
read alone. Sizes of observation terms are not known before the environment is open; it compares those again.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

from regimen.agents.export import header
from regimen.envs.fault_estimate.columns import resolve_mode, with_estimate
from regimen.envs.robots.robot import Robot, match
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import CheckpointError

OF_RSL_RL = {"model_state_dict", "actor_state_dict"}
"""Keys of what rsl_rl's own runner saves."""


class ForeignError(CheckpointError):
    """A checkpoint of rsl_rl itself."""


class _Absent:
    """Stands where a tensor is."""

    def __init__(self, *args: Any) -> None:
        pass


class _PlainReader(pickle.Unpickler):
    """Reads the plain values of a checkpoint; every class of torch becomes `_Absent`, any other is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module.split(".")[0] == "torch":
            return _Absent
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a checkpoint")

    def persistent_load(self, pid: Any) -> Any:
        return _Absent()


def read_plain(path: Path) -> dict[str, Any]:
    """Return a checkpoint's plain values, its tensors left out.

    Args:
        path: file written by `regimen.runs.checkpoint.save` or by `regimen export`.

    Raises:
        CheckpointError: the file is not such a checkpoint.
    """
    if header.is_exported(path):
        return header.bundle(path)
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            bundle = _PlainReader(io.BytesIO(archive.read(name))).load()
    except (zipfile.BadZipFile, StopIteration, pickle.UnpicklingError, EOFError) as error:
        raise CheckpointError(f"{path} is not a checkpoint of this launcher: {error or 'it has no data'}.") from error
    require_own(path, bundle)
    if not isinstance(bundle, dict) or "io" not in bundle:
        raise CheckpointError(f"{path} is not a checkpoint of this launcher: it does not say what its policy reads.")
    return bundle


def require_own(path: Path, bundle: Any) -> None:
    """Raise if a file is what rsl_rl's own runner saved.

    Raises:
        ForeignError: saying how to make a policy of it.
    """
    if isinstance(bundle, dict) and bundle.keys() & OF_RSL_RL:
        raise ForeignError(
            f"{path} is a checkpoint of rsl_rl itself, which does not say what it reads and which joints it moves. "
            f"Make a policy of it once: regimen adopt {path} --joints <their order, or task> task=<task>. "
            "To evaluate it as it is: agent=rsl_rl_ppo stage.joints=[task], or in their order"
        )


def mismatches(
    policy: dict[str, Any],
    config: dict[str, Any],
    robot: Robot,
    allow_extra_terms: bool = False,
    groups: tuple[str, ...] = ("policy",),
) -> list[str]:
    """Return one line for each difference between what a policy reads and writes and what a task would offer.

    Args:
        policy: the plain `io` of its checkpoint.
        config: the whole resolved configuration of a manager-based task.
        robot: the task's robot.
        allow_extra_terms: whether the task may have terms that the policy does not read.
        groups: observation groups that it reads.
    """
    mine = IOSpec.from_dict(policy)
    return mine.differences(_offered(mine, config, robot), groups, allow_extra_terms)


def _offered(policy: IOSpec, config: dict[str, Any], robot: Robot) -> IOSpec:
    """Return the task's IOSpec as far as it is known; the size of a term of the same name is taken to be equal."""
    env = config["env"]
    groups: dict[str, dict[str, Any]] = {}
    for g, group in env["observations"].items():
        groups[g] = groups.get(group["extends"], {}) | {n: t for n, t in group["terms"].items() if t}
    sizes = {g: {n: policy.observations.get(g, {}).get(n, 0) for n in terms} for g, terms in groups.items()}
    meaning = {g: {n: _meaning(t, policy, g, n, robot) for n, t in terms.items()} for g, terms in groups.items()}
    joints = match(robot.joints, *env["actions"]["joints"])
    offset = [round(robot.default_joint_pos[robot.joints.index(j)], 6) for j in joints]
    scale = robot.action_scale(joints, env["actions"]["scale"], env["actions"]["unit"])
    action = ActionSpec(list(joints), scale, offset, env["actions"]["clip"])
    io = IOSpec(sizes, action, config["sim"]["dt"] * env["decimation"], meaning)
    told = resolve_mode(env.get("estimate"), config.get("estimator"))
    return with_estimate(io, list(match(robot.joints, *env["estimate"]["joints"]))) if told else io


def _meaning(term: dict[str, Any], policy: IOSpec, group: str, name: str, robot: Robot) -> dict[str, Any]:
    """Return scale, clip and joints of a term; bodies and sites, which a simulator resolves, are the policy's."""
    known = {"scale": term["scale"], "clip": term["clip"]}
    patterns = term["params"].get("joints")
    if patterns is not None:
        known["joints"] = list(match(robot.joints, *([patterns] if isinstance(patterns, str) else patterns)))
    theirs = policy.meaning.get(group, {}).get(name, {})
    return known | {key: theirs[key] for key in ("bodies", "sites") if key in theirs and key in term["params"]}
