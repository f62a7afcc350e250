"""The managers: each turns one section of a task into terms and calls them for all envs at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.terms_binding import bind_term, match_ids
from regimen.errors import ConfigError, DivergedError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.manager_env import ManagerEnv
    from regimen.envs.vec_env import Obs
    from regimen.schema import (
        EventTermCfg,
        ObservationGroupCfg,
        ObservationTermCfg,
        RewardTermCfg,
        TermCfg,
        TerminationTermCfg,
    )


def _enabled(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the terms that were switched off with null."""
    return {n: t for n, t in terms.items() if t is not None}


_PLAIN = (torch.Tensor, int, float, bool, type(None))


def term_state(term: object) -> dict[str, Any]:
    """Return the tensors and plain numbers a stateful term holds, by attribute name."""
    held = vars(term) if hasattr(term, "__dict__") else {}
    return {k: _copy(v) for k, v in held.items() if isinstance(v, _PLAIN)}


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, torch.Tensor) else value


class _Stateful:
    """Reset, save and restore of the terms that have a memory."""

    terms: dict[str, Any]

    def reset(self, env_ids: torch.Tensor) -> None:
        """Tell the terms that the episodes of `env_ids` (n,) begin anew."""
        for term in self.terms.values():
            if hasattr(term, "reset"):
                term.reset(env_ids)

    def state_dict(self) -> dict[str, dict[str, Any]]:
        """Return term -> attribute -> value."""
        return {n: s for n, t in self.terms.items() if not isinstance(t, partial) and (s := term_state(t))}

    def load_state_dict(self, state: dict[str, dict[str, Any]]) -> None:
        """Restore `state_dict`."""
        for name, held in state.items():
            for attribute, value in held.items():
                setattr(self.terms[name], attribute, _copy(value))


class ObservationManager(_Stateful):
    """Observation groups: the terms side by side, with noise, clip and scale.

    A term is read more than once a step, so one with a memory advances in its `step()`, called once a control step.
    """

    def __init__(self, env: ManagerEnv, groups: Mapping[str, ObservationGroupCfg], noise: bool) -> None:
        """Bind the terms of every group; `noise` says whether theirs is applied."""
        self.env = env
        self.groups = {g: _ObservationGroup(env, g, _enabled(cfg.terms), noise) for g, cfg in groups.items()}
        if "policy" not in self.groups:
            raise ConfigError("env.observations has no group `policy`; agents read that one.")
        self.terms = {f"{g}.{n}": t for g, group in self.groups.items() for n, t in group.terms.items()}

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return group -> ordered {term: width}."""
        return {g: group.sizes for g, group in self.groups.items()}

    def meaning(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return group -> term -> what its numbers mean beyond its name: scale, clip, joints."""
        return {g: group.meaning for g, group in self.groups.items()}

    def step(self) -> None:
        """Advance the terms that have a memory by one control step."""
        for term in self.terms.values():
            if hasattr(term, "step"):
                term.step()

    def draw_noise(self) -> dict[str, torch.Tensor]:
        """Draw the noise of one step, group -> (N, width of its noisy columns); groups without noise have none."""
        return {g: group.draw_noise() for g, group in self.groups.items() if group.noise is not None}

    def compute(self, noise: dict[str, torch.Tensor]) -> Obs:
        """Return group -> (N, d) float32, fresh tensors, with the noise drawn for this step."""
        return {g: group.compute(noise.get(g)) for g, group in self.groups.items()}


class _ObservationGroup:
    def __init__(self, env: ManagerEnv, group: str, terms: dict[str, ObservationTermCfg], noise: bool) -> None:
        self.env = env
        self.terms = {n: bind_term(env, "observations", n, t) for n, t in terms.items()}
        if not self.terms:
            raise ConfigError(f"env.observations.{group} has no terms left; give it at least one.")
        self.sizes = {n: f().shape[1] for n, f in self.terms.items()}
        self.meaning = {n: _meaning(env, n, t) for n, t in terms.items()}
        columns = [(cfg, self.sizes[n]) for n, cfg in terms.items()]
        unbounded = float("inf")
        spread = _spread([(c.noise, d) for c, d in columns], env)
        scale = _spread([(c.scale, d) for c, d in columns], env)
        clip = _spread([(unbounded if c.clip is None else c.clip, d) for c, d in columns], env)
        noisy = spread.nonzero().squeeze(1)
        self.noisy = slice(int(noisy[0]), int(noisy[-1]) + 1) if noise and len(noisy) else slice(0, 0)
        self.noise = spread[self.noisy] if noise and len(noisy) else None
        self.scale = scale if bool((scale != 1.0).any()) else None
        self.clip = clip if bool(clip.isfinite().any()) else None

    def draw_noise(self) -> torch.Tensor:
        assert self.noise is not None
        draws = self.env.rand(self.env.num_envs, len(self.noise))
        return draws.mul_(2.0).sub_(1.0).mul_(self.noise)

    def compute(self, noise: torch.Tensor | None) -> torch.Tensor:
        obs = torch.cat([f() for f in self.terms.values()], dim=1)
        if noise is not None:
            obs[:, self.noisy] += noise
        if self.clip is not None:
            obs = obs.clamp(-self.clip, self.clip)
        if self.scale is not None:
            obs = obs * self.scale
        return obs


def _spread(values: list[tuple[float, int]], env: ManagerEnv) -> torch.Tensor:
    """Repeat each value over the columns of its term."""
    return torch.tensor([v for v, width in values for _ in range(width)], device=env.device)


def _meaning(env: ManagerEnv, name: str, cfg: ObservationTermCfg) -> dict[str, Any]:
    """Return scale, clip and the names behind the columns of a term, as far as it has any."""
    names = {"joints": env.joints, "bodies": env.bodies, "sites": env.sites}
    chosen = {
        key: [all_names[i] for i in match_ids(cfg.params[key], all_names, f"observations.{name}.params.{key}").tolist()]
        for key, all_names in names.items()
        if key in cfg.params
    }
    return {"scale": cfg.scale, "clip": cfg.clip, **chosen}


class RewardManager(_Stateful):
    """Sum of weighted terms times the step time, and what each term earned over the episode."""

    def __init__(self, env: ManagerEnv, terms: Mapping[str, RewardTermCfg | None]) -> None:
        """Bind the terms; a weight of 0 drops one."""
        self.env = env
        used = {n: t for n, t in _enabled(terms).items() if t.weight != 0.0}
        if not used:
            raise ConfigError("env.rewards has no term with a weight left; give it at least one.")
        self.terms = {n: bind_term(env, "rewards", n, t) for n, t in used.items()}
        self.weights = torch.tensor([t.weight for t in used.values()], device=env.device) * env.step_dt
        self.episode_sum = torch.zeros(env.num_envs, len(used), device=env.device)

    def compute(self) -> torch.Tensor:
        """Return the reward (N,) of this step.

        Raises:
            DivergedError: naming the first term that is not finite.
        """
        values = torch.stack([f() for f in self.terms.values()], dim=1) * self.weights
        reward = values.sum(1)
        if not torch.isfinite(reward).all():
            name = list(self.terms)[int((~torch.isfinite(values)).any(0).nonzero()[0])]
            raise DivergedError(f"The reward term `{name}` is not finite.")
        self.episode_sum += values
        return reward

    def log(self, env_ids: torch.Tensor) -> dict[str, float]:
        """Return the mean of each term over the episodes of `env_ids`, per second of full episode length."""
        seconds = self.env.max_episode_length * self.env.step_dt
        means = (self.episode_sum[env_ids].mean(0) / seconds).tolist()
        return {f"Episode_Reward/{n}": v for n, v in zip(self.terms, means, strict=True)}

    def reset(self, env_ids: torch.Tensor) -> None:
        """Start the sums of `env_ids` over."""
        self.episode_sum[env_ids] = 0.0
        super().reset(env_ids)

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the terms' memories and the sums."""
        return super().state_dict() | {"": {"episode_sum": self.episode_sum.clone()}}

    def load_state_dict(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore `state_dict`."""
        self.episode_sum = state[""]["episode_sum"].clone()
        super().load_state_dict({n: s for n, s in state.items() if n})


class TerminationManager(_Stateful):
    """Reasons to end an episode; a breakdown of the physics is always one."""

    def __init__(self, env: ManagerEnv, terms: Mapping[str, TerminationTermCfg | None]) -> None:
        """Bind the terms."""
        used = _enabled(terms)
        self.terms = {n: bind_term(env, "terminations", n, t) for n, t in used.items()}
        self.time_out = {n: t.time_out for n, t in used.items()}
        self.fired: dict[str, torch.Tensor] = {}

    def compute(self, broken: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return terminated and truncated, (N,) bool each; an env is never both.

        Args:
            broken: (N,) bool, robots whose physics broke down.
        """
        self.fired = {n: f() for n, f in self.terms.items()} | {"physics": broken}
        terminated, truncated = broken.clone(), torch.zeros_like(broken)
        for name, time_out in self.time_out.items():
            (truncated if time_out else terminated).logical_or_(self.fired[name])
        return terminated, truncated & ~terminated

    def log(self, env_ids: torch.Tensor) -> dict[str, float]:
        """Return the share of ended episodes each term fired in."""
        return {f"Episode_Termination/{n}": float(v[env_ids].float().mean()) for n, v in self.fired.items()}


class CommandManager(_Stateful):
    """Commands by name."""

    def __init__(self, env: ManagerEnv, terms: Mapping[str, TermCfg | None]) -> None:
        """Make the command terms, in the task's order: a later one may read an earlier one."""
        self.terms: dict[str, Any] = {n: bind_term(env, "commands", n, t) for n, t in _enabled(terms).items()}

    def __getitem__(self, name: str) -> Any:
        """Return a command term.

        Raises:
            ConfigError: if the task has none of that name.
        """
        if name not in self.terms:
            raise ConfigError(f"The task has no command `{name}`. {did_you_mean(name, self.terms)}")
        return self.terms[name]

    def step(self) -> None:
        """Advance all commands by one control step."""
        for term in self.terms.values():
            term.step()

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return how well the commands are followed now, each (N,)."""
        return {k: v for term in self.terms.values() for k, v in term.metrics().items()}


class EventManager(_Stateful):
    """Startup, reset and interval events, and events with a memory such as joint failures."""

    def __init__(self, env: ManagerEnv, terms: Mapping[str, EventTermCfg | None]) -> None:
        """Bind the events and start the interval timers."""
        self.env = env
        used = _enabled(terms)
        self.terms = {n: bind_term(env, "events", n, t) for n, t in used.items()}
        self.mode = {n: _checked_mode(n, t, self.terms[n]) for n, t in used.items()}
        self.intervals = {n: t.interval_range_s for n, t in used.items() if t.mode == "interval"}
        self.time_left = {n: torch.zeros(env.num_envs, device=env.device) for n in self.intervals}
        self.stepping = [t for t in self.terms.values() if hasattr(t, "step")]
        self.labelling = [t for t in self.terms.values() if hasattr(t, "labels")]

    def startup(self, env_ids: torch.Tensor) -> None:
        """Fire the startup events."""
        for name, term in self.terms.items():
            if self.mode[name] == "startup":
                term(env_ids)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Fire the reset events and restart the timers of `env_ids`."""
        for name, term in self.terms.items():
            if hasattr(term, "reset"):
                term.reset(env_ids)
            elif self.mode[name] == "reset":
                term(env_ids)
        for name in self.intervals:
            self._draw_interval(name, env_ids)

    def _draw_interval(self, name: str, env_ids: torch.Tensor) -> None:
        low, high = self.intervals[name] or (0.0, 0.0)
        draws = self.env.rand(len(env_ids))
        self.time_left[name][env_ids] = low + draws * (high - low)

    def step(self) -> None:
        """Let events with a memory act before the physics."""
        for term in self.stepping:
            term.step()

    def interval(self) -> torch.Tensor:
        """Fire the interval events that are due; return the ids (n,) of the envs concerned."""
        touched = torch.zeros(self.env.num_envs, dtype=torch.bool, device=self.env.device)
        for name, left in self.time_left.items():
            left -= self.env.step_dt
            due = (left <= 0.0).nonzero().squeeze(1)
            if len(due):
                self.terms[name](due)
                self._draw_interval(name, due)
                touched[due] = True
        return touched.nonzero().squeeze(1)

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the ground truth of the present step, each (N,)."""
        return {k: v for term in self.labelling for k, v in term.labels().items()}

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the events' memories and the timers."""
        return super().state_dict() | {"": {n: t.clone() for n, t in self.time_left.items()}}

    def load_state_dict(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore `state_dict`."""
        self.time_left = {n: t.clone() for n, t in state[""].items()}
        super().load_state_dict({n: s for n, s in state.items() if n})


def _checked_mode(name: str, cfg: EventTermCfg, term: object) -> str:
    modes = ("startup", "reset", "interval")
    if cfg.mode not in modes:
        raise ConfigError(f"env.events.{name}.mode: `{cfg.mode}` is none of the modes. {did_you_mean(cfg.mode, modes)}")
    if cfg.mode == "interval" and not cfg.interval_range_s:
        raise ConfigError(f"env.events.{name}: mode interval needs interval_range_s, e.g. [10.0, 15.0].")
    if cfg.mode != "reset" and not callable(term):
        raise ConfigError(f"env.events.{name}: {cfg.func} acts on episodes from their reset on; give it mode: reset.")
    return cfg.mode
