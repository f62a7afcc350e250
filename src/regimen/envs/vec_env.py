"""The environment contract between simulators and agents: batched environments of torch tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict, TypeGuard, runtime_checkable

from regimen.system.errors import ConfigError, IOMismatchError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from regimen.runs.checkpoint_header import StateDict

Obs = dict[str, "torch.Tensor"]
"""Observation group -> (N, d) float32, or for an image (N, H, W, C) uint8. The group `policy` is always there."""

TermMeaning = dict[str, Any]
"""Meaning of the columns of an observation term: `scale`, `clip`, the names of its `joints`, and the like."""


class StepInfo(TypedDict):
    """What `VecEnv.step` returns beside observations, rewards and ends.

    Labels and metrics belong to this step: where an episode ended they belong to `final_obs`, not to the returned
    observation.

    Attributes:
        final_obs: as the observations; rows are valid where an episode ended: the observation before the reset.
        log: name -> mean over the episodes that ended: a float, or of an env on a GPU a () tensor, because
            `float` would wait for the device.
        labels: name -> (N,) ground truth, such as the failed joint.
        metrics: name -> (N,) float, quality of the task at this step.
        ends: name of a termination of the task -> (N,) bool, where it holds; without successes and time-outs. A task
            with several failures has it, so that an evaluation counts each kind.
        ended_ids: (n,) int64, ascending, the envs whose episode ended; of an env that has read them.
    """

    final_obs: Obs
    log: Mapping[str, float | torch.Tensor]
    labels: dict[str, torch.Tensor]
    metrics: dict[str, torch.Tensor]
    ends: NotRequired[dict[str, torch.Tensor]]
    ended_ids: NotRequired[torch.Tensor]


@dataclass
class ActionSpec:
    """Meaning of one action vector, joint by joint in order.

    Attributes:
        joints: names, length A.
        scale: rad per unit of action, length A.
        offset: target at action 0 in rad, length A.
        clip: bound on the absolute action, or None.
        limits: lowest and highest angle of each joint in rad, or None where they are not known; not compared between
            a policy and an env, because they may be known only once the env is open.
        discrete: whether an action is the one-hot code of one of A choices, which `joints` names. Not compared, because
            older checkpoints lack it.
    """

    joints: list[str]
    scale: list[float]
    offset: list[float]
    clip: float | None = None
    limits: list[list[float]] | None = field(default=None, compare=False)
    discrete: bool = field(default=False, compare=False)


@dataclass
class IOSpec:
    """Observations and actions of a policy, by name. Stored in every checkpoint and dataset.

    Attributes:
        observations: group -> ordered {term name: size}, of the groups of vectors.
        action: the action's joints, order, scale, offset and clip.
        step_dt: seconds between two actions.
        meaning: group -> term -> scale, clip, joints and the like.
        images: group of one image -> [H, W, C]; empty for a task without images.
    """

    observations: dict[str, dict[str, int]]
    action: ActionSpec
    step_dt: float
    meaning: dict[str, dict[str, TermMeaning]] = field(default_factory=dict)
    images: dict[str, list[int]] = field(default_factory=dict)

    def size(self, group: str = "policy") -> int:
        """Return the width of a group of vectors."""
        return sum(self.observations[group].values())

    @property
    def num_actions(self) -> int:
        """Width A of the action."""
        return len(self.action.joints)

    def to_dict(self) -> StateDict:
        """Return plain data for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: StateDict) -> IOSpec:
        """Rebuild from `to_dict`.

        Raises:
            IOMismatchError: if the data are incomplete, as those of another version.
        """
        try:
            return cls(
                observations={g: dict(t) for g, t in data["observations"].items()},
                action=ActionSpec(**data["action"]),
                step_dt=data["step_dt"],
                meaning={g: {t: dict(m) for t, m in terms.items()} for g, terms in data["meaning"].items()},
                images={name: list(size) for name, size in data.get("images", {}).items()},
            )
        except (KeyError, TypeError) as error:
            raise IOMismatchError(
                f"The observations and actions of this policy are not described as this version expects: {error}. "
                "Train again, or use the version named in its run.json."
            ) from error

    def differences(
        self, other: IOSpec, groups: tuple[str, ...] = ("policy",), allow_extra_terms: bool = False
    ) -> list[str]:
        """Return one line per difference that matters to a policy reading `groups`; empty if it fits.

        Args:
            other: the environment's spec, `self` being the policy's.
            groups: observation groups the policy reads, images among them.
            allow_extra_terms: whether the environment may have terms that the policy does not read.
        """
        lines: list[str] = []
        for group in groups:
            own, theirs = self.observations.get(group, {}), other.observations.get(group, {})
            lines += _dict_differences(
                group, own, {n: d for n, d in theirs.items() if n in own} if allow_extra_terms else theirs
            )
            lines += _meaning_differences(group, self.meaning.get(group, {}), other.meaning.get(group, {}))
            lines += _image_differences(group, self.images.get(group), other.images.get(group))
        lines += _joint_differences(self.action, other.action)
        if abs(self.step_dt - other.step_dt) > 1e-9:
            lines.append(f"step time: policy {self.step_dt:g} s, env {other.step_dt:g} s")
        return lines

    def columns_in(self, other: IOSpec, group: str = "policy") -> list[int]:
        """Return the index of each column of `group` in the same group of `other`, which has all of its terms."""
        starts, start = {}, 0
        for name, size in other.observations[group].items():
            starts[name], start = start, start + size
        return [starts[name] + i for name, size in self.observations[group].items() for i in range(size)]

    def joint_permutation(self, joints: list[str], terms: Collection[str]) -> tuple[list[int], list[int]]:
        """Return where each joint, and each column of the group `policy`, is in a policy with another order of joints.

        Args:
            joints: the order of that policy, the same joints.
            terms: observation terms with one value a joint.

        Raises:
            ConfigError: such a term has values for some of the joints only.
        """
        order, columns, start = [joints.index(joint) for joint in self.action.joints], list(range(self.size())), 0
        for term, size in self.observations["policy"].items():
            if term in terms:
                if size != len(order):
                    raise ConfigError(f"{term} has {size} values, one for some of the joints only: --joints task.")
                columns[start : start + size] = [start + k for k in order]
            start += size
        return order, columns

    def require_fits(
        self,
        other: IOSpec,
        what: str = "policy",
        groups: tuple[str, ...] = ("policy",),
        allow_extra_terms: bool = False,
    ) -> None:
        """Raise unless a policy with this spec can act in an env with spec `other`; arguments as for `differences`.

        Raises:
            IOMismatchError: naming every term, joint and figure that differs.
        """
        lines = self.differences(other, groups, allow_extra_terms)
        if lines:
            raise IOMismatchError(f"The {what} does not fit this environment:\n  " + "\n  ".join(lines))


class EnvWrapper:
    """What a wrapper leaves to the environment that it wraps; it has the attributes and other methods of `VecEnv`."""

    _inner: VecEnv

    def stagger(self) -> None:
        """Set the envs to random times of their episodes."""
        self._inner.stagger()

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold command `name` at `values` (N, k)."""
        self._inner.fix_command(name, values)

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold event `name` at the given values, each (N,)."""
        self._inner.fix_event(name, **values)

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8."""
        return self._inner.render()

    def close(self) -> None:
        """Free the simulator."""
        self._inner.close()


def task_below(env: object) -> Any:
    """Return the task below all wrappers, for what `VecEnv` does not name, such as `kinematics`.

    Args:
        env: of `open_env`; each wrapper has the task as `env`.
    """
    return getattr(env, "env", env)


def is_solved(env: object) -> TypeGuard[SolvedTask]:
    """Return whether an environment has an `optimal_action`."""
    return hasattr(env, "optimal_action")


def _dict_differences(group: str, own: dict[str, int], theirs: dict[str, int]) -> list[str]:
    lines = [f"observation {group}.{n}: only the policy has it" for n in own if n not in theirs]
    lines += [f"observation {group}.{n}: only the env has it" for n in theirs if n not in own]
    other = [n for n in own if n in theirs and own[n] != theirs[n]]
    lines += [f"observation {group}.{n}: policy {own[n]}, env {theirs[n]} values" for n in other]
    if not lines and list(own) != list(theirs):
        lines.append(f"observation {group}: order of terms: policy {list(own)}, env {list(theirs)}")
    return lines


def _meaning_differences(group: str, own: dict[str, TermMeaning], theirs: dict[str, TermMeaning]) -> list[str]:
    return [
        f"observation {group}.{term}: {what}: policy {own[term].get(what)}, env {theirs[term].get(what)}"
        for term in own.keys() & theirs.keys()
        for what in sorted(own[term].keys() | theirs[term].keys())
        if own[term].get(what) != theirs[term].get(what)
    ]


def _image_differences(group: str, own: list[int] | None, theirs: list[int] | None) -> list[str]:
    if own == theirs:
        return []
    if own is None or theirs is None:
        return [f"image {group}: only the {'env' if own is None else 'policy'} has it"]
    sizes = ("x".join(map(str, size)) for size in (own, theirs))
    return ["image {}: policy {}, env {} (height x width x channels)".format(group, *sizes)]


def _joint_differences(own: ActionSpec, theirs: ActionSpec) -> list[str]:
    lines = [f"joint {j}: only the policy has it" for j in own.joints if j not in theirs.joints]
    lines += [f"joint {j}: only the env has it" for j in theirs.joints if j not in own.joints]
    if lines:
        return lines
    if own.joints != theirs.joints:
        return [f"joint order: policy {own.joints}, env {theirs.joints}"]
    for what in ("scale", "offset"):
        for j, a, b in zip(own.joints, getattr(own, what), getattr(theirs, what), strict=True):
            if abs(a - b) > 1e-6:
                lines.append(f"action {what} of {j}: policy {a:g}, env {b:g}")
    if own.clip != theirs.clip:
        lines.append(f"action clip: policy {own.clip}, env {theirs.clip}")
    return lines


class SolvedTask(Protocol):
    """An environment with the optimal action at its present state."""

    def optimal_action(self) -> torch.Tensor:
        """Return the optimal actions (N, A)."""
        ...


class ScriptedExpert(Protocol):
    """A policy by rule for all envs of a batch; it reads what no policy observes, and keeps phases and integrators."""

    def act(self) -> torch.Tensor:
        """Return the action (N, A) for the present state of the env; called once a step."""
        ...

    def reset(self, env_ids: torch.Tensor) -> None:
        """Start over in the envs `env_ids` (n,): their episode began, or the expert takes over."""
        ...

    def state_dict(self) -> StateDict:
        """Return phases, integrators and the generator of the noise."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; later actions are then the same."""
        ...


@runtime_checkable
class DemonstratedTask(Protocol):
    """An environment with a scripted expert, for demonstrations and interventions."""

    def scripted_expert(self, noise: float, seed: int) -> ScriptedExpert:
        """Return an expert of this env.

        Args:
            noise: standard deviation of the noise on its actions.
            seed: of the noise.
        """
        ...

    def distance_to_goal(self) -> torch.Tensor:
        """Return the distance (N,) from the goal in m, by which a stall shows."""
        ...

    def failing(self) -> torch.Tensor:
        """Return whether the env is about to fail, (N,) bool, so that an expert should take over at once."""
        ...


@runtime_checkable
class VecEnv(Protocol):
    """N environments stepped together.

    Attributes:
        num_envs: N.
        device: torch device of every returned tensor.
        step_dt: seconds between two steps.
        max_episode_length: steps after which an episode is truncated.
        io: names, sizes and order of observations and actions.

    An env may also have these attributes; agents and stages use them where they are present:

    * `symmetry`: `regimen.envs.symmetry.Symmetry`, the mirror image of observations and actions, or None;
    * `curriculum`: `levels` (k,) and `set_levels`, averaged over the processes of one training;
    * `terrain`: `regimen.envs.terrain.placement.Placement`, uneven ground and the tile of each env, or None;
    * `motion`: `regimen.envs.motion.library.MotionLibrary`, the clips that the robot imitates, or None;
    * `discrete_actions`: True where an action is the one-hot code of one of A choices, as `io.action.discrete` records;
    * `optimal_action()`, see `SolvedTask`;
    * `restores(state)` and `restart(state)` of an env that cannot restore every state: whether it can, and new episodes
      with the generators of the state, returning the observations;
    * `kinematics()`: the present state, name -> (N, ...), which a NaN dump keeps; tensors that do not change later;
    * `require_finite_state()`: raises `DivergedError` if the state of the simulator is not finite.
    """

    num_envs: int
    device: torch.device
    step_dt: float
    max_episode_length: int
    io: IOSpec

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs, reseeding everything random if `seed` is given; return the observations."""
        ...

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Step all envs; those that end are reset at once.

        Args:
            action: (N, A) float32.

        Returns:
            obs, reward (N,) float32, terminated (N,) bool, truncated (N,) bool, and info, see `StepInfo`.
        """
        ...

    def stagger(self) -> None:
        """Set the envs to random times of their episodes; called once after `reset`, so that time-outs spread."""
        ...

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Hold command `name` at `values` (N, k), for evaluation."""
        ...

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Hold event `name`, such as a fault, at the given values, each (N,), from the next reset on."""
        ...

    def state_dict(self) -> StateDict:
        """Return the full state: physics, counters, commands, generator."""
        ...

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`; later steps are then the same, bit for bit on a CPU."""
        ...

    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8."""
        ...

    def close(self) -> None:
        """Free the simulator."""
        ...


def restores(env: Any, state: StateDict) -> bool:
    """Return whether an env can restore a state; one without the method `restores` can restore all of its states.

    Args:
        env: a `VecEnv`.
        state: its `state_dict`.
    """
    return bool(env.restores(state)) if hasattr(env, "restores") else True
