"""Estimate the memory of a run before it starts, and check that it is available."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.envs.robots.robot import Robot
from regimen.orchestration.preflight_report import PreflightContext

PROCESS_BYTES = 600 * 2**20
"""Memory of a worker without envs: torch, skrl and MuJoCo imported (260 MiB measured), checkpoints, plots."""

ENV_BYTES = 24 * 2**10
"""Memory of the manager env for one environment: float32 tensors for state, terms, buffers and temporaries."""

GIB = 2**30


def estimate(composed: ComposedConfig, robot: Robot | None, envs: int | None = None) -> dict[str, int]:
    """Return part -> estimated bytes of one worker: process, envs, and the estimates of the dataclasses.

    A configuration dataclass may define `memory_bytes(num_envs, observation, action)`. The widths are upper bounds: a
    term has at most as many values as the robot has joints, or 3. GPU memory of an agent is not included.

    Args:
        composed: checked configuration.
        robot: robot of the task; None for a task without one.
        envs: number of environments, by default those of the run.
    """
    config = composed.config
    envs = envs or envs_of_a_worker(composed)
    action = len(robot.joints) if robot else 8
    groups = composed.plain["env"].get("observations", {}).values()
    observation = sum(max(action, 3) * len(group.get("terms") or {}) for group in groups)
    kept = 4 * config.nan_dump * (observation + 5 * action + 16)  # observation, action, joints and base of a step
    parts = {"process": PROCESS_BYTES, "env": envs * (ENV_BYTES + 8 * observation + kept)}
    acts_only = composed.choices["stage"] in ("evaluate", "collect", "collect_histories", "in_context")
    elsewhere = acts_only or config.hardware.device.startswith("cuda")
    sections: dict[str, Any] = {"env": config.env, "sim": config.sim, "agent": config.agent, "stage": config.stage}
    for name, section in sections.items():
        if hasattr(section, "memory_bytes") and not (name == "agent" and elsewhere):
            parts[name] = int(section.memory_bytes(envs, observation, action))
    return parts


def num_envs(composed: ComposedConfig) -> int:
    """Return the number of environments of the run: `num_envs(config)` of its stage, or that of the task."""
    stage, env = composed.config.stage, composed.config.env
    declared = stage.num_envs(composed.plain) if hasattr(stage, "num_envs") else getattr(env, "num_envs", 1)
    return max(1, int(declared))


def envs_of_a_worker(composed: ComposedConfig) -> int:
    """Return the number of environments of one worker: those of the run, divided if the agent trains in several."""
    return max(1, num_envs(composed) // (num_workers(composed) if trains_in_several(composed) else 1))


def num_workers(composed: ComposedConfig) -> int:
    """Return the number of workers of the run on all its machines."""
    return composed.config.hardware.nodes * composed.config.hardware.processes


def trains_in_several(composed: ComposedConfig) -> bool:
    """Return whether the agent trains in several processes, which then divide the envs of the task."""
    return composed.choices["stage"] in ("train", "distill") and getattr(composed.config.agent, "DISTRIBUTED", False)


def check_memory(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Estimate the memory of a task with a robot for the report; yield a problem if it does not suffice.

    An agent whose memory does not depend on the envs alone declares the keys to lower by `LOWER: ClassVar[str]`.
    """
    if context.robot is None:
        return
    report, workers = context.report, context.resources.workers
    report.memory = estimate(composed, context.robot)
    each, share = sum(report.memory.values()), report.available / workers
    if each <= share:
        return
    needed, short = each * workers / GIB, (each - share) * workers / GIB
    yield Problem(
        "",
        f"memory: about {needed:.1f} GiB needed, {report.available / GIB:.1f} GiB available, "
        f"{short:.1f} GiB missing. {_advice(composed, context, each, share)}",
    )


def _advice(composed: ComposedConfig, context: PreflightContext, each: int, share: float) -> str:
    """Return which settings to lower, and how many envs fit.

    Args:
        composed: checked configuration.
        context: with the memory estimate in its report.
        each: bytes that a worker needs.
        share: bytes available to a worker.
    """
    one_env = sum(estimate(composed, context.robot, envs=1).values())
    envs, own = num_envs(composed), envs_of_a_worker(composed)
    fits = max(1, int((share - one_env) / max(each - one_env, 1) * (own - 1) + 1)) * (envs // own)
    by_stage = f"the {envs} envs that stage={composed.choices['stage']} opens"
    setting = by_stage if hasattr(composed.config.stage, "num_envs") else f"env.num_envs={envs}"
    advice = f"ower {setting} (about {fits} fit)"
    memory, agent_settings = context.report.memory, getattr(composed.config.agent, "LOWER", "")
    if "agent" not in memory or not agent_settings:
        advice = f"L{advice}"
    else:
        of_agent = f"The agent needs {memory['agent'] / GIB:.1f} GiB of it: lower {agent_settings}"
        advice = of_agent if one_env > share else f"{of_agent}, or l{advice}"
    return advice + (" or hardware.max_jobs." if context.resources.workers > 1 else ".")
