"""Rules of the `VecEnv` contract for logs, labels, metrics, `stagger` and fixed commands."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.conformance.rollouts import Probe, expect, expect_tensor, rollout, step
from regimen.envs.device_reads import read_is_free

if TYPE_CHECKING:
    from regimen.envs.vec_env import VecEnv

OLD_SHARE = 1 / 3
"""Share of ends at which a label must be nearer to the old episode; one read after the reset is so at none."""


def check_info(probe: Probe) -> str:
    """Log values are finite floats or, on a GPU, () tensors; labels have a row per env, metrics are finite float32."""
    names: set[str] = set()
    with probe.open() as env:
        env.reset(seed=probe.seed)
        actions = probe.actions(env, 20)
        for k in range(env.max_episode_length + 1):
            got = step(env, actions[k % 20])
            _expect_info(got.info, env)
            names |= set(got.info["log"])
            if k >= 50 and got.done.any():
                break
        names_of_groups = (f"{group}: {', '.join(got.info[group]) or 'none'}" for group in ("labels", "metrics"))
        return f"{len(names)} log values; {'; '.join(names_of_groups)}"


def _expect_info(info: Mapping[str, Any], env: VecEnv) -> None:
    for name, value in info["log"].items():
        scalar = isinstance(value, torch.Tensor) and value.dim() == 0 and not read_is_free(env.device)
        expect(scalar or type(value) is float, f"log `{name}` is a {type(value).__name__}, expected a float")
        expect(math.isfinite(value), f"log `{name}` is {value}")
    for name, label in info["labels"].items():
        expect(isinstance(label, torch.Tensor), f"label `{name}` is a {type(label).__name__}, expected a tensor")
        expect(label.shape[:1] == (env.num_envs,), f"label `{name}` has shape {tuple(label.shape)}")
    for name, metric in info["metrics"].items():
        expect_tensor(f"metric `{name}`", metric, (env.num_envs,), torch.float32, env)
    for name, end in info.get("ends", {}).items():
        expect_tensor(f"end `{name}`", end, (env.num_envs,), torch.bool, env)


def check_labels_at_ends(probe: Probe) -> str:
    """Where an episode ended, labels and metrics are those of its last step, as `final_obs` is."""
    with probe.open() as env:
        env.reset(seed=probe.seed)
        held = probe.actions(env, 1, size=0.5)[0]
        steps = rollout(env, held.expand(env.max_episode_length + 2, *held.shape))
    done, summary = [s.done for s in steps], []
    for group in ("labels", "metrics"):
        for name in steps[0].info[group]:
            old = _nearer_to_old([s.info[group][name] for s in steps], done)
            share = old.float().mean().item() if len(old) else 1.0
            expect(
                share >= OLD_SHARE,
                f"info['{group}']['{name}'] belongs to the next episode in {1 - share:.0%} of {len(old)} ends: read it "
                "before the automatic reset",
            )
            summary.append(f"{name} {len(old)}")
    return f"ends that distinguish old from new: {', '.join(summary) or 'no labels, no metrics'}"


def _nearer_to_old(values: list[torch.Tensor], done: list[torch.Tensor]) -> torch.Tensor:
    """Return, for every end between two different values, whether the one at the end is as near to the one before."""
    nearer = []
    for t in range(1, len(values) - 1):
        ends = done[t] & ~done[t - 1] & ~done[t + 1]
        around = (torch.nan_to_num(value[ends].double()) for value in values[t - 1 : t + 2])
        before, end, after = (value.reshape(len(value), math.prod(value.shape[1:])) for value in around)
        differ = (before != after).any(1)
        nearer.append(((end - before).norm(dim=1) <= (end - after).norm(dim=1))[differ])
    return torch.cat(nearer)


def check_stagger(probe: Probe) -> str:
    """After `stagger` the envs time out at different steps, none later than `max_episode_length`."""
    timeouts: list[int] = []
    with probe.open() as env:
        env.reset(seed=probe.seed)
        env.stagger()
        running = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
        for t, action in enumerate(probe.actions(env, env.max_episode_length, size=0.2)):
            got = step(env, action)
            timeouts += [t + 1] * int((running & got.truncated).sum())
            running &= ~got.done
        expect(not running.any(), f"{int(running.sum())} envs still run after {env.max_episode_length} steps")
    together = len(timeouts) > 1 and len(set(timeouts)) == 1
    expect(not together, f"all {len(timeouts)} first time-outs come at step {timeouts[:1]}")
    return f"{len(timeouts)} first time-outs at {len(set(timeouts))} different steps"


def check_command(probe: Probe) -> str:
    """`fix_command` holds each env's own value, through automatic resets, and refuses values of a wrong width."""
    if probe.command is None or len(probe.grid) < 2:
        return "the task names no command to hold"
    with probe.open() as env:
        rows = torch.tensor(probe.grid, dtype=torch.float32, device=env.device)
        pair = torch.stack((rows[0], rows[(rows - rows[0]).norm(dim=1).argmax()]))
        one, other = (_starts(probe, env, value.expand(env.num_envs, -1)) for value in pair)
        gap, spread = (one.mean(0) - other.mean(0)).abs(), one.std(0) + other.std(0)
        column = int((gap / (spread + 1e-6)).argmax())
        expect(
            gap[column] > 3 * spread[column],
            f"no observed value distinguishes `{probe.command}` held at {_told(pair[0])} from {_told(pair[1])}, "
            "at the first and at later starts of episodes",
        )
        turns = torch.arange(env.num_envs, device=env.device) % 2
        replayed = _starts(probe, env, pair[turns], episodes=1)[:, column]
        second = (replayed - other[:, column].mean()).abs() < (replayed - one[:, column].mean()).abs()
        expect(torch.equal(second, turns.bool()), "envs given different values do not get their own")
        _expect_refused(env, probe.command, torch.cat((pair[turns], pair[turns]), dim=1))
        return f"`{probe.command}` held at {_told(pair[0])} and {_told(pair[1])}, {len(one)} starts of episodes each"


def _told(value: torch.Tensor) -> str:
    return f"[{', '.join(f'{number:g}' for number in value.tolist())}]"


def _starts(probe: Probe, env: VecEnv, values: torch.Tensor, episodes: int = 2) -> torch.Tensor:
    """Return the observations that begin an episode while the command is held at `values` (N, k), (n, d)."""
    assert probe.command is not None
    env.fix_command(probe.command, values)
    starts = [env.reset(seed=probe.seed)["policy"].clone()]
    for action in probe.actions(env, (episodes - 1) * env.max_episode_length, size=0.2):
        got = step(env, action)
        starts.append(got.obs["policy"][got.done])
    return torch.cat(starts)


def _expect_refused(env: VecEnv, name: str, values: torch.Tensor) -> None:
    """Raise unless the environment refuses a command of twice the width."""
    try:
        env.fix_command(name, values)
    except Exception:  # whatever kind: it must not be taken silently
        return
    expect(False, f"fix_command took {values.shape[1]} values for each env, expected it to refuse them")
