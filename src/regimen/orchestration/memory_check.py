"""Estimate before the start what a run takes of main memory and of GPU memory, by parts, and refuse what does not fit.

docs/measured.md compares the estimates with the peaks of runs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from regimen.config.compose import ComposedConfig
from regimen.config.validation import Problem
from regimen.envs.robots.robot import Robot, load
from regimen.orchestration import terrain_check
from regimen.orchestration.preflight_report import PreflightContext
from regimen.runs.record_parts import MemoryEstimate
from regimen.system import gpu, host
from regimen.system.errors import ConfigErrors

MIB, GIB = 2**20, 2**30

PROCESS_BYTES = 310 * MIB
"""A worker with one env: interpreter, torch and MuJoCo 257 MiB, terms and their modules 25, figures at the end 28."""

LIBRARY_BYTES = 290 * MIB
"""Modules of an agent whose dataclass has no `IMPORT_BYTES`, and of stages that do not train."""

LAUNCHER_BYTES = 234 * MIB
"""The process of torch that starts several workers on a machine: it imports torch."""

CUDA_HOST_BYTES = 1024 * MIB
"""Main memory of the CUDA libraries of a worker. Assumed: not measured."""

CUDA_CONTEXT_BYTES = 512 * MIB
"""GPU memory of the CUDA context and of loaded kernels of a worker. Assumed: not measured."""

ENV_FLOATS = 240
JOINT_FLOATS = 32
"""Floats of the manager env for one environment, and for each degree of freedom of its robot: state, terms, buffers."""

BASE_DOFS = 6
COLOURS = 3

VECTORS = ("base_lin_vel", "base_ang_vel", "projected_gravity", "generated_commands", "base_displacement")
"""Observation terms with 3 values at most; another one has at most as many as the robot has joints."""

ACTS_ONLY = ("evaluate", "collect", "collect_histories", "collect_motion", "in_context", "serve", "actor", "export")
"""Stages that train no agent, and need none of its memory."""


def estimate(composed: ComposedConfig, robot: Robot | None, envs: int | None = None) -> MemoryEstimate:
    """Return the estimated memory of one worker: process, envs, and what the dataclasses declare.

    A configuration dataclass may define `memory_bytes(num_envs, observation, action)`, that of an agent also
    `network_bytes(num_envs, observation, action, on_gpu)`, for weights and what an update keeps of a minibatch, and,
    where it keeps images, `pixel_bytes(num_envs, frame)`. The widths are upper bounds: a term has at most as many
    values as the robot has joints, or 3. The dataclass of a library's task has `task_bytes(num_envs, config)`, because
    its size is in the configuration of the library; its share of a GPU is not estimated.

    Args:
        composed: checked configuration.
        robot: robot of the task; None for a task without one.
        envs: number of environments, by default those of the run.
    """
    config, stage = composed.config, composed.choices["stage"]
    envs = envs or envs_of_a_worker(composed)
    action = len(robot.joints) if robot else 8
    observation = terrain_check.observation_width(composed.plain["env"], max(action, 3), VECTORS)
    result = MemoryEstimate()
    agent_place = result.gpu if config.hardware.device.startswith("cuda") else result.main
    sim_place = result.gpu if _physics_on_gpu(composed) else result.main
    trains = stage not in ACTS_ONLY
    library = getattr(config.agent, "IMPORT_BYTES", LIBRARY_BYTES) if trains else LIBRARY_BYTES
    result.main["process"] = PROCESS_BYTES + library
    if num_workers(composed) > 1:
        result.main["launcher"] = LAUNCHER_BYTES // config.hardware.node_processes()
    if uses_gpu(composed):
        result.main["process"] += CUDA_HOST_BYTES
        result.gpu["context"] = CUDA_CONTEXT_BYTES
    kept = config.nan_dump * (observation + 5 * action + 16)  # observation, action, joints and base of a step
    floats = ENV_FLOATS + JOINT_FLOATS * (action + BASE_DOFS) + 2 * observation + kept
    own_sim = hasattr(config.env, "task_bytes")
    add(result.main if own_sim else sim_place, "env", 4 * envs * floats)
    if own_sim:
        add(result.main, "env", int(config.env.task_bytes(envs, composed.plain)))
    elif hasattr(config.sim, "memory_bytes"):
        fixed = int(config.sim.memory_bytes(0, observation, action))  # modules and scene stay in main memory
        add(result.main, "physics", fixed)
        add(sim_place, "physics", int(config.sim.memory_bytes(envs, observation, action)) - fixed)
    if ground := getattr(config.env, "terrain", None):
        own = {"per_point": config.sim.GROUND_BYTES} if hasattr(config.sim, "GROUND_BYTES") else {}
        add(result.main, "ground", ground.memory_bytes(**own))
    for name, section in {"env": config.env, "stage": config.stage}.items():
        if hasattr(section, "memory_bytes"):
            add(result.main, name, int(section.memory_bytes(envs, observation, action)))
    if trains:
        if hasattr(config.agent, "memory_bytes"):
            add(agent_place, "agent", int(config.agent.memory_bytes(envs, observation, action)))
        if hasattr(config.agent, "network_bytes"):
            on_gpu = agent_place is result.gpu
            add(agent_place, "networks", int(config.agent.network_bytes(envs, observation, action, on_gpu)))
        if reads_pixels(composed):  # they stay in the memory of the machine
            shape, cameras = config.env.images.shape, config.agent.images
            frame = len(cameras) * shape[0] * shape[1] * COLOURS
            add(result.main, "agent", int(config.agent.pixel_bytes(envs, frame)))
    return result


def estimate_of(composed: ComposedConfig) -> MemoryEstimate:
    """Return the estimate of a checked configuration, whose robot is loaded where it has one; see `estimate`."""
    name = getattr(composed.config.env, "robot", None)
    return estimate(composed, load(name) if name else None)


def add(parts: dict[str, int], name: str, size: int) -> None:
    """Add bytes to a part, which is left out while it has none."""
    if size:
        parts[name] = parts.get(name, 0) + size


def uses_gpu(composed: ComposedConfig) -> bool:
    """Return whether the agent or the physics of the run are on a GPU."""
    return composed.config.hardware.device.startswith("cuda") or _physics_on_gpu(composed)


def _gpu_name(composed: ComposedConfig) -> str:
    """Return the device of the agent or of the physics that is a GPU, such as `cuda:1`."""
    device = composed.config.hardware.device
    return device if device.startswith("cuda") else str(composed.config.sim.device)


def _physics_on_gpu(composed: ComposedConfig) -> bool:
    return str(getattr(composed.config.sim, "device", "cpu")).startswith("cuda")


def reads_pixels(composed: ComposedConfig) -> bool:
    """Return whether the agent keeps images of the task, whose size is known before the start."""
    images = getattr(composed.config.env, "images", None)
    if images is None or not getattr(composed.config.agent, "images", None):
        return False
    return hasattr(images, "shape") and not images.problems()


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
    return composed.config.hardware.workers()


def trains_in_several(composed: ComposedConfig) -> bool:
    """Return whether the agent trains in several processes, which then divide the envs of the task."""
    return composed.choices["stage"] in ("train", "distill") and getattr(composed.config.agent, "DISTRIBUTED", False)


class MemoryProblem(Problem):
    """Memory that is not free now."""


class InsufficientMemoryError(ConfigErrors):
    """Nothing but memory is missing: the run may start once others have ended."""


@dataclass(frozen=True)
class Place:
    """One of the two memories.

    Attributes:
        key: `main` or `gpu`, the attribute of `MemoryEstimate`.
        name: for messages.
        available: bytes that are free.
        workers: how many share them.
    """

    key: str
    name: str
    available: int
    workers: int

    @property
    def share(self) -> int:
        """Bytes for one worker."""
        return self.available // self.workers

    def needed(self, estimated: MemoryEstimate) -> int:
        """Return the bytes of one worker here."""
        return sum(getattr(estimated, self.key).values())


def check_memory(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Estimate the memory where task or agent declare what they take; yield a problem if it is not there.

    An agent whose memory does not depend on the envs alone declares the keys to lower by `LOWER: ClassVar[str]`.
    """
    report, resources = context.report, context.resources
    places = [Place("main", "memory", report.available, resources.starting)]
    if uses_gpu(composed) and resources.here:
        environment = {**os.environ, **composed.environment}
        devices, device = gpu.visible_gpus(environment), _gpu_name(composed)
        suffix = device.partition(":")[2] or "0"
        number = int(suffix) if suffix.isdecimal() else len(devices)
        if not gpu.gpus():
            report.warnings.append("nvidia-smi lists no GPU: driver and GPU memory are not checked")
        elif not devices:
            hidden = f"CUDA_VISIBLE_DEVICES={environment['CUDA_VISIBLE_DEVICES']} hides all GPUs from the run"
            yield Problem("", f"device={device}: {hidden}. Remove it, or type hardware.device=cpu.")
        elif number >= len(devices):
            listed = "one GPU is" if len(devices) == 1 else f"{len(devices)} GPUs are"
            yield Problem("", f"device={device}: {listed} here. Type hardware.device=cuda:0.")
        else:
            yield from _driver_problems(composed, devices[number])
            report.gpu_available = devices[number].free
            jobs = max(1, resources.starting // composed.config.hardware.node_processes())
            on_one = -(-composed.config.hardware.node_processes() // len(devices)) * jobs
            places.append(Place("gpu", "GPU memory", devices[number].free, on_one))
    is_declared = hasattr(composed.config.env, "task_bytes")
    if context.robot is None and not is_declared and not reads_pixels(composed):
        return
    estimated = report.estimate = estimate(composed, context.robot)
    estimated.workers = composed.config.hardware.node_processes()
    for place in places:
        each = place.needed(estimated)
        if each > place.share:
            needed, available = (size / GIB for size in (each * place.workers, place.available))
            yield MemoryProblem(
                "",
                f"{place.name}: about {needed:.1f} GiB needed, {available:.1f} GiB available, "
                f"{needed - available:.1f} GiB missing. {_advice(composed, context, place)}",
            )


def _driver_problems(composed: ComposedConfig, device: gpu.Gpu) -> Iterator[Problem]:
    if host.interpreter(composed.plain) != sys.executable:
        return  # the torch of another interpreter is not found from here
    if problem := gpu.driver_problem(gpu.torch_cuda(), device.driver):
        yield Problem("", f"device={_gpu_name(composed)}: {problem}")


def _advice(composed: ComposedConfig, context: PreflightContext, place: Place) -> str:
    """Return which settings to lower, and to what.

    Args:
        composed: checked configuration.
        context: with the estimate in its report.
        place: the memory that does not suffice.
    """

    def fits(envs: int) -> bool:
        return place.needed(estimate(composed, context.robot, envs)) <= place.share

    own = envs_of_a_worker(composed)
    most = _largest(fits, own) * (num_envs(composed) // own)
    by_stage = f"lower the {num_envs(composed)} envs that stage={composed.choices['stage']} opens ({most} fit)"
    advice = []
    part = getattr(context.report.estimate, place.key).get("agent", 0)
    if part and (lower := getattr(composed.config.agent, "LOWER", "")):
        settings = _settings_that_fit(composed, context, place, lower)
        advice.append(f"the agent needs {part / GIB:.1f} GiB of it: {settings or f'lower {lower}'}")
    if most:
        advice.append(by_stage if hasattr(composed.config.stage, "num_envs") else f"type env.num_envs={most}")
    if context.resources.starting > composed.config.hardware.node_processes():
        advice.append("lower hardware.max_jobs")
    if not advice:
        return "One env does not fit: take a machine with more, or end other processes."
    text = ", or ".join(advice)
    return f"{text[0].upper()}{text[1:]}."


def _settings_that_fit(composed: ComposedConfig, context: PreflightContext, place: Place, lower: str) -> str:
    """Return `type <key>=<value>` for each of an agent's keys with which the run fits, empty if there is none.

    Args:
        composed: checked configuration.
        context: with the robot.
        place: the memory that does not suffice.
        lower: `LOWER` of the agent.
    """
    settings = []
    for key in re.findall(r"agent(?:\.\w+)+", lower):
        changed = composed.copy()

        def fits(value: int, key: str = key, changed: ComposedConfig = changed) -> bool:
            changed.set_value(key, value)
            return place.needed(estimate(changed, context.robot)) <= place.share

        present: Any = composed.config
        for name in key.split("."):
            present = getattr(present, name)
        if isinstance(present, int) and (value := _largest(fits, present)):
            settings.append(f"{key}={value}")
    return f"type {' or '.join(settings)}" if settings else ""


def _largest(fits: Callable[[int], bool], most: int) -> int:
    """Return the largest number from 1 to `most` that fits, 0 if 1 does not; what is smaller than one that fits fits.

    Args:
        fits: whether a number fits.
        most: at least 1.
    """
    low, high = 0, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
