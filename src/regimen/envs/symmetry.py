"""Left-right symmetry: the mirror image of observations and actions in the robot's x-z plane.

A mirror image is a permutation of the columns and a sign for each, found by name: a robot declares which of its names
swap and which joints change their sign (`regimen.envs.robots.Mirror`), and each observation term declares its kind by
`@mirrors`. Vectors negate y; angular velocities, which are axial, negate x and z. The mirror image of a gait clock has
its legs swapped, which is the same clock half a stride later: sine and cosine change their signs (the public FastSAC
negates one of the two, which is another clock: holosoma, pull request 184).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from regimen.envs.manager_base import enabled
from regimen.envs.term_binding import find_term
from regimen.envs.term_env import MirroredCommand
from regimen.envs.terrain.ray_pattern import PATTERNS, pattern_of
from regimen.envs.terrain.scan_grid import ScanGrid
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.config.task_schema import ObservationGroupCfg, ObservationTermCfg
    from regimen.envs.term_env import TermEnv
    from regimen.envs.vec_env import ActionSpec, IOSpec, Obs

Image = tuple[list[int], list[float]]
"""For each column of the mirror image the column it is taken from, and its sign."""

Term = TypeVar("Term", bound=Callable[..., Any])


def mirrors(kind: str) -> Callable[[Term], Term]:
    """Declare the kind of an observation term, which determines its mirror image.

    Args:
        kind: `vector` (x, y, z in the base frame), `mounted_vector` (the same, read at the place `offset` of the base;
            none where it is to one side), `axial` (the same of an angular velocity), `joints` (one value for each of
            its joints), `action` (one for each joint that acts), `command` (the value of the one it names),
            `scalar` (a height), `scan` (heights on a grid), `depth_image` and `ray_distances` (distances along rays),
            `feet` (one value for each foot), `key_bodies` (positions of the key bodies) or `pose` (root
            position, quaternion, joints and key bodies).
    """

    def declare(term: Term) -> Term:
        term.mirrors = kind  # type: ignore[attr-defined]
        return term

    return declare


class Symmetry:
    """The mirror image of observations and actions. Its own inverse.

    The tensors may be on another device than the environments, such as an agent's replay buffer on a GPU.

    Attributes:
        images: the arguments of the constructor, plain data.
    """

    def __init__(self, observations: Mapping[str, Image], action: Image) -> None:
        """Store the images of each observation group and of the action."""
        self.images = {"observations": dict(observations), "action": action}
        self._observations = {group: _Columns(image) for group, image in observations.items()}
        self._action = _Columns(action)

    @classmethod
    def of(cls, env: TermEnv, io: IOSpec, groups: Mapping[str, ObservationGroupCfg]) -> Symmetry | None:
        """Return the symmetry of a task, None where robot, term or command declare none, or the default pose has none.

        Args:
            env: robot, joints and commands.
            io: observations and actions of the task.
            groups: configuration of its observation groups.
        """
        if env.robot.mirror is None or not _same_on_both_sides(env, io.action):
            return None
        images = {group: _group_image(env, io, groups, group) for group in io.observations}
        action = env.robot.mirror.joints(io.action.joints)
        mirrored = {group: image for group, image in images.items() if image is not None}
        return cls(mirrored, action) if len(mirrored) == len(images) and action is not None else None

    def mirror_obs(self, obs: Obs) -> Obs:
        """Return the mirror image of group -> (..., d); groups may be missing."""
        return {group: self._observations[group].of(x) for group, x in obs.items()}

    def mirror_action(self, action: torch.Tensor) -> torch.Tensor:
        """Return the mirror image of actions (..., A)."""
        return self._action.of(action)


class _Columns:
    """A mirror image of the last dimension; its index and signs are copied once to each device used."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._on_device: dict[torch.device, tuple[torch.Tensor, torch.Tensor]] = {}

    def of(self, x: torch.Tensor) -> torch.Tensor:
        if x.device not in self._on_device:
            order, signs = (torch.tensor(values, device=x.device) for values in self._image)
            self._on_device[x.device] = order, signs
        order, signs = self._on_device[x.device]
        return x.index_select(-1, order) * signs


def _same_on_both_sides(env: TermEnv, action: ActionSpec) -> bool:
    """Return whether the default pose and the action scale, relative to which joints are given, are symmetric."""
    assert env.robot.mirror is not None
    pose, acting = env.robot.mirror.joints(env.joints), env.robot.mirror.order(action.joints)
    if pose is None or acting is None:
        return False
    angles, scale = env.default_joint_pos, torch.tensor(action.scale)
    return torch.allclose(_Columns(pose).of(angles), angles, atol=1e-5) and torch.allclose(scale[acting], scale)


def _group_image(env: TermEnv, io: IOSpec, groups: Mapping[str, ObservationGroupCfg], group: str) -> Image | None:
    """Return the image of all columns of a group, term after term; None where a term declares none."""
    order: list[int] = []
    signs: list[float] = []
    for name, width in io.observations[group].items():
        joints = io.meaning[group][name].get("joints", env.joints)
        image = _term_image(env, _term(groups, group, name), joints, io.action.joints)
        history = io.meaning[group][name].get("history", 1)
        if image is None or len(image[0]) * history != width:
            return None
        image = _repeated(image, history)
        order += [len(signs) + column for column in image[0]]
        signs += image[1]
    return order, signs


def _repeated(image: Image, times: int) -> Image:
    """Return the image of columns that stand side by side several times."""
    order, signs = image
    return [step * len(order) + column for step in range(times) for column in order], signs * times


def _term(groups: Mapping[str, ObservationGroupCfg], group: str, name: str) -> ObservationTermCfg:
    """Return a term of a group, or of the group that it extends."""
    cfg = groups[group]
    own: dict[str, ObservationTermCfg] = enabled(cfg.terms)
    return own[name] if name in own or cfg.extends is None else _term(groups, cfg.extends, name)


def _term_image(env: TermEnv, cfg: ObservationTermCfg, joints: list[str], acting: list[str]) -> Image | None:
    func, mirror = find_term("observations", cfg.func), env.robot.mirror
    assert mirror is not None
    kind: str = getattr(func, "mirrors", "")
    if kind == "command":
        command = env.commands[_parameter(func, cfg, "command")]
        image: Image | None = command.image() if isinstance(command, MirroredCommand) else None
        return image
    if kind == "scan":
        return _unsigned(ScanGrid.of(cfg.params).mirrored())
    if kind in PATTERNS:
        return _unsigned(pattern_of(kind, cfg.params).mirrored())
    if kind == "mounted_vector" and _parameter(func, cfg, "offset")[1] != 0.0:
        return None
    return {
        "vector": ([0, 1, 2], [1.0, -1.0, 1.0]),
        "mounted_vector": ([0, 1, 2], [1.0, -1.0, 1.0]),
        "axial": ([0, 1, 2], [-1.0, 1.0, -1.0]),
        "scalar": ([0], [1.0]),
        "joints": mirror.joints(joints),
        "action": mirror.joints(acting),
        "feet": _unsigned(mirror.order(env.robot.feet)),
        "key_bodies": _bodies_image(env),
        "pose": _pose_image(env),
    }.get(kind)


def _parameter(func: Callable[..., Any], cfg: ObservationTermCfg, name: str) -> Any:
    """Return a parameter of an observation term, given or its default.

    Raises:
        ConfigError: the term has no such parameter, on which the image of its kind depends.
    """
    parameters = inspect.signature(func).parameters
    if name not in parameters:
        kind = func.mirrors  # type: ignore[attr-defined]
        message = f'The observation term {cfg.func} is declared @mirrors("{kind}") and has no parameter `{name}`.'
        raise ConfigError(f"{message} Add it, or declare another kind.")
    return cfg.params.get(name, parameters[name].default)


def _unsigned(order: list[int] | None) -> Image | None:
    """Return the image of columns that swap places and keep their signs."""
    return None if order is None else (order, [1.0] * len(order))


def _bodies_image(env: TermEnv) -> Image | None:
    """Return the image of the positions (3 K) of the key bodies of the task's motion clips."""
    order = None if env.motion is None or env.robot.mirror is None else env.robot.mirror.order(env.motion.key_bodies)
    return None if order is None else ([3 * k + i for k in order for i in range(3)], [1.0, -1.0, 1.0] * len(order))


def _pose_image(env: TermEnv) -> Image | None:
    """Return the image of a pose: root position 3, quaternion w x y z, joints, key bodies."""
    assert env.robot.mirror is not None
    joints, bodies = env.robot.mirror.joints(env.joints), _bodies_image(env)
    if joints is None or bodies is None:
        return None
    after = 7 + len(joints[0])
    order = [*range(7), *(7 + column for column in joints[0]), *(after + column for column in bodies[0])]
    return order, [1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, *joints[1], *bodies[1]]
