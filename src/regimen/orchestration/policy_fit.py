"""Compare a policy with a task without torch and without a simulator: names and parameters of both.

Sizes of observation terms are not known before the environment is open, which compares them again.
"""

from __future__ import annotations

from regimen.config.schema import Config
from regimen.config.task_schema import ManagerEnvCfg, ObservationTermCfg
from regimen.config.yaml_io import PlainSection
from regimen.envs.fault_estimate.columns import resolve_mode, with_estimate
from regimen.envs.robots.robot import Robot, match
from regimen.envs.vec_env import ActionSpec, IOSpec


def mismatches(
    policy: PlainSection,
    config: Config,
    robot: Robot,
    allow_extra_terms: bool = False,
    groups: tuple[str, ...] = ("policy",),
) -> list[str]:
    """Return one line for each difference between the policy's observations and actions and those of the task.

    Args:
        policy: the plain `io` of its checkpoint.
        config: configuration with a manager-based task.
        robot: the task's robot.
        allow_extra_terms: whether the task may have terms that the policy does not read.
        groups: observation groups that the policy reads.
    """
    io = IOSpec.from_dict(policy)
    return io.differences(_task_io(io, config, robot), groups, allow_extra_terms)


def _task_io(policy: IOSpec, config: Config, robot: Robot) -> IOSpec:
    """Return the task's IOSpec as far as it is known; a term has the size of the policy's term of the same name."""
    env: ManagerEnvCfg = config.env
    groups: dict[str, dict[str, ObservationTermCfg]] = {}
    for name, group in env.observations.items():
        inherited = groups.get(group.extends or "", {})
        groups[name] = inherited | {key: term for key, term in group.terms.items() if term is not None}
    sizes = {g: {n: policy.observations.get(g, {}).get(n, 0) for n in terms} for g, terms in groups.items()}
    meaning = {g: {n: _meaning(t, policy, g, n, robot) for n, t in terms.items()} for g, terms in groups.items()}
    joints = match(robot.joints, *env.actions.joints)
    offset = [round(robot.default_joint_pos[robot.joints.index(j)], 6) for j in joints]
    scale = robot.action_scale(joints, env.actions.scale, env.actions.unit)
    action = ActionSpec(list(joints), scale, offset, env.actions.clip)
    io = IOSpec(sizes, action, config.sim.dt * env.decimation, meaning)
    estimated = resolve_mode(env.estimate, config.estimator)
    return with_estimate(io, list(match(robot.joints, *env.estimate.joints))) if estimated else io


def _meaning(term: ObservationTermCfg, policy: IOSpec, group: str, name: str, robot: Robot) -> PlainSection:
    """Return scale, clip and joints of a term; bodies and sites, which a simulator resolves, are the policy's."""
    meaning: PlainSection = {"scale": term.scale, "clip": term.clip}
    patterns = term.params.get("joints")
    if patterns is not None:
        meaning["joints"] = list(match(robot.joints, *([patterns] if isinstance(patterns, str) else patterns)))
    of_policy = policy.meaning.get(group, {}).get(name, {})
    return meaning | {key: of_policy[key] for key in ("bodies", "sites") if key in of_policy and key in term.params}
