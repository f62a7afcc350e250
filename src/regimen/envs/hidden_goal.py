"""Tasks with a hidden goal: each env has a goal that is not observed and only shows in rewards.

The goal stays the same over episodes, so that an agent with a memory of earlier ones can go there: the toy problem of
algorithm distillation (Laskin et al., arXiv 2210.14215). `DarkRoom` is its grid of 9 x 9 cells (section 4), `PointGoal`
the same question with continuous actions and a dense reward. No simulator is opened, whatever `sim` is.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from regimen.config.task_schema import EvaluationCfg
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from typing import Self

    from regimen.config.schema import Config
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.vec_env import Obs, StepInfo
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

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return what a NaN dump keeps, name -> (N, 2)."""
        return {"position": self.position, "goal": self.goal}

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


SIZE = 9
CENTRE = SIZE // 2
CELL_PX = 16
ACTIONS = ("stay", "up", "down", "left", "right")
MOVES = ((0.0, 0.0), (-1.0, 0.0), (1.0, 0.0), (0.0, -1.0), (0.0, 1.0))
"""Change of row and column by each action."""


@dataclass
class DarkRoomCfg(HiddenGoalCfg):
    """A dark room; 2 s are the 20 steps of the original."""

    _target_: str = "regimen.envs.hidden_goal.DarkRoom"


class DarkRoom(HiddenGoal):
    """N rooms; the action (N, 5) is one score for each move, the largest is made. Reward 1 for each step on the goal.

    Row and column are observed, scaled to -1 … 1. A wall keeps the walker where it is.
    """

    START: ClassVar[tuple[float, float]] = (float(CENTRE), float(CENTRE))
    discrete_actions: ClassVar[bool] = True

    @staticmethod
    def io_spec() -> IOSpec:
        """Return one position and five scores."""
        choices = ActionSpec(list(ACTIONS), [1.0] * 5, [0.0] * 5, discrete=True)
        return IOSpec({"policy": {"position": 2}}, choices, STEP_S)

    @staticmethod
    def goal_table() -> tuple[torch.Tensor, torch.Tensor]:
        """Return all cells but the start cell; a regular lattice of 16 of the 80 is held out."""
        row, column = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        cells = torch.stack((row.flatten(), column.flatten()), dim=1)
        cells = cells[(cells != CENTRE).any(1)]
        return cells.float(), (2 * cells[:, 0] + 3 * cells[:, 1]) % 5 == 0

    def moved(self, action: torch.Tensor) -> torch.Tensor:
        """Return the cells after the move with the largest score."""
        moves = torch.tensor(MOVES, device=self.device)
        return (self.position + moves[action.argmax(1)]).clamp(0.0, SIZE - 1.0)

    def reward(self) -> torch.Tensor:
        """Return 1 on the goal and 0 elsewhere."""
        return (self.position == self.goal).all(1).float()

    def observed(self) -> torch.Tensor:
        """Return row and column from -1 to 1."""
        return self.position / CENTRE - 1.0

    def optimal_action(self) -> torch.Tensor:
        """Return the move to the goal's row, then to its column, as one-hot rows (N, 5)."""
        down, right = (self.goal - self.position).sign().long().unbind(1)
        vertical = torch.where(down > 0, 2, 1)
        horizontal = torch.where(right > 0, 4, 3)
        choice = torch.where(down != 0, vertical, torch.where(right != 0, horizontal, 0))
        return torch.nn.functional.one_hot(choice, len(ACTIONS)).float()

    def render(self) -> np.ndarray:
        """Return the room from above: the goal green, the walker white."""
        grid = np.full((SIZE, SIZE, 3), 40, np.uint8)
        for place, colour in ((self.goal[0], (63, 143, 91)), (self.position[0], (240, 240, 240))):
            row, column = place.long().tolist()
            grid[row, column] = colour
        return grid.repeat(CELL_PX, 0).repeat(CELL_PX, 1)


RADIUS_M = (0.5, 1.0)
"""Distance of the goals from the start."""

WALL_M = 1.2
SPEED = 1.5
"""m/s at action 1, along each axis."""

PRECISION_M = 0.5
"""Distance from the goal at which the reward has fallen to exp(-1/2)."""

NUM_GOALS = 1000
SECTORS = 16
PICTURE_PX = 144


@dataclass
class PointGoalCfg(HiddenGoalCfg):
    """A point and its goal."""

    _target_: str = "regimen.envs.hidden_goal.PointGoal"


class PointGoal(HiddenGoal):
    """N points; the action (N, 2) is a velocity, clipped to ±1. Reward exp(-(distance / PRECISION_M)^2 / 2) a step.

    The position is observed. A square wall keeps the point within ±WALL_M.
    """

    START: ClassVar[tuple[float, float]] = (0.0, 0.0)

    @staticmethod
    def io_spec() -> IOSpec:
        """Return one position and one velocity."""
        return IOSpec({"policy": {"position": 2}}, ActionSpec(["x", "y"], [1.0] * 2, [0.0] * 2, 1.0), STEP_S)

    @staticmethod
    def goal_table() -> tuple[torch.Tensor, torch.Tensor]:
        """Return points spread evenly over a ring (golden angle); those in every fourth of 16 sectors are held out."""
        index = torch.arange(NUM_GOALS, dtype=torch.float64)
        inner, outer = RADIUS_M
        radius = (inner**2 + (outer**2 - inner**2) * (index + 0.5) / NUM_GOALS).sqrt()
        angle = (index * math.pi * (3.0 - math.sqrt(5.0))) % (2.0 * math.pi)
        goals = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=1)
        return goals.float(), (angle / (2.0 * math.pi) * SECTORS).long() % 4 == 0

    def moved(self, action: torch.Tensor) -> torch.Tensor:
        """Return the positions one step on."""
        return (self.position + SPEED * STEP_S * action.clamp(-1.0, 1.0)).clamp(-WALL_M, WALL_M)

    def reward(self) -> torch.Tensor:
        """Return 1 on the goal, less the further away."""
        return torch.exp(-0.5 * ((self.position - self.goal) / PRECISION_M).square().sum(1))

    def observed(self) -> torch.Tensor:
        """Return the positions in m."""
        return self.position.clone()

    def optimal_action(self) -> torch.Tensor:
        """Return the velocity that ends on the goal, or comes nearest to it, in one step."""
        return ((self.goal - self.position) / (SPEED * STEP_S)).clamp(-1.0, 1.0)

    def render(self) -> np.ndarray:
        """Return the plane from above: the goal green, the point white."""
        picture = np.full((PICTURE_PX, PICTURE_PX, 3), 40, np.uint8)
        axis = (np.arange(PICTURE_PX) + 0.5) / PICTURE_PX * 2 * WALL_M - WALL_M
        for place, colour, size in ((self.goal[0], (63, 143, 91), 0.1), (self.position[0], (240, 240, 240), 0.05)):
            x, y = place.tolist()
            picture[(axis[None, :] - x) ** 2 + (-axis[:, None] - y) ** 2 < size**2] = colour
        return picture
