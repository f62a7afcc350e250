"""Models of motors: classes that turn joint targets into torques at each physics step, for one group of joints.

A class is made with a `regimen.envs.actuators.group.JointGroup` and the parameters of the task. Numbers of single
joints are given by regular expression, `{.*_hip_joint: 20.0, .*_calf_joint: 30.0}`; what is not given is the robot's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.envs.actuators.network import open_network, start_state
from regimen.envs.actuators.settings import network_problems
from regimen.system.errors import ConfigError

if TYPE_CHECKING:
    from regimen.envs.actuators.group import JointGroup


class ideal_pd:  # noqa: N801 - a term is named as in a task
    """A position servo without delay and losses: torque = stiffness (target - position) - damping velocity, limited.

    The torque is computed from the state at the beginning of a physics step and held in it, where a simulator's own
    servo takes the velocity at its end: stable for `dt * damping < 2 * inertia` of a joint.
    """

    def __init__(
        self,
        group: JointGroup,
        stiffness: float | dict[str, float] | None = None,
        damping: float | dict[str, float] | None = None,
        effort_limit: float | dict[str, float] | None = None,
    ) -> None:
        """Store the gains.

        Args:
            group: its joints.
            stiffness: N·m/rad.
            damping: N·m·s/rad.
            effort_limit: largest absolute torque in N·m.
        """
        self.quantities = {
            "stiffness": group.rows("stiffness", stiffness),
            "damping": group.rows("damping", damping),
            "torque_limit": group.rows("effort_limit", effort_limit),
        }

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (N, K) in N·m."""
        limit = self.quantities["torque_limit"]
        return self._wanted(target, position, velocity).clamp_(-limit, limit)

    def _wanted(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        error = (target - position).mul_(self.quantities["stiffness"])
        return error.addcmul_(self.quantities["damping"], velocity, value=-1.0)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Do nothing: the law has no state."""


class dc_motor(ideal_pd):  # noqa: N801 - a term is named as in a task
    """An ideal PD behind a DC motor at a fixed voltage: its torque falls in proportion to its speed.

    Between stall (torque `saturation_effort` at rest) and no load (`velocity_limit`) the largest torque is
    saturation_effort (1 - velocity / velocity_limit), the smallest -saturation_effort (1 + velocity / velocity_limit);
    both are cut off at the continuous limit `effort_limit`. Faster than without load the motor brakes. The speed-torque
    line is that of Lynch and Park, Modern Robotics (2017), section 8.9.1; parameters as of Isaac Lab's `DCMotor`.
    """

    def __init__(
        self,
        group: JointGroup,
        stiffness: float | dict[str, float] | None = None,
        damping: float | dict[str, float] | None = None,
        effort_limit: float | dict[str, float] | None = None,
        saturation_effort: float | dict[str, float] | None = None,
        velocity_limit: float | dict[str, float] | None = None,
    ) -> None:
        """Store gains and limits.

        Args:
            group: its joints.
            stiffness: N·m/rad.
            damping: N·m·s/rad.
            effort_limit: largest absolute torque at any speed in N·m.
            saturation_effort: torque at rest in N·m; by default the robot's effort limit.
            velocity_limit: speed without load in rad/s.
        """
        super().__init__(group, stiffness, damping, effort_limit)
        self.quantities["saturation_effort"] = group.rows("saturation_effort", saturation_effort)
        self._inverse_speed = 1.0 / group.rows("velocity_limit", velocity_limit)[:1]

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (N, K) in N·m."""
        limit, stall = self.quantities["torque_limit"], self.quantities["saturation_effort"]
        lost = velocity * self._inverse_speed * stall
        most = (stall - lost).clamp_(-limit, limit)
        least = (-stall - lost).clamp_(-limit, limit)
        return self._wanted(target, position, velocity).clamp_(least, most)


class actuator_net:  # noqa: N801 - a term is named as in a task
    """A network from a file that maps position errors and velocities of a joint to its torque; one network for all.

    Hwangbo et al. 2019, Learning agile and dynamic motor skills for legged robots, arXiv:1901.08652: the errors, target
    minus position, and velocities of now and of two earlier moments. A recurrent network (an LSTM) reads those of now
    alone. Before an episode errors and velocities are 0, as those of a robot that rests at its targets.
    """

    def __init__(
        self,
        group: JointGroup,
        network_file: str,
        input_idx: list[int] | None = None,
        input_order: str = "pos_vel",
        pos_scale: float = 1.0,
        vel_scale: float = 1.0,
        torque_scale: float = 1.0,
        effort_limit: float | dict[str, float] | None = None,
    ) -> None:
        """Load the network.

        Args:
            group: its joints.
            network_file: TorchScript, or ONNX if it ends in `.onnx`.
            input_idx: which moments are read, in physics steps before the present one; by default the present one.
            input_order: `pos_vel`, errors before velocities, or `vel_pos`.
            pos_scale: factor of the errors in rad.
            vel_scale: factor of the velocities in rad/s.
            torque_scale: factor that makes N·m of the output.
            effort_limit: largest absolute torque in N·m.

        Raises:
            ConfigError: an unknown order or moment, or a file that is no such network.
        """
        moments = [0] if input_idx is None else list(input_idx)
        if lines := network_problems(moments, input_order):
            raise ConfigError("actuator_net: " + " ".join(lines.values()))
        self._network = open_network(network_file, 2 * len(moments), group.device)
        if self._network.memory is not None and moments != [0]:
            raise ConfigError(f"actuator_net: input_idx={moments}: {network_file} is recurrent; expected [0].")
        n, joints, device = group.num_envs, len(group.joints), group.device
        self.quantities = {
            "torque_limit": group.rows("effort_limit", effort_limit),
            "strength": torch.ones(n, joints, device=device),
        }
        self._moments, self._order = moments, 1 if input_order == "pos_vel" else -1
        self._scales = (pos_scale, vel_scale, torque_scale)
        # (moments kept, errors and velocities, N, K), the newest at the slot
        self.past = torch.zeros(max(moments) + 1, 2, n, joints, device=device)
        self.slot = 0
        # (layers, N · K, width) of a recurrent network
        self.hidden: torch.Tensor | None = None
        self.cell: torch.Tensor | None = None
        if (state := start_state(self._network, n * joints, device)) is not None:
            self.hidden, self.cell = state

    def torque(self, target: torch.Tensor, position: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Return the torque (N, K) in N·m."""
        pos_scale, vel_scale, torque_scale = self._scales
        kept = len(self.past)
        self.slot = (self.slot + 1) % kept
        self.past[self.slot, 0] = (target - position) * pos_scale
        self.past[self.slot, 1] = velocity * vel_scale
        chosen = self.past[[(self.slot - moment) % kept for moment in self._moments]]  # (moments, 2, N, K)
        chosen = chosen if self._order == 1 else chosen.flip(1)
        inputs = chosen.permute(2, 3, 1, 0).reshape(position.numel(), -1)
        if self.hidden is None or self.cell is None:
            output = self._network(inputs, None)[0]
        else:
            output, after = self._network(inputs[:, None], (self.hidden, self.cell))
            assert after is not None
            self.hidden, self.cell = after[0].contiguous(), after[1].contiguous()
        limit = self.quantities["torque_limit"]
        return (output.reshape(position.shape) * torque_scale * self.quantities["strength"]).clamp(-limit, limit)

    def reset(self, env_ids: torch.Tensor) -> None:
        """Clear the past and the state of the network for the robots `env_ids` (n,)."""
        self.past[:, :, env_ids] = 0.0
        for memory in (self.hidden, self.cell):
            if memory is not None:
                memory.view(memory.shape[0], self.past.shape[2], -1, memory.shape[2])[:, env_ids] = 0.0
