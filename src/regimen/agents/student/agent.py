"""DAgger: the student acts, the teacher says what it would have done, and the student learns that.

S. Ross, G. Gordon, D. Bagnell (2011), A Reduction of Imitation Learning and Structured Prediction to No-Regret Online
Learning. As in the distillation of legged robots since Lee et al. (2020), only the newest rollout is learned from: with
thousands of envs it has states enough, and old ones are those of a worse student. With `agent.latent` a layer of the
teacher, which encodes what the student does not see, is learned beside the actions: Lee et al. (2020), Learning
quadrupedal locomotion over challenging terrain, eq. 2, and RMA (Kumar et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from regimen.agents.base import LatentPolicy, RecurrentNetwork
from regimen.agents.student.config import StudentCfg
from regimen.agents.student.network import StudentNet
from regimen.agents.training_session import require_finite
from regimen.config.structured import build
from regimen.system.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from regimen.agents.base import Policy
    from regimen.agents.student.config import LatentCfg
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict


@dataclass
class _Rollout:
    """A rollout and what the teacher would have done in it.

    Attributes:
        inputs: (T, N, d) of the student.
        labels: (T, N, A) actions of the teacher.
        latents: (T, N, k) of the teacher; None without them.
        starts: (T, N) bool, where an episode begins.
        state: (N, h) of the GRU before the first step; None for a feed-forward network.
    """

    inputs: torch.Tensor
    labels: torch.Tensor
    latents: torch.Tensor | None
    starts: torch.Tensor
    state: torch.Tensor | None


class Student:
    """Learns from a teacher.

    Attributes:
        net: the student's network.
    """

    def __init__(self, cfg: StudentCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build the network.

        Args:
            cfg: hyperparameters.
            io: of the task.
            num_envs: N.
            device: of the network.
            seed: of weights, envs and draws.
        """
        torch.manual_seed(seed)
        self.cfg, self.io, self.device, self.seed = cfg, io, device, seed
        self.net = _network(cfg, io, device)
        self._optimiser = torch.optim.Adam(self.net.parameters(), lr=cfg.learning_rate, fused=device.type == "cpu")
        self._teacher: Policy | None = None
        self._generator = torch.Generator().manual_seed(seed)
        self._acts_first = torch.rand(num_envs, generator=self._generator)
        self._starts = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._state = self.net.initial_state(num_envs)
        self._teacher_state: Any = None

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    def use_teacher(self, policy: Policy) -> None:
        """Learn from this policy.

        Raises:
            ConfigError: it has no latent, which `agent.latent` asks for.
        """
        if self.cfg.latent is not None and not isinstance(policy, LatentPolicy):
            raise ConfigError(
                f"agent.latent.layer={self.cfg.latent.layer}: this teacher has no named layers; one of agent=skrl_ppo "
                "has. Type agent.latent=null."
            )
        self._teacher = policy

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `total_steps`. See `LearningAgent.learn`.

        Raises:
            ConfigError: there is no teacher.
        """
        if self._teacher is None:
            raise ConfigError("agent=student needs a teacher: policy=<run reference>.")
        threads = torch.get_num_threads()
        if resume is None:
            obs = env.reset(seed=self.seed)
            env.stagger()
        else:
            obs = self._restore(resume, env.device)
        while session.steps_done < self.total_steps:
            torch.set_num_threads(1)  # some hundred rows are slower with several; the update is large enough
            obs, rollout = self._collect(env, session, obs)
            torch.set_num_threads(threads)
            losses = self._update(rollout)
            require_finite(self.net.state_dict(), "student")
            session.end_iteration(losses, partial(self._checkpoint_state, obs))

    @torch.no_grad()
    def _collect(self, env: VecEnv, session: TrainingSession, obs: Obs) -> tuple[Obs, _Rollout]:
        """Step the envs; return the last observations and the rollout."""
        assert self._teacher is not None
        inputs, labels, latents, starts, first = [], [], [], [], self._state
        share = self.cfg.teacher_share * max(0.0, 1.0 - 2.0 * session.steps_done / self.total_steps)
        taught = (self._acts_first < share)[:, None]
        for _ in range(self.cfg.rollout):
            label, self._teacher_state = self._teacher.act(obs, self._teacher_state)
            if self.cfg.latent is not None:
                latents.append(self._latent(obs, self.cfg.latent))
            seen = _inputs(obs, self.cfg.observations, self.device)
            state = None if self._state is None else self._state * ~self._starts[:, None]
            action, self._state = self.net(seen, state)
            inputs.append(seen)
            labels.append(label.to(self.device))
            starts.append(self._starts)
            acting = torch.where(taught.to(label.device), label, action.to(label.device))
            obs, reward, terminated, truncated, info = env.step(acting.to(env.device))
            session.step(reward, terminated, truncated, info)
            ended = terminated | truncated
            self._starts = ended.to(self.device)
            if bool(ended.any()):
                self._teacher_state = self._teacher.reset(self._teacher_state, ended.nonzero().squeeze(1))
        of_teacher = torch.stack(latents) if latents else None
        return obs, _Rollout(torch.stack(inputs), torch.stack(labels), of_teacher, torch.stack(starts), first)

    def _latent(self, obs: Obs, wanted: LatentCfg) -> torch.Tensor:
        """Return the teacher's layer (N, k).

        Raises:
            ConfigError: it has another width.
        """
        assert isinstance(self._teacher, LatentPolicy)
        latent = self._teacher.latent(obs, wanted.layer).to(self.device)
        if latent.shape[1] != wanted.size:
            raise ConfigError(
                f"agent.latent.size={wanted.size}: the teacher's layer `{wanted.layer}` has {latent.shape[1]} values. "
                f"Type agent.latent.size={latent.shape[1]}."
            )
        return latent

    def _update(self, rollout: _Rollout) -> dict[str, float]:
        """Learn from a rollout; return the losses."""
        cfg, net = self.cfg, self.net
        inputs, labels, latents = rollout.inputs, rollout.labels, rollout.latents
        starts, state = rollout.starts, rollout.state
        net.norm.update(net.norm.sums(inputs.flatten(0, 1)))
        if net.cell is None:  # single steps in any order
            inputs, labels, starts = (x.flatten(0, 1)[None] for x in (inputs, labels, starts))
            latents = None if latents is None else latents.flatten(0, 1)[None]
        count, total = inputs.shape[1], torch.zeros(2, device=self.device)
        for _ in range(cfg.epochs):
            parts = torch.randperm(count, generator=self._generator).to(self.device).chunk(cfg.mini_batches)
            for part in parts:
                before = None if state is None else state[part]
                action, latent = net.over_time(inputs[:, part], before, starts[:, part])
                loss = imitation = (action - labels[:, part]).square().mean()
                if cfg.latent is not None:
                    assert latent is not None and latents is not None
                    prediction = (latent - latents[:, part]).square().mean()
                    loss = imitation + cfg.latent.weight * prediction
                    total[1] += prediction.detach()
                self._optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(net.parameters(), cfg.grad_norm_clip)
                self._optimiser.step()
                total[0] += imitation.detach()
        means = (total / (cfg.epochs * len(parts))).tolist()  # `chunk` may give fewer than `mini_batches`
        return {"Loss/imitation": means[0]} | ({} if cfg.latent is None else {"Loss/latent": means[1]})

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        training = {
            "net": self.net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "acts_first": self._acts_first.clone(),
            "starts": self._starts.clone(),
            "state": None if self._state is None else self._state.clone(),
            "teacher_state": self._teacher_state,
            "obs": {name: value.clone() for name, value in obs.items()},
        }
        return {"policy": {"net": self.net.state_dict()}, "training": training}

    def _restore(self, state: StateDict, env_device: torch.device) -> Obs:
        """Restore what was loaded on the CPU; return the observations on the device of the envs."""
        self.net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._acts_first, self._starts = state["acts_first"].clone(), state["starts"].to(self.device, copy=True)
        self._state = _moved(state["state"], self.device)
        self._teacher_state = _moved(state["teacher_state"], env_device)  # the teacher acts beside the envs
        return {name: value.to(env_device, copy=True) for name, value in state["obs"].items()}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> StudentPolicy:
        """Return the policy of a checkpoint."""
        cfg: StudentCfg = build(StudentCfg, bundle["agent"])
        net = _network(cfg, io, device)
        net.load_state_dict(bundle["policy"]["net"])
        return StudentPolicy(net, list(cfg.observations))


class StudentPolicy:
    """A trained student.

    Attributes:
        groups: observation groups that it reads.
    """

    def __init__(self, net: StudentNet, groups: list[str]) -> None:
        """Take the network."""
        self.net, self.groups = net.eval(), groups

    @torch.no_grad()
    def act(self, obs: Obs, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the action (N, A) and the state of the GRU (N, h), None for a feed-forward network."""
        action, state = self.net(_inputs(obs, self.groups, self.net.norm.mean.device), state)
        return action, state

    def reset(self, state: torch.Tensor | None, env_ids: torch.Tensor) -> torch.Tensor | None:
        """Return the state with the rows `env_ids` (n,) at the start of an episode."""
        return None if state is None else state.index_fill(0, env_ids.to(state.device), 0.0)

    def feed_forward(self) -> tuple[torch.nn.Module, list[str]]:
        """Return the network and the groups that it reads.

        Raises:
            CheckpointError: the network is recurrent.
        """
        if self.net.cell is not None:
            raise CheckpointError("This student has a state (agent.recurrent): see `recurrent`.")
        return _Action(self.net), self.groups

    def recurrent(self) -> RecurrentNetwork | None:
        """Return the network of one step with the state of its GRU, `hidden` (N, h); None of a feed-forward student."""
        if self.net.cell is None:
            return None
        return RecurrentNetwork(_Step(self.net, self.net.cell), self.groups, {"hidden": [self.net.cell.hidden_size]})


class _Action(torch.nn.Module):
    """The action of a feed-forward student, of one tensor for each group."""

    def __init__(self, net: StudentNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, *obs: torch.Tensor) -> torch.Tensor:
        action: torch.Tensor = self.net(torch.cat(obs, dim=1))[0]
        return action


class _Step(torch.nn.Module):
    """Action and next state of a recurrent student, of one tensor for each group and the state (N, h).

    The cell is a `GRU` of one layer with the same weights: libtorch writes a `GRUCell` as operations in place.
    """

    def __init__(self, net: StudentNet, cell: torch.nn.GRUCell) -> None:
        super().__init__()
        self.norm, self.head = net.norm, net.head
        self.cell = torch.nn.GRU(cell.input_size, cell.hidden_size)
        self.cell.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})

    def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.norm(torch.cat(values[:-1], dim=1))
        features, state = self.cell(features[None], values[-1][None])
        return self.head(features[0]), state[0]


def _network(cfg: StudentCfg, io: IOSpec, device: torch.device) -> StudentNet:
    return StudentNet(cfg, sum(io.size(group) for group in cfg.observations), io.num_actions, device)


def _moved(state: Any, device: torch.device) -> Any:
    """Return a state of nested dicts, lists and tuples with its tensors on a device."""
    if isinstance(state, torch.Tensor):
        return state.to(device)
    if isinstance(state, dict):
        return {name: _moved(part, device) for name, part in state.items()}
    return type(state)(_moved(part, device) for part in state) if isinstance(state, list | tuple) else state


def _inputs(obs: Obs, groups: list[str], device: torch.device) -> torch.Tensor:
    """Return the observations of the groups side by side, (N, d)."""
    parts = [obs[group].to(device) for group in groups]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
