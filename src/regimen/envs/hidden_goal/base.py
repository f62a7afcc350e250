"""Base of tasks with a hidden goal: each env has a goal that is not observed and only shows in rewards.

The goal stays the same over episodes, so that an agent with a memory of earlier ones can go there: the toy problem of
algorithm distillation (Laskin et al., arXiv 2210.14215). No simulator is opened, whatever `sim` is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import torch

from regimen.config.task_schema import EvaluationCfg
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from typing import Self

    import numpy as np

    from regimen.config.schema import Config, PlainConfig
    from regimen.envs.vec_env import IOSpec, Obs, StepInfo
    from regimen.runs.checkpoint_header import StateDict

GOALS = ("train", "held_out", "all")
STEP_S = 0.1


@dataclass
class HiddenGoalCfg:
    """A task with a hidden goal.

    Attributes:
        num_envs: environments stepped together, each with a goal of its own.
        episode_length_s: time after which an episode is truncated, in seconds; a step is 0.1 s.
        goals: which goals are drawn: `train`, `held_out`, or `all`. The split is the same for every seed.
    """

    num_envs: int = 64
    episode_length_s: float = 2.0
    goals: str = "all"
    evaluation: EvaluationCfg = field(default_factory=EvaluationCfg)

    def problems(self, config: PlainConfig) -> list[str]:
        """Return what is wrong with the task's figures, one line each."""
        lines = [] if self.num_envs >= 1 else [f"num_envs={self.num_envs}: expected 1 or more."]
        if self.episode_length_s < STEP_S:
            lines.append(f"episode_length_s={self.episode_length_s:g}: expected {STEP_S:g} s, one step, or more.")
        if self.goals not in GOALS:
            lines.append(f"goals={self.goals}: expected {', '.join(GOALS)}.")
        return lines


class HiddenGoal(ABC):
    """N points in the plane, each with a hidden goal. The contract is `regimen.envs.vec_env.VecEnv`.

    Attributes:
        position: (N, 2) float32.
        goal: (N, 2) float32, drawn at `reset`, kept when an episode ends.
        age: (N,) steps of the episode so far.
        discrete_actions: whether the action is the choice of its largest value.
    """

    discrete_actions: ClassVar[bool] = False

    def __init__(self, cfg: HiddenGoalCfg, seed: int, device: str = "cpu") -> None:
        """Place N points.

        Args:
            cfg: the task.
            seed: of the goals.
            device: of all tensors; the draw is the same on each.
        """
        self.num_envs, self.device, self.step_dt = cfg.num_envs, torch.device(device), STEP_S
        self.max_episode_length = round(cfg.episode_length_s / STEP_S)
        self.io: IOSpec = self.io_spec()
        self.start = torch.tensor(self.START, device=self.device)
        table, held_out = self.goal_table()
        wanted = {"train": ~held_out, "held_out": held_out, "all": torch.ones_like(held_out)}[cfg.goals]
        self._goals = table[wanted]
        self.generator = torch.Generator()
        self.reset(seed)

    @classmethod
    def open(cls, config: Config) -> Self:
        """Build the task on the device of the run."""
        return cls(config.env, config.seed, config.hardware.device)

    START: ClassVar[tuple[float, float]]
    """Where episodes begin."""

    @staticmethod
    @abstractmethod
    def io_spec() -> IOSpec:
        """Return what is observed and done."""

    @staticmethod
    @abstractmethod
    def goal_table() -> tuple[torch.Tensor, torch.Tensor]:
        """Return all goals (G, 2), and a mask (G,) of those held out of training."""

    @abstractmethod
    def moved(self, action: torch.Tensor) -> torch.Tensor:
        """Return the positions (N, 2) after the action (N, A)."""

    @abstractmethod
    def reward(self) -> torch.Tensor:
        """Return the reward at the present positions, (N,)."""

    @abstractmethod
    def observed(self) -> torch.Tensor:
        """Return the observation (N, d) of the present positions, a new tensor."""

    @abstractmethod
    def optimal_action(self) -> torch.Tensor:
        """Return the optimal action (N, A), computed from the goal."""

    @abstractmethod
    def render(self) -> np.ndarray:
        """Return an image of env 0, (H, W, 3) uint8."""

    def reset(self, seed: int | None = None) -> Obs:
        """Draw a goal for each env, all goals equally often, and begin."""
        if seed is not None:
            self.generator.manual_seed(seed)
        count = len(self._goals)
        rounds = [torch.randperm(count, generator=self.generator) for _ in range(-(-self.num_envs // count))]
        self.goal = self._goals[torch.cat(rounds)[: self.num_envs]].to(self.device)
        self.position = self.start.repeat(self.num_envs, 1)
        self.age = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        return {"policy": self.observed()}

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Move; an episode ends by time alone, and the next one has the same goal."""
        self.position = self.moved(action)
        self.age = self.age + 1
        reward, distance = self.reward(), torch.linalg.vector_norm(self.position - self.goal, dim=1)
        truncated = self.age >= self.max_episode_length
        ended = bool(truncated.any())
        log = {"Metrics/distance": float(distance[truncated].mean())} if ended else {}
        final = {"policy": self.observed()}
        info: StepInfo = {"final_obs": final, "log": log, "labels": {}, "metrics": {"distance": distance}}
        if ended:
            self.position = torch.where(truncated[:, None], self.start, self.position)
            self.age = self.age.masked_fill(truncated, 0)
        return {"policy": self.observed()}, reward, torch.zeros_like(truncated), truncated, info

    def stagger(self) -> None:
        """Spread the envs over their episodes."""
        draw = torch.randint(self.max_episode_length, (self.num_envs,), generator=self.generator)
        self.age = draw.to(self.device)

    def fix_command(self, name: str, values: torch.Tensor) -> None:
        """Refuse: there is no command.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"A task with a hidden goal has no command `{name}`. Take env.evaluation.command away.")

    def fix_event(self, name: str, **values: torch.Tensor) -> None:
        """Refuse: nothing happens but time.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(f"A task with a hidden goal has no event `{name}`.")

    def state_dict(self) -> StateDict:
        """Return positions, goals, ages and generator."""
        tensors = {"position": self.position, "goal": self.goal, "age": self.age}
        return {name: value.clone() for name, value in tensors.items()} | {"generator": self.generator.get_state()}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.position, self.goal, self.age = (state[k].to(self.device, copy=True) for k in ("position", "goal", "age"))
        self.generator.set_state(state["generator"].cpu())

    def close(self) -> None:  # noqa: B027 - nothing to free is right for all of them
        """Nothing is open."""
