"""Curriculum terms: called after every control step with the envs (n,) whose episodes ended, to change the task.

Their return value is logged as `Curriculum/<name>`. Afterwards these envs are reset, and the terms that have
`reset(env_ids)` with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from regimen.envs.term_env import RangedTerm
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.envs.term_env import TermEnv


def modify_reward_weight(
    env: TermEnv, env_ids: torch.Tensor, rewards: torch.Tensor | slice, weight: float, num_steps: int
) -> torch.Tensor:
    """Replace the weight of rewards after `num_steps` control steps of each env, as Isaac Lab's term of this name.

    Returns:
        The present weight, ().
    """
    if env.common_step_counter >= num_steps:
        env.rewards.set_weight(rewards, weight)
    return env.rewards.weights[rewards][0].double() / env.step_dt


class TerrainLevels:
    """Move robots to harder ground that followed their commands far enough, and to easier ground that did not.

    The levels of legged_gym (Rudin et al. 2022, arXiv 2109.11978), with the way measured along the command: a robot
    that is asked to turn walks a circle, and is not far from its start however well it walks.

    A robot moves up where it walked further than half a tile in the direction of its commands, and down where it
    walked less than `share` of what they asked for in a whole episode.
    """

    def __init__(self, env: TermEnv, command: str = "base_velocity", share: float = 0.5) -> None:
        """Begin with no way walked.

        Args:
            env: the task, on uneven ground.
            command: of a velocity in the base frame, m/s.
            share: of the commanded way.

        Raises:
            ConfigError: the ground is flat.
        """
        if env.terrain is None:
            raise ConfigError("curriculum TerrainLevels needs uneven ground, env.terrain.")
        self.env, self.terrain, self.command, self.share = env, env.terrain, command, share
        self.restart()

    def restart(self) -> None:
        """Set the ways back to 0."""
        self._walked = torch.zeros(self.env.num_envs, device=self.env.device)
        self._asked = torch.zeros_like(self._walked)

    def __call__(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Add the way of this step, change the levels of `env_ids` (n,), whose episodes ended; return their mean ()."""
        env = self.env
        command = env.commands[self.command].value[:, :2]
        speed = torch.linalg.vector_norm(command, dim=1)
        self._walked += (env.state.yaw_lin_vel * command).sum(1) / speed.clamp_min(1e-6) * env.step_dt
        self._asked += speed * env.step_dt
        if len(env_ids):
            left = (env.max_episode_length - env.episode_length[env_ids]) * env.step_dt
            walked, asked = self._walked[env_ids], self._asked[env_ids] + speed[env_ids] * left
            up = walked > self.terrain.terrain.tile_size / 2
            self.terrain.move(env_ids, up, (walked < self.share * asked) & ~up, env.rand(len(env_ids)))
            self._walked[env_ids], self._asked[env_ids] = 0.0, 0.0
        return self.terrain.levels.float().mean()


class RewardScaleByEpisodeLength:
    """Scale rewards up while episodes last, and down while they are short.

    A robot that falls at once learns from penalties only not to move. This is the penalty curriculum of FastSAC
    (Seo et al. 2025, arXiv 2512.01996; holosoma: from 0.5 to 1 by 0.001, at mean lengths above 750 and below 150 of
    1000 steps). There it changes in steps in which an episode ended; here in every step, whatever the number of envs.

    Attributes:
        level: () float64, the present factor.
        length: () float64, mean share of the longest episode that the last episodes lasted, about as many as there are
            envs.
    """

    def __init__(
        self,
        env: TermEnv,
        rewards: torch.Tensor,
        start: float = 0.5,
        end: float = 1.0,
        step: float = 0.001,
        longer_than: float = 0.75,
        shorter_than: float = 0.15,
    ) -> None:
        """Set the factor to `start`.

        Args:
            env: the task.
            rewards: ids (k,) of the terms.
            start, end: least and largest factor.
            step: change in a control step.
            longer_than, shorter_than: share of the longest episode above or below which the factor rises or falls.
        """
        self.env, self.rewards = env, rewards
        self._range, self._step, self._bounds = (start, end), step, (shorter_than, longer_than)
        self.restart()

    def restart(self) -> None:
        """Set level and mean length back."""
        start = torch.tensor(self._range[0], dtype=torch.float64, device=self.env.device)
        self.level, self.length = start, torch.zeros_like(start)
        self.env.rewards.scale(self.rewards, self.level)

    def __call__(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Update the mean length by the episodes of `env_ids`, change the factor by at most one step, and return it."""
        if len(env_ids):
            share = min(1.0, len(env_ids) / self.env.num_envs)
            lasted = self.env.episode_length[env_ids].float().mean().double() / self.env.max_episode_length
            self.length = self.length + share * (lasted - self.length)
        short, long = self._bounds
        change = self._step * ((self.length > long).double() - (self.length < short).double())
        self.level = torch.where(change == 0.0, self.level, (self.level + change).clamp(*self._range))
        weights = self.env.rewards.weights[self.rewards]
        self.env.rewards.scale(self.rewards, self.level)
        # A weight that another term of the curriculum replaced stays while the factor does.
        scaled = self.env.rewards.weights[self.rewards]
        self.env.rewards.weights[self.rewards] = torch.where(change == 0.0, weights, scaled)
        return self.level

    def set_level(self, level: float) -> None:
        """Set the factor, such as to the mean of several processes."""
        self.level = torch.full_like(self.length, level)
        self.env.rewards.scale(self.rewards, level)


EPISODE_LENGTH = "episode_length"


class AutomaticRange:
    """Widen the ranges of an event while the policy copes, and narrow them while it does not.

    The idea is that of automatic domain randomisation (OpenAI et al. 2019, Solving Rubik's Cube with a Robot Hand,
    arXiv:1910.07113, section 5 and algorithm 1): a buffer of results at the present range is filled, compared with two
    thresholds, and cleared after each change. There each limit of each parameter has a buffer of the episodes in which
    the parameter is at that limit; here all limits of one event move together, and the buffer has the results of all
    episodes that began at the present range. Episodes that run while the range changes are in no buffer.

    Attributes:
        level: () float64, 0 for the ranges of the event in the task, 1 for `final`, in between linear.
        total: () float64, sum of the results of the buffer.
        count: () int64, episodes in the buffer.
        counts: (N,) bool, envs whose episode began at the present range.
    """

    def __init__(
        self,
        env: TermEnv,
        event: str,
        final: dict[str, Any],
        metric: str = EPISODE_LENGTH,
        widen_at: float = 0.8,
        narrow_at: float = 0.4,
        step: float = 0.05,
        episodes: int | None = None,
    ) -> None:
        """Find event and metric.

        Args:
            env: the task.
            event: name of a `randomize` with mode `reset` or `interval`, an `apply_wrench` or a
                `push_by_setting_velocity`.
            final: parameters of the event with its last ranges, such as `{between: [0.5, 1.5]}`.
            metric: result of an episode: `episode_length`, its share of the longest one; `rewards.<name>`, the mean of
                a reward, as `Episode_Reward/<name>` is logged; `terminations.<name>`, the share of episodes that it
                ends.
            widen_at: mean at which the ranges grow. Where it is above `narrow_at` a high result is good, else a low.
            narrow_at: mean at which they shrink.
            step: change of `level`.
            episodes: of a buffer; null: as many as there are envs.

        Raises:
            ConfigError: the task has no such event or metric, or the event has no ranges that are drawn again.
        """
        ranged = {name: term for name, term in env.events.terms.items() if isinstance(term, RangedTerm)}
        if event not in ranged:
            raise ConfigError(f"AutomaticRange: no event `{event}` with ranges. {did_you_mean(event, ranged)}")
        if env.events.mode[event] == "startup":
            raise ConfigError(f"AutomaticRange: the event `{event}` draws once; give it mode: reset.")
        if widen_at == narrow_at or not 0.0 < step <= 1.0:
            raise ConfigError("AutomaticRange: widen_at and narrow_at differ, and step is above 0 and at most 1.")
        self.env, self._event = env, ranged[event]
        self._first, self._last = self._event.ranges.clone(), self._event.ranges_of(**final)
        self._widen_at, self._narrow_at, self._step = widen_at, narrow_at, step
        self._needed = env.num_envs if episodes is None else episodes
        self._kind, _, self._name = metric.partition(".")
        self._require_metric(metric)
        self.restart()

    def _require_metric(self, metric: str) -> None:
        env = self.env
        names = [EPISODE_LENGTH, *(f"rewards.{n}" for n in env.rewards.terms)]
        names += [f"terminations.{n}" for n in env.terminations.terms]
        if metric not in names:
            raise ConfigError(f"AutomaticRange: no metric `{metric}`. {did_you_mean(metric, names)}")

    def restart(self) -> None:
        """Set the ranges of the task, and empty the buffer."""
        device = self.env.device
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.count = torch.zeros((), dtype=torch.long, device=device)
        self.counts = torch.zeros(self.env.num_envs, dtype=torch.bool, device=device)
        self.set_level(0.0)

    def __call__(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Add the episodes of `env_ids` (n,) to the buffer, change the ranges where it is full; return the level ()."""
        if len(env_ids):
            counted = self.counts[env_ids]
            total = self.total + torch.where(counted, self._results(env_ids), 0.0).sum().double()
            count = self.count + counted.sum()
            full, mean = count >= self._needed, total / count.clamp_min(1)
            sign = 1.0 if self._widen_at > self._narrow_at else -1.0
            up, down = sign * (mean - self._widen_at) >= 0.0, sign * (mean - self._narrow_at) <= 0.0
            before = self.level
            self._set_level((before + full * self._step * (up.double() - down.double())).clamp(0.0, 1.0))
            self.total, self.count = total.masked_fill(full, 0.0), count.masked_fill(full, 0)
            self.counts = self.counts & (self.level == before)
        return self.level

    def reset(self, env_ids: torch.Tensor) -> None:
        """Count the episodes that begin in `env_ids` (n,), with draws from the present range."""
        self.counts[env_ids] = True

    def _results(self, env_ids: torch.Tensor) -> torch.Tensor:
        """Return the results (n,) of the episodes that end in `env_ids` (n,)."""
        env = self.env
        if self._kind == "rewards":
            column = list(env.rewards.terms).index(self._name)
            return env.rewards.episode_sum[env_ids, column] / (env.max_episode_length * env.step_dt)
        if self._kind == "terminations":
            return env.terminations.termination_masks[self._name][env_ids].float()
        return env.episode_length[env_ids].float() / env.max_episode_length

    def set_level(self, level: float) -> None:
        """Set the level and the ranges of the event to the mean of several processes; the buffer stays."""
        self._set_level(torch.full_like(self.total, level))

    def _set_level(self, level: torch.Tensor) -> None:
        self.level = level
        self._event.ranges = torch.lerp(self._first, self._last, level.to(self._first.dtype))
