"""Whether a policy fits a task, found without torch and without a simulator: names and figures of both, compared.

Sizes of observation terms are not known before the environment is open; it compares those again.
"""

from __future__ import annotations

from typing import Any

from regimen.envs.fault_estimate.columns import resolve_mode, with_estimate
from regimen.envs.robots.robot import Robot, match
from regimen.envs.vec_env import ActionSpec, IOSpec


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
