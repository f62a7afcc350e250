"""The rules of the `VecEnv` contract: each returns what it saw, or raises `EnvContractError`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import torch

from regimen.config.determinism import CLASSES
from regimen.envs.conformance.ground_rule import check_ground
from regimen.envs.conformance.robot_rule import check_robot
from regimen.envs.conformance.rollouts import (
    Probe,
    Step,
    expect,
    expect_obs,
    expect_step,
    first_difference,
    rollout,
    same,
    step,
)
from regimen.envs.conformance.usage_rules import check_command, check_info, check_labels_at_ends, check_stagger
from regimen.envs.vec_env import Obs, VecEnv

if TYPE_CHECKING:
    from regimen.runs.checkpoint_header import StateDict


def check_shapes(probe: Probe) -> str:
    """Shapes, dtypes, device, finite values, of `reset` and of 20 steps."""
    with probe.open() as env:
        expect_obs("reset()", env.reset(seed=probe.seed), env)
        for action in probe.actions(env, 20):
            given = action.clone()
            expect_step(step(env, action), env)
            expect(torch.equal(given, action), "step() changed the action tensor it was given")
        sizes = [f"{group} {env.io.size(group)}" for group in env.io.observations]
        widths = ", ".join(sizes + [f"{group} {'x'.join(map(str, size))}" for group, size in env.io.images.items()])
        return f"{env.num_envs} envs, observations: {widths}, actions {env.io.num_actions}, on {env.device}"


def check_io(probe: Probe) -> str:
    """The IOSpec is complete, has no name twice, and its step time is the environment's."""
    with probe.open() as env:
        action = env.io.action
        expect(len(set(action.joints)) == len(action.joints), f"io.action.joints names a joint twice: {action.joints}")
        for what in ("scale", "offset"):
            have = len(getattr(action, what))
            expect(have == len(action.joints), f"io.action.{what} has {have} values for {len(action.joints)} joints")
        both = sorted(set(env.io.images) & set(env.io.observations))
        expect(not both, f"io.images and io.observations both name {both}: an image is a group of its own")
        for group, size in env.io.images.items():
            whole = len(size) == 3 and all(type(n) is int and n >= 1 for n in size)
            expect(whole, f"io.images[{group!r}] is {size}, expected height, width and channels")
        expect(env.step_dt > 0, f"step_dt is {env.step_dt}, expected a time in seconds")
        expect(env.io.step_dt == env.step_dt, f"io.step_dt is {env.io.step_dt}, env.step_dt is {env.step_dt}")
        expect(env.max_episode_length >= 1, f"max_episode_length is {env.max_episode_length}")
        copy = type(env.io).from_dict(env.io.to_dict())
        expect(copy == env.io, "io.to_dict() does not lead back to the same IOSpec")
        terms = sum(len(names) for names in env.io.observations.values())
        return f"{terms} observation terms, {len(action.joints)} joints, step {env.step_dt * 1e3:g} ms"


def _seeded(probe: Probe, env: VecEnv, seed: int, actions: torch.Tensor) -> list[Step]:
    obs = {k: v.clone() for k, v in env.reset(seed=seed).items()}
    none = torch.zeros(env.num_envs, dtype=torch.bool)
    first = Step(obs, none.float(), none, none)
    return [first, *rollout(env, actions)]


def check_determinism(probe: Probe) -> str:
    """The same seed and actions give the same future, bit for bit; another seed gives another.

    A simulator of the determinism class `none` may give another future for the same seed.
    """
    with probe.open() as env:
        actions = probe.actions(env, 60)
        one = _seeded(probe, env, probe.seed, actions)
        found = first_difference(one, _seeded(probe, env, probe.seed, actions))
        again = probe.compare("run", "reset with the same seed a second time", found)
    with probe.open() as env:
        found = first_difference(one, _seeded(probe, env, probe.seed, actions))
        differs = probe.compare("run", "two envs, same seed, same actions", found) or again
        other = _seeded(probe, env, probe.seed + 1, actions)
    expect(first_difference(one, other) is not None, f"seeds {probe.seed} and {probe.seed + 1} give the same rollout")
    return differs or f"{len(actions)} steps bit-equal for seed {probe.seed}, different for {probe.seed + 1}"


def check_final_obs(probe: Probe) -> str:
    """`info['final_obs']` is the observation before the automatic reset, not the one after, nor an old one."""
    nearer: list[torch.Tensor] = []
    renewed: dict[str, list[torch.Tensor]] = {}
    with probe.open() as env:
        before = {k: v.clone() for k, v in env.reset(seed=probe.seed).items()}
        held = probe.actions(env, 1, size=0.5)[0]
        turned = held.clone()
        turned[0] *= -1.0
        for t in range(env.max_episode_length + 1):
            # Env 0 reverses at the last step: envs that all press against a wall would not move.
            got = step(env, turned if t == env.max_episode_length - 1 else held)
            if got.done.any():
                expect_obs("info['final_obs']", _rows(got.info["final_obs"], got.done), _Rows(env, got.done))
                nearer.append(_compare_final(before["policy"], got))
                for group in env.io.images:
                    final, new = (obs[group][got.done] for obs in (got.info["final_obs"], got.obs))
                    renewed.setdefault(group, []).append((final != new).flatten(1).any(1))
            before = {k: v.clone() for k, v in got.obs.items()}
    expect(bool(nearer), "no episode ended within max_episode_length + 1 steps")
    for group, changed in renewed.items():
        share = torch.cat(changed).float().mean().item()
        expect(share > 0.5, f"info['final_obs'][{group!r}] is the image after the reset in {1 - share:.0%} of the ends")
    ends = torch.cat(nearer)
    share = ends.float().mean().item()
    expect(
        share > 0.5,
        f"only {share:.0%} of {len(ends)} final observations are nearer to the step before than the observation "
        "after the reset is, in most of their values: expected the state in which the episode ended",
    )
    return f"{len(ends)} ends, {share:.0%} nearer to the step before than the observation after the reset"


def _compare_final(before: torch.Tensor, got: Step) -> torch.Tensor:
    old, final, new = (x[got.done] for x in (before, got.info["final_obs"]["policy"], got.obs["policy"]))
    expect((final != new).any(), "info['final_obs'] equals the observation after the reset")
    expect((final != old).any(), "info['final_obs'] equals the observation of the step before")
    # Value by value: the velocities of a robot that falls change more in a step than all else does by a reset.
    far, near = (new - old).abs(), (final - old).abs()
    return (near < far).sum(1) > (near > far).sum(1)


class _Rows:
    """The part of an environment that the shape checks read, for the envs that ended only."""

    def __init__(self, env: VecEnv, mask: torch.Tensor) -> None:
        self.num_envs, self.io, self.device = int(mask.sum()), env.io, env.device


def _rows(obs: Obs, mask: torch.Tensor) -> Obs:
    return {k: v[mask] for k, v in obs.items()}


def check_ends(probe: Probe) -> str:
    """An episode is terminated or truncated, never both; truncated exactly at `max_episode_length`."""
    ends = {"terminated": 0, "truncated": 0}
    with probe.open() as env:
        env.reset(seed=probe.seed)
        age = torch.zeros(env.num_envs, dtype=torch.long, device=env.device)
        for action in probe.actions(env, env.max_episode_length + 1, size=0.2):
            got = step(env, action)
            age += 1
            expect(not (got.terminated & got.truncated).any(), "an env is terminated and truncated in one step")
            early = got.truncated & (age != env.max_episode_length)
            expect(not early.any(), f"truncated at step {age[early].tolist()}, expected {env.max_episode_length}")
            late = (age >= env.max_episode_length) & ~got.done
            expect(
                not late.any(), f"{int(late.sum())} envs still run after max_episode_length={env.max_episode_length}"
            )
            ends["terminated"] += int(got.terminated.sum())
            ends["truncated"] += int(got.truncated.sum())
            age[got.done] = 0
        return f"{ends['terminated']} terminated, {ends['truncated']} truncated at {env.max_episode_length} steps"


def check_independence(probe: Probe) -> str:
    """Another action for env 0 changes env 0 and no other, until the first reset.

    A simulator of the determinism class `none` may change the others within a run that repeats nothing.
    """
    expect(probe.num_envs > 1, "needs two envs or more")
    with probe.open() as env:
        actions = probe.actions(env, 20, size=0.3)
        changed = actions.clone()
        changed[:, 0] = -changed[:, 0] + 0.5
        env.reset(seed=probe.seed)
        one = rollout(env, actions)
    with probe.open() as env:
        env.reset(seed=probe.seed)
        two = rollout(env, changed)
    until = next((t for t in range(20) if (one[t].done | two[t].done).any()), 20)
    expect(until > 0, "an env ended in its first step")
    found = first_difference(one[:until], two[:until], slice(1, None))
    expect(found is None or probe.declared == "none", f"another action for env 0 changes other envs: {found}")
    expect(
        first_difference(one[:until], two[:until], slice(0, 1)) is not None, "another action changes nothing in env 0"
    )
    others = f"{probe.num_envs - 1} others bit-equal" if found is None else f"others cannot be compared: {found}"
    return f"{until} steps: env 0 differs, {others}"


def check_state(probe: Probe) -> str:
    """`state_dict` is a snapshot, and restores the same future, resets included, in this env and in a new one.

    A simulator whose determinism class is not `bit` may have another future.
    """
    with probe.open() as env:
        env.reset(seed=probe.seed)
        actions = probe.actions(env, 120)
        for k in range(max(20, env.max_episode_length - 60)):
            env.step(0.1 * actions[k % 20])
        state = env.state_dict()
        future = rollout(env, actions[20:])
        same_env = _compare_restored(probe, env, state, future, actions[20:], "the same env")
    with probe.open() as env:  # not beside the first: some simulators are one in a process
        new_env = _compare_restored(probe, env, state, future, actions[20:], "a new env")
    if differs := same_env or new_env:
        return differs
    resets = sum(int(s.done.sum()) for s in future)
    return f"{len(future)} steps bit-equal in the same and in a new env, {resets} resets among them"


def _compare_restored(
    probe: Probe, env: VecEnv, state: StateDict, future: list[Step], actions: torch.Tensor, which: str
) -> str | None:
    """Compare the steps of the env with `state` by `actions` (T, N, A) with the recorded `future`."""
    env.load_state_dict(state)
    return probe.compare("bit", f"state restored in {which}", first_difference(future, rollout(env, actions)))


def check_class(probe: Probe) -> str:
    """The determinism class that is measured is at least the one that the simulator declares.

    A crash that prevents the measurement is reported by the rule that crashes.
    """
    for needed, rule in (("run", check_determinism), ("bit", check_state)):
        if needed not in probe.repeated:
            with suppress(Exception):
                rule(probe)
        if needed not in probe.repeated:
            return f"not measured: see `determinism` and `state restore`; declared `{probe.declared}`"
    exact = "bit" if probe.repeated["bit"] else "run"
    measured = exact if probe.repeated["run"] else "none"
    short = CLASSES.index(measured) < CLASSES.index(probe.declared)
    expect(not short, f"measured `{measured}`, declared `{probe.declared}`: lower it in the simulator's DETERMINISM")
    return f"measured `{measured}`, declared `{probe.declared}`"


def check_one_env(probe: Probe) -> str:
    """A single environment works as well."""
    with probe.open(1) as env:
        expect(env.num_envs == 1, f"asked for 1 env, num_envs is {env.num_envs}")
        expect_obs("reset()", env.reset(seed=probe.seed), env)
        for action in probe.actions(env, 10):
            expect_step(step(env, action), env)
        return "num_envs=1, 10 steps"


def check_aliasing(probe: Probe) -> str:
    """Tensors returned by a step do not change in later steps."""
    with probe.open() as env:
        first = {k: (v, v.clone()) for k, v in env.reset(seed=probe.seed).items()}
        kept: list[dict[str, torch.Tensor]] = []
        copies: list[dict[str, torch.Tensor]] = []
        for action in probe.actions(env, 10):
            got = step(env, action).tensors()
            kept.append(got)
            copies.append({k: v.clone() for k, v in got.items()})
        for name, (value, copy) in first.items():
            expect(same(value, copy), f"reset()[{name!r}] changed when the env stepped on: return a copy")
        for held, copied in zip(kept, copies, strict=True):
            for name, value in held.items():
                expect(same(value, copied[name]), f"{name} changed when the env stepped on: return a copy")
        return f"{len(kept)} steps, {len(kept[0])} tensors unchanged"


RULES: dict[str, Callable[[Probe], str]] = {
    "robot": check_robot,
    "ground": check_ground,
    "shapes": check_shapes,
    "io spec": check_io,
    "determinism": check_determinism,
    "final observation": check_final_obs,
    "episode ends": check_ends,
    "independence": check_independence,
    "state restore": check_state,
    "determinism class": check_class,
    "log and labels": check_info,
    "labels at ends": check_labels_at_ends,
    "stagger": check_stagger,
    "fixed command": check_command,
    "one env": check_one_env,
    "no aliasing": check_aliasing,
}
