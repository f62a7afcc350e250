"""The manager of observations: groups of terms side by side, with noise, clip and scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch

from regimen.envs.manager_base import Stateful, enabled
from regimen.envs.past_values import Part, PastValues
from regimen.envs.term_binding import bind_term, match_ids
from regimen.envs.term_env import SteppedTerm
from regimen.envs.term_output import require_output
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.task_schema import ObservationGroupCfg, ObservationTermCfg
    from regimen.envs.term_env import TermEnv
    from regimen.envs.vec_env import Obs, TermMeaning
    from regimen.runs.checkpoint_header import StateDict

T = TypeVar("T")

GROUPS = "groups"
"""Key of the state of the groups, beside those of the terms, which have a dot."""

LARGEST_DRAW = 1.0 - 1e-6
"""Largest absolute draw whose quantile is taken: 4.9 standard deviations."""


class ObservationManager(Stateful):
    """Observation groups: the terms side by side, with noise, clip and scale.

    A term is evaluated more than once a step, so a stateful one advances in its `step()`, called once a control step.
    """

    def __init__(self, env: TermEnv, groups: Mapping[str, ObservationGroupCfg], noise: bool) -> None:
        """Bind the terms of every group; `noise` is whether their noise is applied."""
        self.env = env
        self.groups: dict[str, _ObservationGroup] = {}
        for name, cfg in groups.items():
            if cfg.extends is not None and cfg.extends not in self.groups:
                raise ConfigError(
                    f"env.observations.{name} extends `{cfg.extends}`, which is no group before it. "
                    f"{did_you_mean(cfg.extends, self.groups)}"
                )
            self.groups[name] = _ObservationGroup(env, name, enabled(cfg.terms), noise, cfg.extends, cfg.history)
        if "policy" not in self.groups:
            raise ConfigError("env.observations has no group `policy`; agents read that one.")
        self.terms = {f"{g}.{n}": t for g, group in self.groups.items() for n, t in group.terms.items()}
        self._stepped = [term for term in self.terms.values() if isinstance(term, SteppedTerm)]

    def sizes(self) -> dict[str, dict[str, int]]:
        """Return group -> ordered {term: width}."""
        return {g: _with_base(self.groups, g, lambda group: group.sizes) for g in self.groups}

    def meaning(self) -> dict[str, dict[str, TermMeaning]]:
        """Return group -> term -> scale, clip and joints."""
        return {g: _with_base(self.groups, g, lambda group: group.meaning) for g in self.groups}

    def step(self) -> None:
        """Advance the stateful terms and the past values by one control step."""
        for term in self._stepped:
            term.step()
        for group in self.groups.values():
            group.step()

    def reset(self, env_ids: torch.Tensor) -> None:
        """Reset the terms for `env_ids` (n,), and draw their bias and delays."""
        super().reset(env_ids)
        for group in self.groups.values():
            group.reset(env_ids)

    def state_dict(self) -> dict[str, StateDict]:
        """Return the state of the terms, and of the groups that have any."""
        groups = {name: state for name, group in self.groups.items() if (state := group.state_dict())}
        return super().state_dict() | ({GROUPS: groups} if groups else {})

    def load_state_dict(self, state: dict[str, StateDict]) -> None:
        """Restore `state_dict`."""
        for name, saved in state.get(GROUPS, {}).items():
            self.groups[name].load_state_dict(saved)
        super().load_state_dict({name: saved for name, saved in state.items() if name != GROUPS})

    def readings(self) -> dict[str, torch.Tensor]:
        """Return `group.term` -> (N, d), its present reading before noise, bias, clip, scale, delay and history."""
        read = {g: _with_base(self.groups, g, lambda group: group.terms) for g in self.groups}
        return {f"{g}.{name}": term().clone() for g, terms in read.items() for name, term in terms.items()}

    def draw_noise(self) -> dict[str, torch.Tensor]:
        """Draw the noise of one step, group -> (N, width of its noisy columns); groups without noise have none."""
        return {g: group.draw_noise() for g, group in self.groups.items() if group.noise is not None}

    def compute(self, noise: dict[str, torch.Tensor]) -> Obs:
        """Return group -> (N, d) float32, fresh tensors, with the noise drawn for this step."""
        obs: Obs = {}
        for name, group in self.groups.items():
            own = group.compute(noise.get(name))
            obs[name] = own if group.extends is None else torch.cat((obs[group.extends], own), dim=1)
        return obs


def _with_base(
    groups: dict[str, _ObservationGroup], name: str, part: Callable[[_ObservationGroup], dict[str, T]]
) -> dict[str, T]:
    """Return a part of a group by term, after that of the group it extends."""
    group = groups[name]
    before = {} if group.extends is None else _with_base(groups, group.extends, part)
    own = part(group)
    if twice := sorted(before.keys() & own.keys()):
        raise ConfigError(f"env.observations.{name}.{twice[0]} is in `{group.extends}` already; name it otherwise.")
    return before | own


class _ObservationGroup:
    def __init__(
        self,
        env: TermEnv,
        group: str,
        terms: dict[str, ObservationTermCfg],
        noise: bool,
        extends: str | None = None,
        history: int = 1,
    ) -> None:
        self.env, self.extends = env, extends
        self.terms = {n: bind_term(env, "observations", n, t) for n, t in terms.items()}
        if not self.terms:
            raise ConfigError(f"env.observations.{group} has no terms left; give it at least one.")
        self.paths = {n: f"env.observations.{group}.terms.{n}" for n in terms}
        self.widths = {
            n: require_output(env, self.paths[n], f(), (env.num_envs, -1)).shape[1] for n, f in self.terms.items()
        }
        parts = {n: _part(cfg, self.widths[n], history) for n, cfg in terms.items()}
        self.sizes = {n: part.width * part.history for n, part in parts.items()}
        self.meaning = {n: _meaning(env, n, t, parts[n].history) for n, t in terms.items()}
        remembers = any(part.steps > 1 for part in parts.values())
        self.past = PastValues(list(parts.values()), env.num_envs, env.device, env.rand) if remembers else None
        columns = [(cfg, self.widths[n]) for n, cfg in terms.items()]
        unbounded = float("inf")
        spread = _spread([(c.noise, d) for c, d in columns], env)
        scale = _spread([(c.scale, d) for c, d in columns], env)
        clip = _spread([(unbounded if c.clip is None else c.clip, d) for c, d in columns], env)
        noisy = spread.nonzero().squeeze(1)
        self.noisy = slice(int(noisy[0]), int(noisy[-1]) + 1) if noise and len(noisy) else slice(0, 0)
        self.noise = spread[self.noisy] if noise and len(noisy) else None
        self.scale = scale if bool((scale != 1.0).any()) else None
        self.clip = clip if bool(clip.isfinite().any()) else None
        gaussian = _spread([(float(c.noise_kind == "gaussian"), d) for c, d in columns], env)[self.noisy] > 0
        self.gaussian = gaussian if bool(gaussian.any()) else None
        self.bias_width = _spread([(c.bias, d) for c, d in columns], env)
        walk = _spread([(c.bias_walk, d) for c, d in columns], env) * env.step_dt**0.5
        self.walking = walk.nonzero().squeeze(1)
        self.walk = walk[self.walking] if noise and len(self.walking) else None
        has_bias = noise and bool(self.bias_width.any() or walk.any())
        self.bias = torch.zeros(env.num_envs, len(self.bias_width), device=env.device) if has_bias else None

    def draw_noise(self) -> torch.Tensor:
        assert self.noise is not None
        draws = self.env.rand(self.env.num_envs, len(self.noise)).mul_(2.0).sub_(1.0)
        if self.gaussian is not None:  # the quantile of a uniform draw
            normal = torch.erfinv(draws.clamp(-LARGEST_DRAW, LARGEST_DRAW)) * 2.0**0.5
            draws = torch.where(self.gaussian, normal, draws)
        return draws.mul_(self.noise)

    def step(self) -> None:
        if self.walk is not None:
            assert self.bias is not None
            self.bias[:, self.walking] += torch.randn(
                self.env.num_envs, len(self.walk), generator=self.env.generator, device=self.env.device
            ).mul_(self.walk)
        if self.past is not None:
            self.past.step()

    def reset(self, env_ids: torch.Tensor) -> None:
        if self.bias is not None:
            draws = self.env.rand(len(env_ids), len(self.bias_width)).mul_(2.0).sub_(1.0)
            self.bias[env_ids] = draws * self.bias_width
        if self.past is not None:
            self.past.reset(env_ids)

    def state_dict(self) -> StateDict:
        state: StateDict = {} if self.bias is None else {"bias": self.bias.clone()}
        return state | ({} if self.past is None else {"past": self.past.state_dict()})

    def load_state_dict(self, state: StateDict) -> None:
        if self.bias is not None and "bias" in state:
            self.bias = state["bias"].clone()
        if self.past is not None and "past" in state:
            self.past.load_state_dict(state["past"])

    def compute(self, noise: torch.Tensor | None) -> torch.Tensor:
        env, count = self.env, self.env.num_envs
        obs = torch.cat(
            [require_output(env, self.paths[n], f(), (count, self.widths[n])) for n, f in self.terms.items()], dim=1
        )
        if self.bias is not None:
            obs += self.bias
        if noise is not None:
            obs[:, self.noisy] += noise
        if self.clip is not None:
            obs = obs.clamp(-self.clip, self.clip)
        if self.scale is not None:
            obs = obs * self.scale
        return obs if self.past is None else self.past.read(obs)


def _spread(values: list[tuple[float, int]], env: TermEnv) -> torch.Tensor:
    """Repeat each value over the columns of its term."""
    return torch.tensor([v for v, width in values for _ in range(width)], device=env.device)


def _part(cfg: ObservationTermCfg, width: int, history: int) -> Part:
    """Return how the columns of a term are read; `history` is that of its group."""
    steps = history if cfg.history is None else cfg.history
    return Part(width, steps, (cfg.delay[0], cfg.delay[1]), cfg.delay_drawn == "step")


def _meaning(env: TermEnv, name: str, cfg: ObservationTermCfg, history: int) -> TermMeaning:
    """Return scale, clip, the joint, body or site names of the columns of a term, and its history if it has one."""
    names = {"joints": env.joints, "bodies": env.bodies, "sites": env.sites}
    chosen = {
        key: [all_names[i] for i in match_ids(cfg.params[key], all_names, f"observations.{name}.params.{key}").tolist()]
        for key, all_names in names.items()
        if key in cfg.params
    }
    return {"scale": cfg.scale, "clip": cfg.clip, **chosen, **({"history": history} if history > 1 else {})}
