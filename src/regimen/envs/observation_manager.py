"""The manager of observations: groups of terms side by side, with noise, clip and scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

import torch

from regimen.envs.manager_base import Stateful, enabled
from regimen.envs.term_binding import bind_term, match_ids
from regimen.envs.term_env import SteppedTerm
from regimen.envs.term_output import require_output
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.task_schema import ObservationGroupCfg, ObservationTermCfg
    from regimen.envs.term_env import TermEnv
    from regimen.envs.vec_env import Obs, TermMeaning

T = TypeVar("T")


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
            self.groups[name] = _ObservationGroup(env, name, enabled(cfg.terms), noise, cfg.extends)
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
        """Advance the stateful terms by one control step."""
        for term in self._stepped:
            term.step()

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
    ) -> None:
        self.env, self.extends = env, extends
        self.terms = {n: bind_term(env, "observations", n, t) for n, t in terms.items()}
        if not self.terms:
            raise ConfigError(f"env.observations.{group} has no terms left; give it at least one.")
        self.paths = {n: f"env.observations.{group}.terms.{n}" for n in terms}
        self.sizes = {
            n: require_output(env, self.paths[n], f(), (env.num_envs, -1)).shape[1] for n, f in self.terms.items()
        }
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
        env, count = self.env, self.env.num_envs
        obs = torch.cat(
            [require_output(env, self.paths[n], f(), (count, self.sizes[n])) for n, f in self.terms.items()], dim=1
        )
        if noise is not None:
            obs[:, self.noisy] += noise
        if self.clip is not None:
            obs = obs.clamp(-self.clip, self.clip)
        if self.scale is not None:
            obs = obs * self.scale
        return obs


def _spread(values: list[tuple[float, int]], env: TermEnv) -> torch.Tensor:
    """Repeat each value over the columns of its term."""
    return torch.tensor([v for v, width in values for _ in range(width)], device=env.device)


def _meaning(env: TermEnv, name: str, cfg: ObservationTermCfg) -> TermMeaning:
    """Return scale, clip and the joint, body or site names of the columns of a term."""
    names = {"joints": env.joints, "bodies": env.bodies, "sites": env.sites}
    chosen = {
        key: [all_names[i] for i in match_ids(cfg.params[key], all_names, f"observations.{name}.params.{key}").tolist()]
        for key, all_names in names.items()
        if key in cfg.params
    }
    return {"scale": cfg.scale, "clip": cfg.clip, **chosen}
