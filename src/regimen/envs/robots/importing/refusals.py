"""Elements of a file that the simulators of Regimen do not simulate, and their removal by `--drop`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from regimen.envs.robots.importing.settings import ImportSettings
from regimen.envs.robots.importing.source import Source, compile_source, take_keyframes
from regimen.system.errors import ConfigError, did_you_mean, raise_if_any

if TYPE_CHECKING:
    import mujoco


def drop(source: Source, names: tuple[str, ...]) -> None:
    """Remove elements from the spec, with all that refers to them.

    Args:
        source: its spec is changed, its notes name what was removed.
        names: of bodies, joints, tendons, equality constraints and actuators; unnamed ones are `equality[0]`, ….

    Raises:
        ConfigError: there is no element with one of the names.
    """
    if names:
        take_keyframes(source)
    for name in names:
        elements = dict(_droppable(source.spec))
        if name not in elements:
            raise ConfigError(f"--drop {name}: the file has no such element. {did_you_mean(name, elements)}")
        gone = _referring(source.spec, name)
        for element in (*gone.values(), elements[name]):
            source.spec.delete(element)
        others = f", with {', '.join(f'`{other}`' for other in gone)}" if gone else ""
        source.notes.append(f"`{name}` is removed by --drop{others}")


def _referring(spec: mujoco.MjSpec, name: str) -> dict[str, Any]:
    """Return the actuators and equality constraints that refer to a joint or tendon, by name."""
    found: dict[str, Any] = {a.name or f"actuator[{i}]": a for i, a in enumerate(spec.actuators) if a.target == name}
    joints = {joint.name for joint in spec.joints}
    return found | {
        e.name or f"equality[{i}]": e
        for i, e in enumerate(spec.equalities)
        if name in joints and name in (e.name1, e.name2)
    }


def _droppable(spec: mujoco.MjSpec) -> Iterator[tuple[str, Any]]:
    """Return names of elements that can be removed; where a body and a joint share one, the joint has it."""
    for body in spec.bodies[1:]:
        yield body.name, body
    for kind, elements in (
        ("actuator", spec.actuators),
        ("joint", spec.joints),
        ("tendon", spec.tendons),
        ("equality", spec.equalities),
    ):
        for i, element in enumerate(elements):
            yield element.name or f"{kind}[{i}]", element


def compile_simulated(source: Source, settings: ImportSettings) -> mujoco.MjModel:
    """Return the compiled model of a file in which everything can be simulated.

    Raises:
        ConfigError: one line for each element that cannot, with what can be done; or MuJoCo does not compile the file.
    """
    constraints = list(_constraint_problems(source.spec))
    try:
        model = compile_source(source)
    except ConfigError:
        raise_if_any(constraints)  # what is left of a closed loop keeps MuJoCo from compiling
        raise
    raise_if_any([*constraints, *_joint_problems(model), *_actuator_problems(model), *_unactuated(model, settings)])
    return model


def _constraint_problems(spec: mujoco.MjSpec) -> Iterator[str]:
    for i, equality in enumerate(spec.equalities):
        name = equality.name or f"equality[{i}]"
        kind = str(equality.type).partition("mjEQ_")[2].partition(":")[0].lower()
        ends = " and ".join(f"`{end}`" for end in (equality.name1, equality.name2) if end)
        yield (
            f"equality constraint `{name}` ({kind}) of {ends}: closed loops and coupled joints are not simulated. "
            f"Remove it by --drop {shlex.quote(name)}; weld a joint that only follows another by --drop <joint>"
        )
    for i, tendon in enumerate(spec.tendons):
        name = tendon.name or f"tendon[{i}]"
        remove = f"Remove it, with its actuators, by --drop {shlex.quote(name)}"
        yield f"tendon `{name}`: tendons are not simulated. {remove}"
    for flex in spec.flexes:
        yield f"flex `{flex.name}`: soft bodies are not simulated. Remove it from the file"


def _joint_problems(model: mujoco.MjModel) -> Iterator[str]:
    import mujoco

    roots: dict[int, list[str]] = {}
    free = []
    for j in range(model.njnt):
        name, body = model.joint(j).name or f"joint[{j}]", int(model.jnt_bodyid[j])
        if model.jnt_type[j] == mujoco.mjtJoint.mjJNT_BALL:
            yield (
                f"joint `{name}` of `{model.body(body).name}`: a ball joint; only hinge and slide joints are actuated. "
                f"Replace it by three hinges in the file, or weld it by --drop {name}"
            )
        elif model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE:
            free.append(body)
        roots.setdefault(int(model.body_rootid[body]), []).append(name)
    if len(roots) > 1:
        yield "several bodies move on their own, and a model contains one robot: " + "; ".join(
            f"`{model.body(root).name}` (joints {', '.join(names[:4])}{', …' if len(names) > 4 else ''}), removed by "
            f"--drop {model.body(root).name}"
            for root, names in roots.items()
        )
    for body in free:
        others = [model.joint(j).name for j in range(model.njnt) if model.jnt_bodyid[j] == body]
        if len(others) > 1:
            yield f"body `{model.body(body).name}`: joints {', '.join(others)} beside its free joint; remove them"
    if not roots or model.njnt == len(free):
        yield "the file has no joint that a motor could move; expected hinge or slide joints"


def _actuator_problems(model: mujoco.MjModel) -> Iterator[str]:
    import mujoco

    joints: dict[int, list[str]] = {}
    direct = (int(mujoco.mjtTrn.mjTRN_JOINT), int(mujoco.mjtTrn.mjTRN_JOINTINPARENT))
    for i in range(len(model.actuator_trntype)):
        name = model.actuator(i).name or f"actuator[{i}]"
        if int(model.actuator_trntype[i]) not in direct:
            kind = str(mujoco.mjtTrn(int(model.actuator_trntype[i]))).partition("mjTRN_")[2].lower()
            yield f"actuator `{name}` drives a {kind}; expected a joint. Remove it by --drop {shlex.quote(name)}"
            continue
        joints.setdefault(int(model.actuator_trnid[i, 0]), []).append(name)
        if model.actuator_dyntype[i] == mujoco.mjtDyn.mjDYN_MUSCLE:
            yield f"actuator `{name}` is a muscle; expected a motor or a servo. Remove it by --drop {shlex.quote(name)}"
    for j, names in joints.items():
        if len(names) > 1:
            yield (
                f"joint `{model.joint(j).name}` has {len(names)} actuators: {', '.join(names)}; expected one. Remove "
                f"the others, for example by --drop {shlex.quote(','.join(names[1:]))}"
            )


def _unactuated(model: mujoco.MjModel, settings: ImportSettings) -> Iterator[str]:
    """Name joints without an actuator in a file that has actuators: passive joints, which no task moves."""
    import mujoco

    driven = {int(model.actuator_trnid[i, 0]) for i in range(len(model.actuator_trntype))}
    for j in range(model.njnt) if driven else ():
        name = model.joint(j).name
        passive = model.jnt_type[j] != mujoco.mjtJoint.mjJNT_FREE and j not in driven
        if passive and settings.given("effort", name) is None:
            yield (
                f"joint `{name}` has no actuator, and other joints have: a passive joint is not simulated. Weld it by "
                f"--drop {name}, or give it a motor by --effort {name}=<N·m>"
            )
