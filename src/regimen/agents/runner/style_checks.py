"""Checks of the settings of AMP, and of the task, before the start and without importing torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from regimen.agents.runner.components import ancestry
from regimen.config.static_types import class_variable
from regimen.envs.robots.robot import load, match
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.yaml_io import PlainConfig

ALGORITHM = "regimen.agents.amp.agent:AMPAgent"

LOSSES = ("lsgan", "bce")
"""Losses of the discriminator."""

LAYERS = ("units", "activation", "initializer")
COUNTS = ("amp_minibatch_size", "amp_replay_buffer_size", "disc_updates")
POSE = "motion_pose"
"""Observation term that the group `motion` consists of."""

GROUP = "'+env.observations.motion={terms: {pose: {func: motion_pose}}}'"
CLIPS = "'+env.motion.clips.walk={file: <name or .npz file>}'"


def learns_style(algo: str) -> bool:
    """Return whether an algorithm, `pkg.mod:Class`, is AMP or a subclass of it."""
    try:
        return any(name == ALGORITHM for name, _, _ in ancestry(algo))
    except ConfigError:
        return False


def problems(params: dict[str, Any], config: PlainConfig) -> Iterator[str]:
    """Yield one line for each reason why AMP cannot train, beside keys that are missing or that nothing reads.

    Args:
        params: the section `params`, with its sections `network` and `config`.
        config: the run's plain config.
    """
    settings, layers = params["config"], params["network"].get("disc")
    missing = [key for key in LAYERS if not isinstance(layers, dict) or key not in layers]
    if missing:
        yield (
            f"params.network.disc: {', '.join(missing)} missing; the layers of the discriminator. "
            "Type '+agent.params.network.disc={units: [256, 128], activation: relu, initializer: {name: default}}'."
        )
    loss = settings.get("disc_loss")
    if loss is not None and loss not in LOSSES:
        yield f"params.config.disc_loss={loss}: not a choice. {did_you_mean(str(loss), LOSSES)}"
    for key in COUNTS:
        if key in settings and not (isinstance(settings[key], int) and settings[key] >= 1):
            yield f"params.config.{key}={settings[key]}: expected a whole number, 1 or more."
    share = settings.get("amp_replay_keep_prob")
    if share is not None and not (isinstance(share, int | float) and 0 <= share <= 1):
        yield f"params.config.amp_replay_keep_prob={share}: expected a share, 0 to 1."
    if settings.get("task_reward_w") == settings.get("disc_reward_w") == 0:
        yield "params.config.disc_reward_w=0: with task_reward_w=0 nothing is paid for. Set one of them above 0."
    yield from _task_problems(config)


def _task_problems(config: PlainConfig) -> Iterator[str]:
    """Yield what a manager-based task lacks; other tasks are known once they are open."""
    env = config["env"]
    if not class_variable(env, "MANAGER_BASED"):
        return
    task = f"task={config['choices'].get('task')}"
    terms = ((env.get("observations") or {}).get("motion") or {}).get("terms") or {}
    functions = [str(term.get("func")) for term in terms.values() if term]
    if not functions:
        yield (
            f"{task} has no observation group `motion`, which AMP compares with the clips. Type task=go2_amp or "
            f"task=humanoid_amp, or give it one: {GROUP}"
        )
    elif len(functions) != 1 or functions[0].rpartition(":")[2] != POSE:
        yield (
            f"{task}: the observation group `motion` has the terms {', '.join(functions)}; AMP needs {POSE} alone, as "
            f"task=go2_amp has it. Put others into another group."
        )
    clips = ((env.get("motion") or {}).get("clips") or {}).values()
    if not any(clips):
        yield f"{task} has no motion clips, whose style AMP learns. Type {CLIPS}, or task=go2_amp or task=humanoid_amp."
    joints = (env.get("actions") or {}).get("joints")
    if joints and not _all_joints(joints, env.get("robot")):
        yield (
            f"{task}: env.actions.joints={joints}: AMP needs an action for each joint, as the clips have them all. "
            "Type env.actions.joints=['.*']."
        )


def _all_joints(patterns: str | Sequence[str], robot: str | None) -> bool:
    """Return whether patterns match all joints of a robot; True where the check of the robot reports them."""
    if not robot:
        return True
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    try:
        names = load(robot).joints
        return match(names, *wanted) == names
    except (ConfigError, re.error):
        return True
