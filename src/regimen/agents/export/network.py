"""The exported network: normaliser, policy and squashing, and the joint targets of its actions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from regimen.agents.base import FeedForwardPolicy, RecurrentPolicy
from regimen.agents.export.descriptions import LAST_ACTION
from regimen.agents.export.header import STATE_IN, STATE_OUT
from regimen.agents.export.raw import RESERVED, Pipeline, RawPolicy
from regimen.agents.export.terms import describe_sensors, fed_back, has_readings
from regimen.config.targets import resolve
from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from regimen.agents.base import Policy
    from regimen.agents.export.descriptions import SensorDescription
    from regimen.config.yaml_io import PlainConfig
    from regimen.envs.vec_env import ActionSpec, IOSpec
    from regimen.runs.checkpoint_header import PolicyBundle

    Acting = Callable[[list[torch.Tensor]], Sequence[torch.Tensor]]

CHECKED = 1000
TOLERANCE = 1e-5
SEQUENCE = 50
"""Steps of a sequence in the check of a network with a state."""

EPISODE_BEGINS = 0.05
"""Share of the sequences in which an episode begins after a step of the check."""


class DeployedPolicy(nn.Module):
    """Groups, (N, d) or images (N, H, W, C) uint8, and the state -> actions (N, A), targets (N, A), the next state."""

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, network: nn.Module, action: ActionSpec) -> None:
        """Put scale, offset and clip of the action after `network`."""
        super().__init__()
        self.network, self.clip = network, action.clip
        self.register_buffer("scale", torch.tensor(action.scale))
        self.register_buffer("offset", torch.tensor(action.offset))

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return actions (N, A), joint targets (N, A), and each part of the next state."""
        result = self.network(*values)
        actions, *state = result if isinstance(result, tuple) else (result,)
        return actions, self.offset + self.scale * clipped(actions, self.clip), *state


def clipped(actions: torch.Tensor, bound: float | None) -> torch.Tensor:
    """Return actions (N, A) within the bound on their absolute value, if there is one."""
    return actions if bound is None else actions.clamp(-bound, bound)


@dataclass(frozen=True)
class ExportedNetwork:
    """A policy and the network of it that is exported.

    Attributes:
        policy: as it acts in the environment.
        module: inputs, state -> actions, targets, next state.
        io: observations and actions of the policy.
        groups: observation groups that it reads.
        state: part of the state -> shape for one robot.
        readings: of a network with the observation pipeline: all terms; empty for one that reads groups.
        feedback: those of them that are the last action.
    """

    policy: Policy
    module: nn.Module
    io: IOSpec
    groups: list[str]
    state: dict[str, list[int]]
    readings: dict[str, SensorDescription] = field(default_factory=dict)
    feedback: frozenset[str] = frozenset()

    @property
    def sensors(self) -> dict[str, SensorDescription]:
        """Inputs of a network with the observation pipeline: the readings without the last action."""
        return {name: sensor for name, sensor in self.readings.items() if name not in self.feedback}

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs."""
        return ["actions", "targets", *(STATE_OUT + name for name in self.state)]

    def zero_state(self, rows: int) -> dict[str, torch.Tensor]:
        """Return part -> (rows, …) zeros, the state at the start of an episode."""
        return {name: torch.zeros(rows, *shape) for name, shape in self.state.items()}

    def example(self) -> dict[str, torch.Tensor]:
        """Return input -> three rows, in the order of the arguments."""
        inputs = random_observations(self, rows=3)
        return inputs | {STATE_IN + name: torch.zeros(3, *shape) for name, shape in self.state.items()}


def load(bundle: PolicyBundle, io: IOSpec) -> ExportedNetwork:
    """Return the network of a checkpoint, which reads observation groups as the policy does.

    Raises:
        CheckpointError: the policy has no network of one step, or reads images.
    """
    target = bundle["agent"]["_target_"]
    policy = resolve(target).load_policy(bundle, io, torch.device("cpu"))
    if images := getattr(policy, "images", None):
        raise CheckpointError(
            f"This policy reads the images {', '.join(images)}, and only policies of vectors can be exported. Act with "
            "it through regimen.load_policy, or train one without agent.images."
        )
    if isinstance(policy, RecurrentPolicy) and (made := policy.recurrent()) is not None:
        network, groups, state = made.module, made.groups, dict(made.state)
    elif isinstance(policy, FeedForwardPolicy):
        (network, groups), state = policy.feed_forward(), {}
    else:
        raise CheckpointError(
            f"A policy of {target.rpartition('.')[2]} cannot be exported: it is not the network of one step. Those of "
            "skrl_ppo, rsl_rl_ppo, fast_sac, rl_games, amp, rlpd, bc and student can."
        )
    deployed = DeployedPolicy(network, io.action).eval().requires_grad_(False)
    return ExportedNetwork(policy, deployed, io, groups, state)


def with_pipeline(network: ExportedNetwork, env: PlainConfig) -> ExportedNetwork:
    """Return a network that reads one reading of each sensor, with the observation pipeline of the task in it.

    Args:
        network: of observation groups.
        env: plain configuration of the task.

    Raises:
        CheckpointError: the readings of the task cannot be the inputs of a file; the message names why.
    """
    io, groups = network.io, network.groups
    if images := [group for group in groups if group in io.images]:
        raise CheckpointError(f"observations=raw: the policy reads the image {images[0]}. Type observations=scaled.")
    if not has_readings(env):
        raise CheckpointError(
            "observations=raw: the observations of this task are not terms of its configuration env.observations, so "
            "that their processing is not described. Type observations=scaled."
        )
    readings = describe_sensors(io, groups, env)
    feedback = frozenset(path.partition(".")[2] for path in fed_back(groups, env)) & readings.keys()
    if taken := sorted((readings.keys() - feedback) & set(RESERVED)):
        raise CheckpointError(
            f"env.observations: the term `{taken[0]}` has the name of an output. Rename it in the task, or export with "
            "observations=scaled."
        )
    module = RawPolicy(network.module, io, groups, readings, feedback, network.state)
    return replace(network, module=module.eval(), state=module.state, readings=readings, feedback=feedback)


def random_observations(network: ExportedNetwork, rows: int = CHECKED, seed: int = 0) -> dict[str, torch.Tensor]:
    """Return input -> random observations, state excluded.

    Those of vectors are normal, (rows, d), from nearly 0 to far larger than those of a robot; images are uniform,
    (rows, H, W, C) uint8.
    """
    io, generator = network.io, torch.Generator().manual_seed(seed)
    width = torch.linspace(0.05, 5.0, rows)[:, None]

    def drawn(name: str) -> torch.Tensor:
        if name in network.readings:
            return width * torch.randn(rows, network.readings[name].size, generator=generator)
        if name in io.images:
            return torch.randint(0, 256, (rows, *io.images[name]), generator=generator, dtype=torch.uint8)
        return width * torch.randn(rows, io.size(name), generator=generator)

    return {name: drawn(name) for name in network.sensors or network.groups}


def largest_difference(acting: Acting, network: ExportedNetwork) -> float:
    """Return the largest difference between an exported network and its policy on `CHECKED` random observations.

    Without a state they are single steps. With one they are sequences, in which the state is carried on, and is set
    back in some of them from time to time, where an episode begins. The first row is evaluated alone, as on a robot.
    Differences of values above 1 are relative.

    Args:
        acting: inputs and state -> actions, targets and next state.
        network: the policy and what is exported of it.
    """
    steps = SEQUENCE if network.state else 1
    rows, policy, io = CHECKED // steps, network.policy, network.io
    generator = torch.Generator().manual_seed(1)
    scale, offset = torch.tensor(io.action.scale), torch.tensor(io.action.offset)
    pipeline = Pipeline(io, network.groups, rows) if network.readings else None
    state, memory, last = network.zero_state(rows), None, torch.zeros(rows, io.num_actions)
    found, wanted = [], []
    with torch.inference_mode():
        for step in range(steps):
            inputs = random_observations(network, rows, seed=step)
            readings = inputs | dict.fromkeys(network.feedback, last)
            if LAST_ACTION in state:
                state[LAST_ACTION] = last
            actions, memory = policy.act(readings if pipeline is None else pipeline.observe(readings), memory)
            wanted.append(torch.cat((actions, offset + scale * clipped(actions, io.action.clip)), dim=1))
            outputs = _in_two_calls(acting, [*inputs.values(), *state.values()])
            found.append(torch.cat(outputs[:2], dim=1))
            begins = torch.rand(rows, generator=generator) < EPISODE_BEGINS
            ids, last = begins.nonzero().squeeze(1), actions * ~begins[:, None]
            state = {name: part.clone() for name, part in zip(state, outputs[2:], strict=True)}
            for part in state.values():
                part[ids] = 0.0
            memory = policy.reset(memory, ids)
            if pipeline is not None:
                pipeline.reset(ids)
    return largest_gap(torch.cat(found), torch.cat(wanted))


def _in_two_calls(acting: Acting, values: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the outputs of all rows, the first of them evaluated alone."""
    parts = [acting([value[rows] for value in values]) for rows in (slice(0, 1), slice(1, None))]
    return [torch.cat(both) for both in zip(*parts, strict=True)]


def column_gaps(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return the largest difference of each column of (N, A), in units of its largest value, or of 1 if that is less.

    The sums behind a small value have the rounding of the large ones that it is made of. A value that is not a number
    is an infinite difference.
    """
    gap = (outputs - wanted).abs() / wanted.abs().amax(0).clamp(min=1.0)
    return gap.nan_to_num(float("inf")).amax(0)


def largest_gap(outputs: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return the largest of `column_gaps`."""
    return float(column_gaps(outputs, wanted).max())
