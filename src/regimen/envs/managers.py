"""Reward, termination, curriculum, command and event managers: each evaluates one section of a task for all envs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.finite import bad_rows, diverged
from regimen.envs.manager_base import Stateful, Term, enabled
from regimen.envs.term_binding import bind_term
from regimen.envs.term_env import (
    AdaptiveTerm,
    FixableTerm,
    ForeseeingTerm,
    LabellingTerm,
    ResampledTerm,
    ResettableTerm,
    RestartableTerm,
    StaggeredTerm,
    SteppedTerm,
)
from regimen.envs.term_output import require_output
from regimen.system.errors import ConfigError, DivergedError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.task_schema import EventTermCfg, RewardTermCfg, TermCfg, TerminationTermCfg
    from regimen.envs.term_env import TermEnv


COMMAND_PARTS = ("value", "reset", "step", "metrics")
"""What a command term has; `regimen.envs.terms.commands` describes them."""


class RewardManager(Stateful):
    """Weighted sum of the reward terms times the step time, and the sum of each term over the episode.

    Attributes:
        unweighted: names of terms of weight 0, which are left out.
        last: (N, K) what each term added to the reward of the last step.
    """

    def __init__(self, env: TermEnv, terms: Mapping[str, RewardTermCfg | None]) -> None:
        """Bind the terms; a weight of 0 drops one."""
        self.env = env
        used = {n: t for n, t in enabled(terms).items() if t.weight != 0.0}
        self.unweighted = [n for n in enabled(terms) if n not in used]
        if not used:
            raise ConfigError("env.rewards has no term with a weight left; give it at least one.")
        self.terms = {n: bind_term(env, "rewards", n, t) for n, t in used.items()}
        self._configured = torch.tensor([t.weight for t in used.values()], device=env.device) * env.step_dt
        self.weights = self._configured.clone()
        self.episode_sum = torch.zeros(env.num_envs, len(used), device=env.device)
        self.last = torch.zeros_like(self.episode_sum)

    def compute(self) -> torch.Tensor:
        """Return the reward (N,) of this step.

        Raises:
            ConfigError: naming a term of another shape or type.
            DivergedError: naming the first term that is not finite.
        """
        env, shape = self.env, (self.env.num_envs,)
        terms = [require_output(env, f"env.rewards.{n}", f(), shape) for n, f in self.terms.items()]
        values = torch.stack(terms, dim=1) * self.weights
        reward = values.sum(1)
        error = partial(self._diverged, terms, self.weights, reward, env.common_step_counter)
        env.reads.require_finite(reward, error)
        self.episode_sum += values
        self.last = values
        return reward

    def _diverged(
        self, terms: list[torch.Tensor], weights: torch.Tensor, reward: torch.Tensor, step: int
    ) -> DivergedError:
        """Return the error that names the first term (N,) or weight that is not finite, or else their sum."""
        count = self.env.num_envs
        for name, values, weight in zip(self.terms, terms, weights.tolist(), strict=True):
            if rows := bad_rows(values):
                return diverged(f"The reward term `{name}`", rows, count, step)
            if not math.isfinite(weight):
                return diverged(f"The weight of the reward term `{name}`", range(count), count, step)
        return diverged("The sum of the reward terms", bad_rows(reward), count, step)

    def scale(self, ids: torch.Tensor | slice, factor: float | torch.Tensor) -> None:
        """Set the weight of the terms `ids` to `factor`, a number or (), times their configured weight."""
        self.weights[ids] = factor * self._configured[ids]

    def set_weight(self, ids: torch.Tensor | slice, weight: float) -> None:
        """Replace the weight of the terms `ids`."""
        self.weights[ids] = weight * self.env.step_dt

    def restart(self) -> None:
        """Set the weights back to the configured ones."""
        self.weights = self._configured.clone()

    def log(self, env_ids: torch.Tensor) -> dict[str, float]:
        """Return the mean of each term over the episodes of `env_ids`, per second of full episode length."""
        seconds = self.env.max_episode_length * self.env.step_dt
        means = self.episode_sum[env_ids].mean(0) / seconds
        return self.env.reads.scalars([f"Episode_Reward/{n}" for n in self.terms], means)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Set the sums of `env_ids` to 0."""
        self.episode_sum[env_ids] = 0.0
        super().reset(env_ids)

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the state of the terms, the sums and the present weights."""
        return super().state_dict() | {"": {"episode_sum": self.episode_sum.clone(), "weights": self.weights.clone()}}

    def load_state_dict(self, state: dict[str, dict[str, torch.Tensor]]) -> None:
        """Restore `state_dict`."""
        self.episode_sum = state[""]["episode_sum"].clone()
        self.weights = state[""].get("weights", self.weights).clone()  # absent in checkpoints of older versions
        super().load_state_dict({n: s for n, s in state.items() if n})


class TerminationManager(Stateful):
    """Termination terms; diverged physics always terminates."""

    def __init__(self, env: TermEnv, terms: Mapping[str, TerminationTermCfg | None]) -> None:
        """Bind the terms."""
        self.env = env
        used = enabled(terms)
        self.terms = {n: bind_term(env, "terminations", n, t) for n, t in used.items()}
        self.time_out = {n: t.time_out for n, t in used.items()}
        self.termination_masks: dict[str, torch.Tensor] = {}

    def compute(self, diverged: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return terminated and truncated, (N,) bool each; an env is never both.

        Args:
            diverged: (N,) bool, robots whose physics diverged.

        Raises:
            ConfigError: naming a term of another shape or type.
        """
        env, shape = self.env, (self.env.num_envs,)
        self.termination_masks = {
            n: require_output(env, f"env.terminations.{n}", f(), shape, torch.bool) for n, f in self.terms.items()
        } | {"physics": diverged}
        terminated, truncated = diverged.clone(), torch.zeros_like(diverged)
        for name, time_out in self.time_out.items():
            (truncated if time_out else terminated).logical_or_(self.termination_masks[name])
        return terminated, truncated & ~terminated

    def ends(self) -> dict[str, torch.Tensor]:
        """Return where each term holds that is no time-out, (N,) bool each, see `StepInfo`."""
        return {n: mask for n, mask in self.termination_masks.items() if not self.time_out.get(n, False)}

    def log(self, env_ids: torch.Tensor) -> dict[str, float]:
        """Return the share of ended episodes each term fired in."""
        names = [f"Episode_Termination/{name}" for name in self.termination_masks]
        masks = torch.stack(list(self.termination_masks.values()))[:, env_ids]
        return self.env.reads.scalars(names, masks.float().mean(1))


class CurriculumManager(Stateful):
    """Curriculum terms; built after the other managers, whose terms they change."""

    def __init__(self, env: TermEnv, terms: Mapping[str, TermCfg | None]) -> None:
        """Bind the terms."""
        self.env = env
        self.terms = {n: bind_term(env, "curriculum", n, t) for n, t in enabled(terms).items()}
        self._adaptive = [term for term in self.terms.values() if isinstance(term, AdaptiveTerm)]

    def step(self, env_ids: torch.Tensor) -> dict[str, float]:
        """Call the terms with the envs (n,) whose episodes ended in this step; return their log values.

        Raises:
            ConfigError: naming a term that returns neither a number nor None.
            DivergedError: naming a term whose number is not finite.
        """
        log: dict[str, float] = {}
        for name, term in self.terms.items():
            value = term(env_ids)
            if value is None:
                continue
            if isinstance(value, torch.Tensor) and value.numel() == 1 and not value.is_complex():
                value = value.detach().reshape(())
                self.env.reads.require_finite(value, partial(self._diverged, name, value, self.env.common_step_counter))
                log |= self.env.reads.scalars([f"Curriculum/{name}"], value[None])
                continue
            try:
                log[f"Curriculum/{name}"] = float(value)
            except (TypeError, ValueError, RuntimeError) as error:
                kind = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
                raise ConfigError(f"env.curriculum.{name} returns {kind}; expected one number, or None.") from error
            if not math.isfinite(log[f"Curriculum/{name}"]):
                raise self._diverged(name, value, self.env.common_step_counter)
        return log

    def _diverged(self, name: str, value: Any, step: int) -> DivergedError:
        return DivergedError(f"The curriculum term `{name}` is {value} at step {step}.")

    def restart(self) -> None:
        """Set all terms back to their initial level."""
        for term in self.terms.values():
            if isinstance(term, RestartableTerm):
                term.restart()

    @property
    def levels(self) -> torch.Tensor:
        """Levels of the terms that adapt to the episodes, (k,) float64; processes average them."""
        return torch.tensor([term.level for term in self._adaptive], dtype=torch.float64)

    def set_levels(self, levels: torch.Tensor) -> None:
        """Set the levels (k,)."""
        for term, level in zip(self._adaptive, levels.tolist(), strict=True):
            term.set_level(level)


class CommandManager(Stateful):
    """Commands by name."""

    def __init__(self, env: TermEnv, terms: Mapping[str, TermCfg | None]) -> None:
        """Make the command terms, in the task's order: a later one may read an earlier one.

        Raises:
            ConfigError: naming a term that is no command, or whose value is not (N, k) float32.
        """
        self.env = env
        self.terms: dict[str, Term] = {n: bind_term(env, "commands", n, t) for n, t in enabled(terms).items()}
        for name, term in self.terms.items():
            if missing := [part for part in COMMAND_PARTS if not hasattr(term, part)]:
                raise ConfigError(f"env.commands.{name} has no {', '.join(missing)}; a command is a class with them.")
        self._resampled = {n: term for n, term in self.terms.items() if isinstance(term, ResampledTerm)}
        self._require_values()

    def __getitem__(self, name: str) -> Any:
        """Return a command term.

        Raises:
            ConfigError: if the task has none of that name.
        """
        if name not in self.terms:
            raise ConfigError(f"The task has no command `{name}`. {did_you_mean(name, self.terms)}")
        return self.terms[name]

    def fix(self, name: str, values: torch.Tensor) -> None:
        """Hold command `name` at `values` (N, k).

        Raises:
            ConfigError: if the task has no such command, or its term has no `fix`.
        """
        term = self[name]
        if not hasattr(term, "fix"):
            raise ConfigError(
                f"env.commands.{name} cannot be held fixed: {type(term).__name__} has no `fix`. "
                "Give the class `fix(self, values)`, or set env.evaluation.command=null and env.evaluation.grid=[]."
            )
        term.fix(values)

    def due(self) -> dict[str, torch.Tensor]:
        """Return where a command is drawn again in the coming `step`: name -> (N,) bool."""
        due = {name: term.due() for name, term in self._resampled.items()}
        return {name: mask for name, mask in due.items() if mask is not None}

    def step(self, due: Mapping[str, torch.Tensor]) -> None:
        """Advance all commands by one control step, in the task's order.

        Args:
            due: name -> (n,) ids of the masks of `due`.

        Raises:
            DivergedError: naming a command that is not finite.
        """
        for name, term in self.terms.items():
            term.step()
            if name in due and len(due[name]):
                term.reset(due[name])
        self._require_values()

    def reset(self, env_ids: torch.Tensor) -> None:
        """Draw new commands for `env_ids` (n,).

        Raises:
            DivergedError: naming a command that is not finite.
        """
        super().reset(env_ids)
        self._require_values()

    def _require_values(self) -> None:
        env = self.env
        for name, term in self.terms.items():
            value = require_output(env, f"env.commands.{name}.value", term.value, (env.num_envs, -1))
            env.reads.require_finite(value, partial(self._diverged, name, value, env.common_step_counter))

    def _diverged(self, name: str, value: torch.Tensor, step: int) -> DivergedError:
        return diverged(f"The command `{name}`", bad_rows(value), self.env.num_envs, step)

    def metrics(self) -> dict[str, torch.Tensor]:
        """Return the metrics of the commands, each (N,)."""
        found = {(n, k): v for n, term in self.terms.items() for k, v in term.metrics().items()}
        shape = (self.env.num_envs,)
        return {k: require_output(self.env, f"env.commands.{n}: metric {k}", v, shape) for (n, k), v in found.items()}


class MetricManager(Stateful):
    """Figures of the task at each step, beside the metrics of the commands."""

    def __init__(self, env: TermEnv, terms: Mapping[str, TermCfg | None]) -> None:
        """Bind the terms."""
        self.env = env
        self.terms = {n: bind_term(env, "metrics", n, t) for n, t in enabled(terms).items()}

    def compute(self) -> dict[str, torch.Tensor]:
        """Return the metrics, each (N,).

        Raises:
            ConfigError: naming a term of another shape or type.
        """
        shape = (self.env.num_envs,)
        return {n: require_output(self.env, f"env.metrics.{n}", f(), shape) for n, f in self.terms.items()}


class EventManager(Stateful):
    """Startup, reset and interval events, and stateful events such as joint failures."""

    def __init__(self, env: TermEnv, terms: Mapping[str, EventTermCfg | None]) -> None:
        """Bind the events and start the interval timers."""
        self.env = env
        used = enabled(terms)
        self.terms = {n: bind_term(env, "events", n, t) for n, t in used.items()}
        self.mode = {n: _checked_mode(n, t, self.terms[n]) for n, t in used.items()}
        self._ranges = {n: t.interval_range_s or (0.0, 0.0) for n, t in used.items() if t.mode == "interval"}
        self.time_left = {n: torch.zeros(env.num_envs, device=env.device) for n in self._ranges}
        self.fired: list[str] = []  # interval events of the last step
        # A check against a protocol takes as long as an event, so it is not made at each reset.
        self._at_reset = {
            n: t.reset if isinstance(t, ResettableTerm) else t
            for n, t in self.terms.items()
            if isinstance(t, ResettableTerm) or self.mode[n] == "reset"
        }
        self.stepping = [t for t in self.terms.values() if isinstance(t, SteppedTerm)]
        self._foreseeing = [t for t in self.stepping if isinstance(t, ForeseeingTerm)]
        self._asked: list[tuple[ForeseeingTerm, int]] = []  # terms of the last `ahead`, and their number of masks
        self.labelling = {n: t for n, t in self.terms.items() if isinstance(t, LabellingTerm)}

    def restart(self) -> None:
        """Set what events changed for longer than an episode back to where it was before all of them."""
        for term in self.terms.values():
            if isinstance(term, RestartableTerm):
                term.restart()

    def startup(self, env_ids: torch.Tensor) -> None:
        """Fire the startup events."""
        for name, term in self.terms.items():
            if self.mode[name] == "startup":
                term(env_ids)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Fire the reset events and restart the timers of `env_ids`."""
        for fire in self._at_reset.values():
            fire(env_ids)
        for name in self._ranges:
            self._draw_interval(name, env_ids)

    def first_that(self, env_ids: torch.Tensor, spoils: Callable[[], bool]) -> str:
        """Return the first reset event after which `spoils()` holds, fired once more for `env_ids`; `` if none."""
        for name, fire in self._at_reset.items():
            fire(env_ids)
            if spoils():
                return name
        return ""

    def _draw_interval(self, name: str, env_ids: torch.Tensor) -> None:
        low, high = self._ranges[name]
        draws = self.env.rand(len(env_ids))
        self.time_left[name][env_ids] = low + draws * (high - low)

    def step(self) -> None:
        """Step the stateful events, before the physics."""
        for term in self.stepping:
            term.step()

    def fix(self, name: str, **values: torch.Tensor) -> None:
        """Hold event `name` at the given values in every later episode.

        Raises:
            ConfigError: if the task has no such event, or its term has no `fix`.
        """
        holding = {n: t for n, t in self.terms.items() if isinstance(t, FixableTerm)}
        if name not in holding:
            raise ConfigError(f"The task has no event `{name}` that can be held fixed. {did_you_mean(name, holding)}")
        holding[name].fix(**values)

    def stagger(self) -> None:
        """Notify the stateful events that the envs were set to other times of their episodes."""
        for term in self.stepping:
            if isinstance(term, StaggeredTerm):
                term.stagger()

    def due(self, ended: torch.Tensor) -> list[torch.Tensor]:
        """Return where each interval event is due in this step, and where any is, (N,) bool each.

        An env whose episode ends has none due, because its timers begin again. Where one may begin at two steps or
        less, the list is empty, and `interval` reads the timers after the reset.

        Args:
            ended: (N,) bool.
        """
        if any(low <= 2.0 * self.env.step_dt for low, _ in self._ranges.values()):
            return []
        return self._due(~ended)

    def _due(self, among: torch.Tensor | None = None) -> list[torch.Tensor]:
        masks = [left - self.env.step_dt <= 0.0 for left in self.time_left.values()]
        masks = masks if among is None else [mask & among for mask in masks]
        return masks if len(masks) < 2 else [*masks, torch.stack(masks).any(0)]

    def ahead(self, ended: torch.Tensor) -> list[torch.Tensor]:
        """Return the masks (N,) of the stepped events for their coming reset and step; none where a read is free.

        Args:
            ended: (N,) bool.
        """
        self._asked = []
        if self.env.reads.immediate:
            return []
        masks = [(term, term.ahead(ended)) for term in self._foreseeing]
        self._asked = [(term, len(of_term)) for term, of_term in masks]
        return [mask for _, of_term in masks for mask in of_term]

    def receive(self, ended_ids: torch.Tensor, ids: Sequence[torch.Tensor]) -> None:
        """Hand out the ids of the masks of `ahead`; `ended_ids` (n,) are those of `ended`."""
        found = iter(ids)
        for term, count in self._asked:
            term.receive(ended_ids, tuple(next(found) for _ in range(count)))

    def interval(self, due: Sequence[torch.Tensor]) -> torch.Tensor:
        """Fire the interval events that are due; return the ids (n,) of the envs concerned.

        Args:
            due: ids of the masks of `due`.
        """
        self.fired.clear()
        ids = due or (self.env.reads.ids(*self._due()) if self.time_left else [])
        for name, chosen in zip(self.time_left, ids, strict=False):
            self.time_left[name] -= self.env.step_dt
            if len(chosen):
                self.terms[name](chosen)
                self._draw_interval(name, chosen)
                self.fired.append(name)
        return ids[-1] if ids else torch.zeros(0, dtype=torch.long, device=self.env.device)

    def labels(self) -> dict[str, torch.Tensor]:
        """Return the ground truth of the present step, each (N,).

        Raises:
            ConfigError: two events have the same label, or one has another shape.
        """
        found: dict[str, torch.Tensor] = {}
        for name, term in self.labelling.items():
            for key, label in term.labels().items():
                if key in found:
                    first = next(n for n, t in self.labelling.items() if key in t.labels())
                    raise ConfigError(
                        f"env.events: {first} and {name} both have the label `{key}`; set one of them to null."
                    )
                found[key] = require_output(self.env, f"env.events: label {key}", label, (self.env.num_envs,), None)
        return found

    def state_dict(self) -> dict[str, dict[str, torch.Tensor]]:
        """Return the state of the events and the timers."""
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
    if cfg.mode not in (own := getattr(term, "MODES", modes)):
        raise ConfigError(f"env.events.{name}.mode: {cfg.func} has mode: {' or '.join(own)}.")
    if cfg.mode != "reset" and not callable(term):
        raise ConfigError(f"env.events.{name}: {cfg.func} acts on episodes from their reset on; give it mode: reset.")
    return cfg.mode
