"""Check that agent, policy, data and detector fit the task and stage, without importing or opening them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from regimen.agents.export import header
from regimen.agents.policy_header import read_header, require_declared_agents
from regimen.config import static_types
from regimen.config.compose import ComposedConfig
from regimen.config.provenance import CHANGES
from regimen.config.schema import Config
from regimen.config.targets import require_declared
from regimen.config.task_schema import ManagerEnvCfg, ObservationTermCfg
from regimen.config.validation import Checker, Problem
from regimen.config.yaml_io import PlainSection, flatten, read_yaml
from regimen.envs.actuators.settings import robot_with
from regimen.envs.encoded_images.description import EncoderDescription, reads_features
from regimen.envs.fault_estimate.columns import (
    NO_FAULTS,
    PROBABILITY,
    SINCE,
    affected_joints,
    class_difference,
    keys_of_faults,
    resolve_mode,
    with_estimate,
)
from regimen.envs.low_level.description import commanding_io
from regimen.envs.robots.robot import Robot, match
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.orchestration.preflight_report import PreflightContext, PreflightReport, gpus_here
from regimen.runs import inputs
from regimen.runs.checkpoint_header import ForeignError, PolicyBundle
from regimen.runs.inputs import agent_follows_policy, agent_of
from regimen.runs.loggers.logger import not_installed
from regimen.system.errors import CheckpointError, ConfigError, PreflightError, RegimenError, did_you_mean
from regimen.system.file_kinds import HDF5, this_is


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
    low = env.low_level
    named = {g: "policy" if low.policy is not None and g == low.observations else g for g in groups}  # in the policy
    sizes = {g: {n: policy.observations.get(named[g], {}).get(n, 0) for n in terms} for g, terms in groups.items()}
    steps = {g: env.observations[g].history for g in groups}
    meaning = {
        g: {n: _meaning(t, policy, named[g], n, robot, steps[g]) for n, t in terms.items()}
        for g, terms in groups.items()
    }
    joints = match(robot.joints, *env.actions.joints)
    offset = [round(robot.default_joint_pos[robot.joints.index(j)], 6) for j in joints]
    scale = robot_with(env.actuators, robot).action_scale(joints, env.actions.scale, env.actions.unit)
    action = ActionSpec(list(joints), scale, offset, env.actions.clip)
    io = IOSpec(sizes, action, config.sim.dt * env.decimation, meaning)
    if low.policy is not None:
        return commanding_io(io, low)
    estimated = resolve_mode(env.estimate, config.estimator)
    return with_estimate(io, list(match(robot.joints, *env.estimate.joints))) if estimated else io


def _meaning(
    term: ObservationTermCfg, policy: IOSpec, group: str, name: str, robot: Robot, history: int
) -> PlainSection:
    """Return scale, clip, joints and history of a term; bodies and sites, which a simulator resolves, are the policy's.

    Args:
        term: of the task.
        policy: its observations and actions.
        group: of the term, in the policy.
        name: of the term.
        robot: of the task.
        history: of the term's group.
    """
    meaning: PlainSection = {"scale": term.scale, "clip": term.clip}
    if (steps := history if term.history is None else term.history) > 1:
        meaning["history"] = steps
    patterns = term.params.get("joints")
    if patterns is not None:
        meaning["joints"] = list(match(robot.joints, *([patterns] if isinstance(patterns, str) else patterns)))
    of_policy = policy.meaning.get(group, {}).get(name, {})
    return meaning | {key: of_policy[key] for key in ("bodies", "sites") if key in of_policy and key in term.params}


ESTIMATE_NEEDED = "This policy needs a fault estimate: set estimator=<run> or env.estimate.mode=oracle|none."
ESTIMATE_UNUSED = (
    "This policy reads no fault estimate: remove estimator= and env.estimate.mode=, or choose another policy."
)
EXPORTED = "is an exported policy, which can only act. Name the run that it was exported from."

POLICY_SUFFIXES = (".pt", ".onnx")

KINDS = {".h5": "recorded episodes (stage=collect)", ".json": "learning histories (stage=collect_histories)"}
"""Suffix of a dataset file -> its content."""


def check_code(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for each policy or detector whose checkpoint names code that is not the user's.

    The workers trust the checkpoints that this check has let pass: their checksums are recorded.
    """
    for name, path in list(context.report.inputs.items()):
        if path.suffix in POLICY_SUFFIXES:
            with suppress(CheckpointError):  # it cannot be read: `check_policy` says why
                bundle = read_header(path)
                try:
                    require_declared_agents(bundle, path)
                    if made_by := agent_of(path):
                        require_declared(str(made_by[1].get("_target_", "regimen.")), path)
                except CheckpointError as error:
                    del context.report.inputs[name]  # nothing else reads its agent
                    yield Problem("", f"{name}={path}: {error}")


def take_agent_of_policy(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Set the agent of a stage that only loads a policy to the one that made it: the run is named and listed by it."""
    path = context.report.inputs.get("policy")
    if path is None or path.suffix not in POLICY_SUFFIXES or not agent_follows_policy(composed.plain):
        return
    before, made_by = composed.choices["agent"], agent_of(path) or _agent_in_file(path, composed)
    if made_by is None:
        return
    with suppress(ConfigError):  # settings of another version: `check_policy` says whether the policy can be loaded
        composed.set_agent(*made_by)
    other = before != made_by[0]
    for text in composed.overrides:
        if (other and text.startswith("agent=")) or text.lstrip("+~").startswith("agent."):
            context.report.warnings.append(f"{text} is not used: the policy has its own agent, {made_by[0]}")
    yield from ()


def take_agent_of_task(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Set an agent with `from_task=true` to the settings of the task, see `use_agent_of_task`."""
    acts = context.report.inputs.get("policy") is not None and agent_follows_policy(composed.plain)
    if not acts:  # a policy has the agent that made it
        yield from use_agent_of_task(composed)


def use_agent_of_task(composed: ComposedConfig) -> Iterator[Problem]:
    """Set an agent with `from_task=true` to the settings that the task has for its library.

    Values of experiments and arguments stay. The dataclass of such a task has a method `agent_settings`, that of such
    an agent a name `LIBRARY`, and a method `of_task` if its keys are others than the task's.
    """
    config, agent = composed.config, composed.config.agent
    if not getattr(agent, "from_task", False):
        return
    if not hasattr(config.env, "agent_settings"):
        told = f"task={composed.choices['task']} has no settings for agents. Remove agent.from_task."
        yield Problem("agent.from_task", told)
        return
    try:
        own = config.env.agent_settings(agent.LIBRARY, composed.plain)
    except RegimenError as error:
        yield Problem("agent.from_task", f"agent.from_task=true: {error}")
        return
    own = agent.of_task(own) if hasattr(agent, "of_task") else own
    section = dict(composed.plain["agent"])
    section |= {name: value for name, value in own.items() if name in section}
    for path, value in flatten({"agent": composed.plain["agent"]}):
        if composed.tree.has(path) and composed.tree.source_of(path).kind in CHANGES:
            _set_at(section, path.split(".")[1:], value)
    problems = list(Checker(composed.tree.was_set).check(composed.types["agent"], section, "agent"))
    yield from (Problem("agent.from_task", f"agent.from_task=true: {problem.message}") for problem in problems)
    if not problems:
        composed.set_agent(composed.choices["agent"], section)


def _set_at(section: PlainSection, keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        section[key] = dict(section.get(key) or {})
        section = section[key]
    section[keys[-1]] = value


def _agent_in_file(path: Path, composed: ComposedConfig) -> tuple[str, PlainSection] | None:
    """Return option and settings of the agent that a policy file names."""
    with suppress(RegimenError):
        section = dict(read_header(path).get("agent") or {})
        name = next((name for name, target in _agents(composed) if target == section.get("_target_")), None)
        return (name, section) if name else None
    return None


def check_agent(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if the agent lacks a method that the stage calls, or if its estimator is missing.

    A stage declares the method by `NEEDS: ClassVar[str]` in its dataclass.
    """
    config, agent, stage = composed.config, composed.choices["agent"], composed.choices["stage"]
    method = getattr(config.stage, "NEEDS", None)
    if method and method not in static_types.methods(config.agent._target_):
        others = ", ".join(_agents_with(composed, method)) or "none here"
        yield Problem("", f"agent={agent} has no `{method}`, which stage={stage} calls. Agents with it: {others}.")
    elif stage == "evaluate" and getattr(config.stage, "player", None) is not None:
        yield from _player_problems(composed, config.stage.player)
    elif stage == "evaluate" and getattr(config.agent, "WATCHES", False) and not config.estimator:
        yield Problem("", f"stage=evaluate agent={agent} evaluates a detector: estimator=<run reference> is missing.")


def check_actors(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if actors are asked for and the agent does not learn from any, or the stage has none.

    An agent declares support by `ACTORS: ClassVar[bool] = True`.
    """
    config, agent, stage = composed.config, composed.choices["agent"], composed.choices["stage"]
    if config.hardware.channel is None:
        return
    if stage != "train":
        yield Problem("", f"hardware={composed.choices['hardware']}: stage={stage} has no actors. Type hardware=cpu.")
    elif not getattr(config.agent, "ACTORS", False):
        able = ", ".join(_agents_declaring(composed, "ACTORS"))
        yield Problem(
            "",
            f"hardware={composed.choices['hardware']}: agent={agent} steps the envs in the process that learns. Agents "
            f"that learn from actors: {able or 'none here'}. Or type hardware=cpu.",
        )
    elif config.hardware.channel.transport == "ray":
        yield from _ray_problems(composed, context)


def _ray_problems(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if Ray is not installed, if no cluster is there, or if a Ray of the run alone has too little."""
    key, hardware = "hardware.channel.transport", composed.config.hardware
    for line in not_installed(composed.plain, "ray", "ray"):
        yield Problem(key, f"{key}=ray: {line} (or: make ray)")
    assert hardware.channel is not None
    ray = hardware.channel.ray
    if ray.address is not None:
        if hardware.scheduler is None and not ray.problems(hardware.device):
            yield from _cluster_problems(ray.address)
        return
    for name, unit, each, total in (
        ("num_cpus", "cores", ray.num_cpus, context.resources.cores),
        ("num_gpus", "GPUs", ray.num_gpus, gpus_here() if context.resources.here else None),
    ):
        if total is None or hardware.actors * each <= total:
            continue
        path = f"hardware.channel.ray.{name}"
        less = f"{path}={ray.share_of(total, hardware.actors):g}" if total else f"hardware.device=cpu {path}=0"
        yield Problem(
            path,
            f"{path}={each:g}: {hardware.actors} actors reserve {hardware.actors * each:g} {unit}, a Ray of the run "
            f"has {total}. Type {less}.",
        )


def _cluster_problems(address: str) -> Iterator[Problem]:
    """Yield a problem if nothing listens at the address of a cluster of Ray."""
    from regimen.agents.actor_learner import ray_cluster

    try:
        ray_cluster.require_listener(address)
    except PreflightError as error:
        yield Problem("hardware.channel.ray.address", str(error))


def check_images(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if the task gives images that the agent, which acts or learns in it, does not read, or lacks one.

    A task declares images by its key `images`, an agent that reads them by `IMAGES: ClassVar[bool] = True`; one with a
    key `images` reads those that it names.
    """
    config, agent = composed.config, composed.choices["agent"]
    acts = bool(getattr(config.stage, "NEEDS", None)) or "policy" in context.report.inputs
    if acts and getattr(config.agent, "images", None):
        yield from _named_images(composed, context, list(config.agent.images))
        return
    read = config.encoder is not None or (
        getattr(config.agent, "IMAGES", False) and not hasattr(config.agent, "images")
    )
    if not acts or getattr(config.env, "images", None) is None or read:
        return
    able = ", ".join(_agents_declaring(composed, "IMAGES"))
    others = f"Agents that read them: {able}; or s" if able else "S"
    if hasattr(config.agent, "images"):
        cameras = ", ".join(getattr(config.env.images, "cameras", ()))
        others = f"Type agent.images=[{cameras}], which is slow on a CPU; or s"
    told = (
        f"task={composed.choices['task']} gives images, which agent={agent} does not read. {others}et encoder=<run of "
        "stage=distill agent=image_encoder>, or env.images=null."
    )
    yield Problem("env.images", told)


def _named_images(composed: ComposedConfig, context: PreflightContext, named: list[str]) -> Iterator[Problem]:
    """Yield a problem for each image of `agent.images` that the task does not give; warn of the time on a CPU."""
    config, task, report = composed.config, composed.choices["task"], context.report
    shown = f"agent.images=[{', '.join(named)}]"
    if not hasattr(config.env, "images"):
        if getattr(config.env, "MANAGER_BASED", False):  # of other tasks it is known when they are open
            yield Problem("agent.images", f"{shown}: task={task} has no images. Type agent.images=null.")
        return
    if config.env.images is None:
        wanted = f"env.images={{size: 64, cameras: [{', '.join(named)}]}}"
        yield Problem("agent.images", f"{shown}: task={task} gives images only where they are set. Type {wanted}.")
        return
    for name in named:
        if name not in (offered := getattr(config.env.images, "cameras", named)):
            told = f"{shown}: env.images has no camera `{name}`. {did_you_mean(name, offered)}"
            yield Problem("agent.images", told)
    if composed.choices["stage"] != "train":
        return
    if config.hardware.device == "cpu":
        report.warnings.append(
            f"{shown} trains from pixels, which is slow on a CPU. A frozen encoder is many times faster: stage=distill "
            "agent=image_encoder, then encoder=<its run> and agent.images=null"
        )
    _warn_of_privileged(config, report)


def _warn_of_privileged(config: Config, report: PreflightReport) -> None:
    if getattr(config.agent, "observations", ()) is None:
        report.warnings.append(
            "agent.observations=null reads all groups of vectors, also `privileged`, which only a simulator has: to "
            "learn from pictures alone, type agent.observations=[policy]"
        )


def take_images_of_policy(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Set `env.images` to the images that a policy reads, where it is null; yield a problem if it gives others."""
    config, path = composed.config, context.report.inputs.get("policy")
    if path is None or path.suffix != ".pt" or not agent_follows_policy(composed.plain):
        return
    images: dict[str, list[int]] = {}
    with suppress(RegimenError):  # what is no checkpoint is reported by `check_policy`
        images = (read_header(path).get("policy") or {}).get("images") or {}
    if not images or not hasattr(config.env, "images"):
        return
    if config.env.images is None:
        composed.set_section("env.images", _images_section(images))
    elif not config.env.images.problems():  # reported by `_check_sections`
        given = {name: [*config.env.images.shape, 3] for name in config.env.images.cameras}
        for name, size in images.items():
            if given.get(name) != size:
                pixels = "x".join(map(str, size))
                told = (
                    f"policy={path} reads `{name}` of {pixels}, which env.images does not give. Type env.images=null."
                )
                yield Problem("env.images", told)


def take_encoder_of_policy(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Set `encoder` to the one of the run that made the policy, if that policy reads features and none is named."""
    config, report, path = composed.config, context.report, context.report.inputs.get("policy")
    takes = getattr(config.stage, "TAKES", ("encoder",))
    if path is None or path.suffix != ".pt" or "encoder" not in takes or config.encoder:
        return
    with suppress(RegimenError):  # what is no checkpoint is reported by `check_policy`
        if not reads_features(read_header(path).get("io") or {}):
            return
        entry = inputs.recorded(path, "encoder")
        state = inputs.changed({"encoder": entry}).get("encoder") if entry else "unknown"
        if entry is None or state:
            named = f"{entry.path}, which is {state}" if entry else "unknown to its run"
            told = f"policy={path} reads features of an encoder: {named}. Type encoder=<run or file>."
            yield Problem("", told)
            return
        composed.set_value("encoder", entry.path)
        report.inputs["encoder"], report.references["encoder"] = Path(entry.path), entry.path
        if entry.run and entry.run not in report.parents:
            report.parents.append(entry.run)


def check_encoder(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem if the encoder does not fit the images of the task, which are set to its own if they are off."""
    config, report, path = composed.config, context.report, context.report.inputs.get("encoder")
    if config.encoder is None:
        return
    task = composed.choices["task"]
    if not hasattr(config.env, "images"):
        yield Problem("", f"encoder={config.encoder}: task={task} has no images. Remove encoder=.")
        return
    if trained := bool(getattr(config.agent, "images", None)):  # it begins with the encoder, and trains its own
        if composed.choices["stage"] != "train":
            yield Problem("", f"encoder={config.encoder}: the policy reads the images itself. Remove encoder=.")
            return
        if config.policy:
            both = f"encoder={config.encoder}: policy={config.policy} has an encoder of its own"
            yield Problem("", f"{both}, which replaces this one. Remove encoder= or policy=.")
            return
    else:
        _warn_of_privileged(config, report)
    if path is None:  # another run has yet to make it
        return
    try:
        bundle = read_header(path)
        described = EncoderDescription.of(bundle)
    except RegimenError as error:
        yield Problem("", f"encoder={path}: {error}")
        return
    if trained:
        for line in config.agent.encoder_problems(bundle.get("agent") or {}):
            yield Problem("", f"encoder={path}: {line}")
    wanted = _images_section(described.images)
    if config.env.images is None:
        composed.set_section("env.images", wanted)
    if config.env.images.problems():  # reported by `_check_sections`
        return
    images = {name: [*config.env.images.shape, 3] for name in config.env.images.cameras}
    if lines := described.misfits(images, task):
        own = f"env.images={{size: {wanted['size']}, cameras: [{', '.join(described.images)}]}}"
        other = described.task not in (None, task)
        advice = "Train one on recordings of this task: stage=distill agent=image_encoder." if other else f"Type {own}."
        yield Problem("", f"encoder={path} does not fit task={task}: {'; '.join(lines)}. {advice}")


def _images_section(images: dict[str, list[int]]) -> PlainSection:
    """Return the plain section `env.images` with these images, camera -> [H, W, C]."""
    height, width = next(iter(images.values()))[:2]
    return {"size": height if height == width else [height, width], "cameras": list(images)}


def _player_problems(composed: ComposedConfig, name: str) -> Iterator[Problem]:
    """Yield a problem if the agent has no players, or none of a name.

    An agent with players has the classmethod `play`, and its dataclass a method `player_problem(name)`.
    """
    agent = composed.config.agent
    if "play" not in static_types.methods(agent._target_):
        others = ", ".join(_agents_with(composed, "play")) or "none here"
        yield Problem("stage.player", f"agent={composed.choices['agent']} has no players. Agents with them: {others}.")
    elif problem := agent.player_problem(name):
        yield Problem("stage.player", f"stage.player={name}: {problem}")


def check_data(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for each dataset that is damaged, or of another kind than the agent learns from.

    An agent declares the kind by `DATA: ClassVar[str]`: `.h5` for episodes, `.json` for histories. One that learns in
    an environment, and does not declare it, reads none.
    """
    accepted, agent = getattr(composed.config.agent, "DATA", None), composed.choices["agent"]
    if composed.choices["stage"] == "train" and composed.config.data and accepted is None:
        able = ", ".join(_agents_with(composed, "use_data"))
        others = f"Agents that use data beside it: {able}. " if able else ""
        yield Problem("", f"data=: agent={agent} learns from the environment alone. {others}Remove data=.")
        return
    for name, path in context.report.inputs.items():
        if not name.startswith("data."):
            continue
        if accepted in KINDS and path.suffix in KINDS and path.suffix != accepted:
            learns = f"agent={agent} learns from {KINDS[accepted]}"
            yield Problem("", f"data={path} are {KINDS[path.suffix]}; {learns}.")
        elif path.suffix == accepted == ".h5" and (kind := this_is(path, HDF5)):
            yield Problem("", f"data={path} cannot be read as HDF5. {kind}Make or copy it again.")


def check_policy(composed: ComposedConfig, context: PreflightContext) -> Iterator[Problem]:
    """Yield a problem for a policy or detector that does not fit task, agent and stage, with every difference.

    Observations and joints of a manager-based task are compared. Those of other tasks are known only once they are
    open: there the policy of a stage that declares `LOADS_POLICY: ClassVar[bool]` is compared with the agent alone.
    """
    config, robot = composed.config, context.robot
    files = {name: path for name, path in context.report.inputs.items() if path.suffix in POLICY_SUFFIXES}
    policy, detector = files.get("policy"), files.get("estimator")
    if robot is not None and context.patterns_match and getattr(config.env, "MANAGER_BASED", False):
        if policy is not None:
            yield from _or_unreadable("policy", policy, lambda path: _compare_policy(path, composed, robot))
        if detector is not None:
            yield from _or_unreadable("estimator", detector, lambda path: _compare_detector(path, composed, robot))
    elif policy is not None and not getattr(config.env, "robot", None) and getattr(config.stage, "LOADS_POLICY", False):
        yield from _or_unreadable("policy", policy, lambda path: _compare_unopened(path, composed))


def _or_unreadable(name: str, path: Path, compare: Callable[[Path], list[str]]) -> Iterator[Problem]:
    """Yield the problems of an input file, or the one that it cannot be read."""
    try:
        lines = compare(path)
    except RegimenError as error:
        lines = [f"{name}={path}: {error}"]
    for line in lines:
        yield Problem("", line)


def _agents_with(composed: ComposedConfig, method: str) -> Iterator[str]:
    """Yield the names of the agents in the same folder of options that have `method`."""
    for name, target in _agents(composed):
        with suppress(ConfigError):
            if method in static_types.methods(target):
                yield name


def _agents_declaring(composed: ComposedConfig, variable: str) -> Iterator[str]:
    """Yield the names of the agents in the same folder of options whose class variable is true."""
    for name, target in _agents(composed):
        if static_types.class_variable({"_target_": target}, variable):
            yield name


def _agents(composed: ComposedConfig) -> Iterator[tuple[str, str]]:
    """Yield name and class of the agents in the same folder of options."""
    for file in sorted(composed.files["agent"].parent.glob("*.yaml")):
        target = (read_yaml(file) or {}).get("_target_")
        if target:
            yield file.stem, target


def _of_another_agent(path: Path, bundle: PolicyBundle, composed: ComposedConfig) -> list[str]:
    """Return a line if a training would start from a policy of another format than its agent's.

    An agent declares the format by `POLICY_FORMAT: ClassVar[str]`; without it nothing is compared.
    """
    source, agent = bundle.get("agent") or {}, composed.config.agent
    if source.get("_target_") == agent._target_ or composed.choices["stage"] != "train":
        return []
    if source.get("_target_") == header.AGENT:
        return [f"policy={path} {EXPORTED}"]
    formats = static_types.class_variable(source, "POLICY_FORMAT"), getattr(agent, "POLICY_FORMAT", None)
    if None in formats or formats[0] == formats[1]:
        return []
    target = str(source["_target_"])
    options = " or ".join(f"agent={name}" for name, other in _agents(composed) if other == target)
    return [
        f"policy={path} is a policy of {target.rpartition('.')[2]}; agent={composed.choices['agent']} cannot start "
        f"from it: it has other networks. Set {options or 'the agent of its run'}, or remove policy=."
    ]


def _compare_unopened(path: Path, composed: ComposedConfig) -> list[str]:
    """Return the differences of a policy and a task whose observations and joints are known once it is open."""
    try:
        return _of_another_agent(path, read_header(path), composed)
    except ForeignError as error:
        if _joints_of(composed) is None or error.library != "rsl_rl":
            raise
        return _foreign_agent(composed)


def _joints_of(composed: ComposedConfig) -> list[str] | None:
    """Return `stage.joints` of an evaluation: the order of the joints in a checkpoint of rsl_rl itself."""
    joints: list[str] | None = getattr(composed.config.stage, "joints", None)
    return joints if composed.choices["stage"] == "evaluate" else None


def _compare_policy(path: Path, composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return the differences of a policy and a manager-based task.

    The policy may read fewer terms than the task offers in the stages `train`, unless it is a teacher, and `assemble`,
    and with an agent that declares `WATCHES: ClassVar[bool] = True`: such an agent is evaluated while the policy acts
    without its estimate.
    """
    config, stage = composed.config, composed.choices["stage"]
    joints = _joints_of(composed)
    try:
        bundle = read_header(path)
    except ForeignError as error:
        if joints is None or error.library != "rsl_rl":
            raise
        return _compare_foreign(joints, composed, robot)
    if joints is not None:
        return [f"stage.joints={joints}: {path} records its joints itself. Remove stage.joints."]
    if "detector" in bundle:
        return [f"policy={path} is a detector of broken joints, not a policy. Set estimator={path}."]
    if bundle.get("agent", {}).get("_target_") == header.AGENT and stage in ("assemble", "export"):
        return [f"policy={path} {EXPORTED}"]
    if other := _of_another_agent(path, bundle, composed):
        return other
    taught = stage == "train" and "use_teacher" in static_types.methods(config.agent._target_)
    partial = not taught and (stage in ("train", "assemble") or getattr(config.agent, "WATCHES", False))
    ios = bundle.get("ios", [bundle["io"]])  # a model of several groups of tasks: the best match
    lines = min((mismatches(io, config, robot, partial) for io in ios), key=len)
    if not lines:
        return []
    estimates = [line for line in lines if any(f"policy.{term}:" in line for term in (PROBABILITY, SINCE))]
    hint = [ESTIMATE_NEEDED if "only the policy" in estimates[0] else ESTIMATE_UNUSED] if estimates else []
    return ["\n  ".join([f"policy={path} does not fit task={composed.choices['task']}:", *lines, *hint])]


def _compare_foreign(joints: list[str], composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return the problems of evaluating a checkpoint written by rsl_rl itself."""
    lines = _foreign_agent(composed)
    task_joints = match(robot.joints, *composed.config.env.actions.joints)
    if joints != ["task"] and sorted(joints) != sorted(task_joints):
        lines.append(f"stage.joints={joints}: expected, in the policy's order, {', '.join(task_joints)}; or [task].")
    return lines


def _foreign_agent(composed: ComposedConfig) -> list[str]:
    """Return a line if the agent does not take checkpoints of rsl_rl."""
    if getattr(composed.config.agent, "POLICY_FORMAT", None) == "rsl_rl":
        return []
    return [f"agent={composed.choices['agent']}: this is a policy of rsl_rl. Set agent=rsl_rl_ppo."]


def _compare_detector(path: Path, composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return the differences of the task and what the detector `path` reads."""
    bundle = read_header(path)
    if "detector" not in bundle:
        return [f"estimator={path} is a policy, not a detector. To train a detector: stage=distill agent=failure_gru."]
    lines = mismatches(bundle["io"], composed.config, robot, groups=(bundle["detector"]["group"],))
    lines = [line.replace(": policy ", ": detector ").replace("only the policy", "only the detector") for line in lines]
    lines += _class_differences(bundle["detector"]["classes"], composed, robot)
    return ["\n  ".join([f"estimator={path} does not fit task={composed.choices['task']}:", *lines])] if lines else []


def _class_differences(classes: list[str], composed: ComposedConfig, robot: Robot) -> list[str]:
    """Return a line if a detector has other classes than the joints that fail where it is evaluated, or observed."""
    config, env = composed.config, composed.config.env
    if composed.choices["stage"] == "evaluate" and getattr(config.agent, "WATCHES", False):
        joints, keys = affected_joints(env, robot.joints), keys_of_faults(env)
        told = class_difference(classes, joints, keys) if joints else NO_FAULTS
    elif resolve_mode(env.estimate, config.estimator) == "classifier":
        told = class_difference(classes, match(robot.joints, *env.estimate.joints), "env.estimate.joints")
    else:
        told = None
    return [told] if told else []
