"""A wrapper whose actions are velocities in the world frame, which a trained low-level policy walks at.

The low-level policy acts at the rate of its own task; the upper level, the agent of the run, once in `decimation` of
these steps. The robot turns towards the wanted velocity and walks as fast as it faces it, as with a heading command of
Isaac Lab (`UniformVelocityCommand` with `heading_command`). Hierarchies of this kind: Isaac Lab's
`Isaac-Navigation-Flat-Anymal-C`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from regimen.config.targets import resolve
from regimen.envs.low_level.description import commanding_io
from regimen.envs.rotations import heading
from regimen.envs.vec_env import EnvWrapper, IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.config.task_schema import LowLevelCfg
    from regimen.envs.manager_env import ManagerEnv
    from regimen.envs.vec_env import Obs, StepInfo
    from regimen.runs.checkpoint_header import StateDict

STANDING = 0.05
"""Share of the largest speed below which the robot stands."""


class CommandingEnv(EnvWrapper):
    """A `VecEnv` on top of a manager-based task and a policy of it.

    Rewards of the steps of the low level are summed, metrics averaged; labels are those of the last step. An episode
    that ends within an action ends with that action; until the next one its robot stands.

    Attributes:
        env: the task itself.
    """

    def __init__(self, env: ManagerEnv, policy: Any, cfg: LowLevelCfg) -> None:
        """Wrap `env`.

        Args:
            env: the low-level policy's task, whose command `cfg.command` is (N, 3): forward, left, turning.
            policy: the low-level policy, see `regimen.agents.base.Policy`.
            cfg: of the low level.
        """
        self.env = self._inner = env
        self._policy, self._cfg = policy, cfg
        self.num_envs, self.device = env.num_envs, env.device
        self.io = commanding_io(env.io, cfg)
        self.step_dt = self.io.step_dt
        self.max_episode_length = -(-env.max_episode_length // cfg.decimation)
        self.symmetry = None
        self._obs: Obs = {}
        self._memory: Any = None

    @classmethod
    def wrap(cls, env: ManagerEnv, config: Config) -> CommandingEnv:
        """Wrap `env` with the policy that `env.low_level.policy` names.

        Raises:
            CheckpointError: the file is no policy.
            IOMismatchError: the policy does not fit the task.
        """
        cfg = config.env.low_level
        bundle = checkpoint.load(Path(cfg.policy))
        if "policy" not in bundle or "io" not in bundle:
            raise CheckpointError(f"env.low_level.policy={cfg.policy} is no policy: expected one of stage=train.")
        io = IOSpec.from_dict(bundle["io"])
        io.require_fits(env.io)
        policy = resolve(bundle["agent"]["_target_"]).load_policy(bundle, io, env.device)
        kind = cls if cfg.goal is None else SolvedCommandingEnv
        return kind(env, policy, cfg)

    def reset(self, seed: int | None = None) -> Obs:
        """Reset all envs; they stand until the first action. See `VecEnv.reset`."""
        self.env.fix_command(self._cfg.command, torch.zeros(self.num_envs, 3, device=self.device))
        self._obs, self._memory = self.env.reset(seed), None
        return self._observed(self._obs)

    def step(self, action: torch.Tensor) -> tuple[Obs, torch.Tensor, torch.Tensor, torch.Tensor, StepInfo]:
        """Walk at the velocities (N, 2) for `decimation` steps of the low level. See `VecEnv.step`."""
        velocity = action.clamp(-1.0, 1.0) * self._cfg.speed
        reward = torch.zeros(self.num_envs, device=self.device)
        terminated, truncated = (torch.zeros(self.num_envs, dtype=torch.bool, device=self.device) for _ in range(2))
        running, steps = ~terminated, torch.zeros_like(reward)
        metrics: dict[str, torch.Tensor] = {}
        labels: dict[str, torch.Tensor] = {}
        logs: dict[str, list[float | torch.Tensor]] = {}
        final: torch.Tensor | None = None
        for _ in range(self._cfg.decimation):
            self.env.fix_command(self._cfg.command, self._command(velocity * running[:, None]))
            with torch.no_grad():
                low_action, self._memory = self._policy.act(self._obs, self._memory)
            self._obs, gained, fell, over, info = self.env.step(low_action)
            reward += gained * running
            steps += running
            metrics = {k: metrics.get(k, 0.0) + v * running for k, v in info["metrics"].items()}
            labels = {k: torch.where(running, v, labels.get(k, v)) for k, v in info["labels"].items()}
            ended = (fell | over).nonzero().squeeze(1)
            if not len(ended):
                continue
            self._memory = self._policy.reset(self._memory, ended)
            first = ended[running[ended]]
            final = self._obs[self._cfg.observations].clone() if final is None else final
            final[first] = info["final_obs"][self._cfg.observations][first]
            terminated[first], truncated[first] = fell[first], over[first]
            running[first] = False
            for name, value in info["log"].items():
                logs.setdefault(name, []).append(value)
        obs = self._observed(self._obs)
        if final is not None:
            final = torch.where(running[:, None], obs["policy"], final)
        told: StepInfo = {
            "final_obs": obs if final is None else {"policy": final},
            "log": {name: sum(values) / len(values) for name, values in logs.items()},
            "labels": labels,
            "metrics": {name: total / steps for name, total in metrics.items()},
        }
        return obs, reward, terminated, truncated, told

    def _observed(self, obs: Obs) -> Obs:
        return {"policy": obs[self._cfg.observations]}

    def _command(self, velocity: torch.Tensor) -> torch.Tensor:
        """Return the command (N, 3) that leads to the velocity (N, 2) in the world frame."""
        speed = torch.linalg.vector_norm(velocity, dim=1).clamp_max(self._cfg.speed)
        error = torch.atan2(velocity[:, 1], velocity[:, 0]) - heading(self.env.state.root_quat)
        error = torch.atan2(error.sin(), error.cos())
        limit = self._cfg.turning_rate
        turning = (self._cfg.heading_stiffness * error).clamp(-limit, limit)
        command = torch.stack((speed * error.cos().clamp_min(0.0), torch.zeros_like(speed), turning), dim=1)
        return command * (speed > STANDING * self._cfg.speed)[:, None]

    def kinematics(self) -> dict[str, torch.Tensor]:
        """Return the state that a NaN dump keeps, name -> (N, ...)."""
        return self.env.kinematics()

    def state_dict(self) -> StateDict:
        """Return the state of the task, and the observation and memory of the low-level policy."""
        obs = {group: values.clone() for group, values in self._obs.items()}
        return {"env": self.env.state_dict(), "obs": obs, "memory": self._memory}

    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        self.env.load_state_dict(state["env"])
        self._obs = {group: values.clone() for group, values in state["obs"].items()}
        self._memory = state["memory"]


class SolvedCommandingEnv(CommandingEnv):
    """A `CommandingEnv` of a task whose goal, the command `low_level.goal`, is the optimal action."""

    def __init__(self, env: ManagerEnv, policy: Any, cfg: LowLevelCfg) -> None:
        """Wrap `env`; arguments as in `CommandingEnv`."""
        super().__init__(env, policy, cfg)
        self._goal = env.commands[str(cfg.goal)]

    def optimal_action(self) -> torch.Tensor:
        """Return the optimal action (N, 2), computed from the goal."""
        return cast("torch.Tensor", self._goal.value).clone()
