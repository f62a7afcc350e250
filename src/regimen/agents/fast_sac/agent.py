"""FastSAC (Seo et al. 2025, arXiv 2512.01996): soft actor-critic for many parallel environments.

Several updates follow each step of all environments, on large minibatches in which every environment is. The critics
learn distributions (C51), each from its own target network; the actor climbs their mean. Exploration is the actor's own
Gaussian; the temperature keeps its entropy at the target.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from regimen.agents import data_parallel
from regimen.agents.action_bounds import action_bounds
from regimen.agents.fast_sac.config import PART_ROWS, FastSacCfg
from regimen.agents.fast_sac.networks import Critics, RunningNorm, least, project
from regimen.agents.fast_sac.policy import FastSacPolicy, build_actor
from regimen.agents.training_session import free_bytes, require_finite
from regimen.data.replay_buffer import Batch, ReplayRing, ring_bytes
from regimen.system.distributed import rank, world_size
from regimen.system.errors import ConfigError, PreflightError, did_you_mean
from regimen.system.seeding import own_seed, seed_all

if TYPE_CHECKING:
    from regimen.agents.training_session import TrainingSession
    from regimen.envs.vec_env import IOSpec, Obs, VecEnv
    from regimen.runs.checkpoint_header import PolicyBundle, StateDict

BETAS = (0.9, 0.95)
SATURATED = 0.05
"""Share of the targets' probability mass outside the support above which a warning is given."""


class _Targets(NamedTuple):
    """The critics' targets for some rows.

    Attributes:
        log_prob: (B,) log density of the actions that follow.
        target: (E, B) values, or (E, B, Z) distributions.
        made_of: the same of the target networks.
    """

    log_prob: torch.Tensor
    target: torch.Tensor
    made_of: torch.Tensor


class FastSac:
    """Learns by FastSAC.

    Attributes:
        actor, critics, target: networks; `target` follows `critics`.
        norms: observation group -> normaliser.
        log_alpha: () logarithm of the temperature.
        ring: replay buffer; allocated by `learn`.
        updates: of the critics so far.
    """

    ring: ReplayRing

    def __init__(self, cfg: FastSacCfg, io: IOSpec, num_envs: int, device: torch.device, seed: int) -> None:
        """Build networks and optimisers.

        Args:
            cfg: the `agent` group.
            io: names and sizes.
            num_envs: N.
            device: of the networks and of the ring.
            seed: of weights and of everything drawn.

        Raises:
            ConfigError: a group that the critics cannot read, or an action without a bound.
        """
        if cfg.critic_observations not in io.observations:
            offered = did_you_mean(cfg.critic_observations, io.observations)
            raise ConfigError(f"agent.critic_observations={cfg.critic_observations}: no such group. {offered}")
        self.cfg, self.io, self.num_envs, self.device, self.seed = cfg, io, num_envs, device, seed
        self.sizes = {group: io.size(group) for group in dict.fromkeys(("policy", cfg.critic_observations))}
        seed_all(seed)
        norm = partial(RunningNorm, device=device) if cfg.obs_normalization else nn.Identity
        self.norms = nn.ModuleDict({group: norm(size) for group, size in self.sizes.items()})
        scale = torch.tensor(action_bounds(io.action, cfg.action_bound))
        self.actor = build_actor(cfg, io, scale).to(device)
        atoms = cfg.num_atoms if cfg.critic_type == "c51" else 1
        support = torch.linspace(cfg.v_min, cfg.v_max, atoms)
        inputs = self.sizes[cfg.critic_observations] + io.num_actions
        self.critics = Critics(inputs, cfg.critic_hidden_dim, cfg.num_q_networks, support, cfg.use_layer_norm)
        self.critics.to(device)
        self.target = copy.deepcopy(self.critics).requires_grad_(False)
        self._followers: list[torch.Tensor] = list(self.target.parameters())
        self._led: list[torch.Tensor] = list(self.critics.parameters())
        self.log_alpha = nn.Parameter(torch.tensor(cfg.alpha_init, device=device).log())
        self.target_entropy = -io.num_actions * cfg.target_entropy_ratio
        self.updates = 0
        self._build_optimisers()
        wrap: Callable[[Any], Any] = torch.compile if cfg.compile else lambda function: function
        self._critic_loss, self._actor_loss = wrap(self._distance_to_target), wrap(self._policy_loss)
        self._cast = partial(torch.autocast, device.type, torch.bfloat16, enabled=cfg.amp and device.type == "cuda")
        self._stats: dict[str, torch.Tensor] = {}
        self._warned_of_saturation = False

    def _build_optimisers(self) -> None:
        cfg, adam = self.cfg, partial(torch.optim.AdamW, betas=BETAS, fused=True)
        decay = cfg.weight_decay
        self.actor_optimiser = adam(self.actor.parameters(), lr=cfg.actor_learning_rate, weight_decay=decay)
        self.critic_optimiser = adam(self.critics.parameters(), lr=cfg.critic_learning_rate, weight_decay=decay)
        self.alpha_optimiser = adam([self.log_alpha], lr=cfg.alpha_learning_rate, weight_decay=0.0)

    @property
    def total_steps(self) -> int:
        """Env steps per env of the whole training."""
        return self.cfg.total_steps()

    @property
    def each(self) -> int:
        """Transitions of one env in a minibatch."""
        return max(1, self.cfg.batch_size // (self.num_envs * world_size()))

    def learn(self, env: VecEnv, session: TrainingSession, resume: StateDict | None) -> None:
        """Train until `total_steps`.

        Args:
            env: new, or restored if `resume` is given.
            session: receives every step and update.
            resume: the `training` part of a checkpoint, or None to begin.

        Raises:
            ConfigError: `use_symmetry` is true and the task has no mirror image.
            PreflightError: the ring does not fit into the free memory.
        """
        self._open_ring()
        self.symmetry = None if self.cfg.use_symmetry is False else getattr(env, "symmetry", None)
        if self.cfg.use_symmetry and self.symmetry is None:
            raise ConfigError("agent.use_symmetry=true: the task has no mirror image. Type agent.use_symmetry=false.")
        self._print_sizes()
        if resume is None:
            data_parallel.share([*self._weights(), *self.norms.buffers()])
            seed_all(own_seed(self.seed))
            obs = env.reset(seed=own_seed(self.seed))
            env.stagger()
            self.ring.begin(self._stored_groups(obs))
        else:
            obs = self._restore(resume)
        threads, seconds = torch.get_num_threads(), {"collect": 0.0, "learn": 0.0}
        while session.steps_done < self.total_steps:
            began = time.perf_counter()
            # Operations on some hundred rows are slower with several threads; the updates are large enough.
            torch.set_num_threads(1)
            obs = self._step(env, obs, session)
            torch.set_num_threads(threads)
            stepped = time.perf_counter()
            if self.ring.size >= self.cfg.learning_starts:
                self._learn_from_ring()
            seconds["collect"] += stepped - began
            seconds["learn"] += time.perf_counter() - stepped
            if session.steps_done % self.cfg.logging_interval == 0:
                losses = self._losses(session) | {f"Perf/{what}_s": spent for what, spent in seconds.items()}
                seconds = dict.fromkeys(seconds, 0.0)
                data_parallel.share_curriculum(env)
                session.end_iteration(losses, partial(self._checkpoint_state, obs))

    def _open_ring(self) -> None:
        width, count = sum(self.sizes.values()), self.io.num_actions
        needed, free = ring_bytes(self.num_envs, self.cfg.buffer_size, width, count), free_bytes(self.device)
        if needed > free:
            fits = max(1, int(self.cfg.buffer_size * free / needed * 0.9))
            raise PreflightError(
                f"The replay ring of {self.num_envs} envs x {self.cfg.buffer_size} transitions takes {_gib(needed)}, "
                f"{_gib(free)} are free on {self.device}. Type agent.buffer_size={fits}, or lower env.num_envs."
            )
        self.ring = ReplayRing(self.num_envs, self.cfg.buffer_size, self.sizes, count, self.device)

    def _print_sizes(self) -> None:
        """Print sizes that follow from the configuration and the task."""
        if rank() > 0:
            return
        n, size, width = self.num_envs * world_size(), self.cfg.buffer_size, sum(self.sizes.values())
        drawn = f"{n} envs x {self.each}" + (", and their mirror images" if self.symmetry is not None else "")
        rows = n * self.each * (2 if self.symmetry is not None else 1)
        takes = _gib(ring_bytes(n, size, width, self.io.num_actions))
        kept = "saved with every checkpoint" if self.cfg.save_buffer else "not saved"
        print(f"minibatch: {rows} transitions ({drawn}); agent.batch_size={self.cfg.batch_size}", flush=True)
        print(f"replay ring: {n} envs x {size} transitions, {takes}, {kept}", flush=True)
        if self.cfg.amp and self.device.type == "cpu":
            print("agent.amp: off, there is nothing to gain from bfloat16 on a CPU", flush=True)

    def _stored_groups(self, obs: Obs) -> Obs:
        """Return the groups that the ring stores, on the agent's device."""
        return {group: obs[group].to(self.device) for group in self.sizes}

    @torch.no_grad()
    def _step(self, env: VecEnv, obs: Obs, session: TrainingSession) -> Obs:
        """Step all envs and write the transitions into the ring; the normalisers are not updated."""
        action, _ = self.actor.sample(self.norms["policy"](obs["policy"].to(self.device)))
        following, reward, terminated, truncated, info = env.step(action.to(env.device))
        session.step(reward, terminated, truncated, info)
        ended = terminated | truncated
        fails = ended if self.cfg.disable_bootstrap else terminated
        to, stored = self.device, self._stored_groups
        ids = info["ended_ids"].to(to) if "ended_ids" in info else None
        final = stored(info["final_obs"])
        self.ring.add(action, reward.to(to), fails.to(to), ended.to(to), stored(following), final, ids)
        return following

    def _learn_from_ring(self) -> None:
        """Draw the minibatches of this env step at once, and make an update with each."""
        cfg = self.cfg
        drawn = self._normalised(self._mirrored(self.ring.sample(cfg.num_updates, self.each, cfg.gamma, cfg.num_steps)))
        for k in range(cfg.num_updates):
            batch = drawn.minibatch(k)
            self.updates += 1
            targets = self._update_critics(batch)
            if self.updates % cfg.policy_frequency == 0:
                self._update_actor(batch)
            with torch.no_grad():
                torch._foreach_lerp_(self._followers, self._led, cfg.tau)
        self._stats |= self._measured(batch, targets)

    def _mirrored(self, batch: Batch) -> Batch:
        """Return a batch (U, B, …) with the mirror image of each transition in the same minibatch, (U, 2 B, …)."""
        if self.symmetry is None:
            return batch
        both = partial(torch.cat, dim=1)
        obs, following = self.symmetry.mirror_obs(batch.obs), self.symmetry.mirror_obs(batch.next_obs)
        return Batch(
            obs={group: both((x, obs[group])) for group, x in batch.obs.items()},
            action=both((batch.action, self.symmetry.mirror_action(batch.action))),
            reward=both((batch.reward, batch.reward)),
            discount=both((batch.discount, batch.discount)),
            next_obs={group: both((x, following[group])) for group, x in batch.next_obs.items()},
        )

    def _normalised(self, batch: Batch) -> Batch:
        """Update the normalisers by a batch of the ring, and return it normalised."""
        for group, norm in self.norms.items():
            if isinstance(norm, RunningNorm):
                before, after = (norm.sums(x[group].flatten(0, 1)) for x in (batch.obs, batch.next_obs))
                norm.update(data_parallel.total(before + after))
        obs, following = ({g: self.norms[g](x) for g, x in o.items()} for o in (batch.obs, batch.next_obs))
        return Batch(obs, batch.action, batch.reward, batch.discount, following)

    def _update_critics(self, batch: Batch) -> list[_Targets]:
        """Move the critics towards their targets, and the temperature towards its target entropy.

        Returns:
            The critics' targets for each part of the minibatch.
        """
        targets: list[_Targets] = []

        def loss_of(part: Batch) -> torch.Tensor:
            loss, found = self._critic_loss(part)
            targets.append(found)
            return loss

        loss = self._descend(loss_of, batch, self.critic_optimiser)
        # The gradient of -alpha (log pi + target) with respect to log alpha.
        log_prob = torch.cat([part.log_prob for part in targets])
        gap = data_parallel.total((log_prob + self.target_entropy).mean()) / world_size()
        self.log_alpha.grad = -self.log_alpha.detach().exp() * gap
        self.alpha_optimiser.step()
        self._stats |= {"Loss/critic": loss, "Loss/alpha": self.log_alpha.grad}
        return targets

    def _distance_to_target(self, batch: Batch) -> tuple[torch.Tensor, _Targets]:
        """Return the critics' loss, and what they are regressed to."""
        group = self.cfg.critic_observations
        with self._cast():
            with torch.no_grad():
                action, log_prob = self.actor.sample(batch.next_obs["policy"])
                outputs = self.target(batch.next_obs[group], action)
                target, made_of = self._targets(outputs, batch, self.log_alpha.exp() * log_prob)
            predicted = self.critics.each(batch.obs[group], batch.action)
        losses = [self._distance(x, y) for x, y in zip(predicted, target, strict=True)]
        return torch.stack(losses).sum(), _Targets(log_prob, target, made_of)

    def _distance(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error or cross-entropy of a critic's outputs (B, Z) to its target (B) or (B, Z)."""
        if self.cfg.critic_type == "scalar":
            return (predicted.squeeze(-1) - target).square().mean()
        return torch.dot(target.flatten(), predicted.log_softmax(-1).flatten()) / -len(target)

    def _targets(self, outputs: torch.Tensor, batch: Batch, cost: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the targets of the critics, and the outputs of the target networks they are computed from.

        Args:
            outputs: (E, B, Z) of the target networks for the action that follows.
            batch: return and discount.
            cost: (B,) entropy term of that action: alpha log pi.

        Returns:
            (E, B) values, or (E, B, Z) distributions; and the same of the target networks.
        """
        if self.cfg.critic_type == "scalar":
            values = self.target.value(outputs)
            values = values.amin(0).expand_as(values) if self.cfg.use_cdq else values
            return batch.reward + batch.discount * (values - cost), values
        support, probs, discount = self.critics.support, outputs.softmax(-1), batch.discount
        probs = least(probs, support) if self.cfg.use_cdq else probs
        moved = torch.addcmul((batch.reward - discount * cost)[:, None], discount[:, None], support)
        return project(probs, moved, support), probs

    def _measured(self, batch: Batch, targets: list[_Targets]) -> dict[str, torch.Tensor]:
        """Return scalars of the last minibatch to log; in every update they would need some percent of its time."""
        log_prob = torch.cat([part.log_prob for part in targets])
        target, made_of = (torch.cat(parts, dim=1) for parts in zip(*(t[1:] for t in targets), strict=True))
        support, values = self.critics.support, target
        stats: dict[str, torch.Tensor] = {}
        if self.cfg.critic_type == "c51":
            values, margin = target @ support, 1e-3 * (support[-1] - support[0])
            moved = batch.reward[:, None] + batch.discount[:, None] * support
            beyond = (moved < support[0] - margin) | (moved > support[-1] + margin)
            stats["SAC/beyond"] = (made_of * beyond).sum(-1).mean()
        stats |= {"SAC/q_max": values.max(), "SAC/q_min": values.min()}
        return stats | {"SAC/entropy": -log_prob.mean(), "SAC/buffer_reward": batch.reward.mean()}

    def _update_actor(self, batch: Batch) -> None:
        for weights in self._led:
            weights.requires_grad = False  # their gradients are not needed
        self._stats["Loss/actor"] = self._descend(self._actor_loss, batch, self.actor_optimiser)
        for weights in self._led:
            weights.requires_grad = True

    def _policy_loss(self, batch: Batch) -> torch.Tensor:
        with self._cast():
            action, log_prob = self.actor.sample(batch.obs["policy"])
            outputs = self.critics.each(batch.obs[self.cfg.critic_observations], action)
        values = torch.stack([self.critics.value(x) for x in outputs])
        value = values.amin(0) if self.cfg.use_cdq else values.mean(0)
        return (self.log_alpha.detach().exp() * log_prob - value).mean()

    def _descend(
        self, loss_of: Callable[[Batch], torch.Tensor], batch: Batch, optimiser: torch.optim.Optimizer
    ) -> torch.Tensor:
        """Make a step along the gradient of a minibatch's mean loss, and return this loss.

        On a CPU the gradients are summed over parts of the minibatch.

        Args:
            loss_of: returns the mean loss of the rows of a part.
            batch: the minibatch.
            optimiser: of the weights to change.
        """
        parameters, losses = optimiser.param_groups[0]["params"], []
        optimiser.zero_grad()
        for part in batch.parts(PART_ROWS) if self.device.type == "cpu" else [batch]:
            loss = loss_of(part) * (len(part.reward) / len(batch.reward))
            loss.backward()
            losses.append(loss.detach())
        data_parallel.average([p.grad for p in parameters])
        if self.cfg.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(parameters, self.cfg.max_grad_norm, foreach=True)
        optimiser.step()
        return torch.stack(losses).sum()

    def _losses(self, session: TrainingSession) -> dict[str, float]:
        """Return the scalars of the last update; warn of a support that is too small.

        Raises:
            DivergedError: naming the first tensor that is not finite.
        """
        require_finite(self.actor.state_dict(), "actor")
        require_finite(self.critics.state_dict(), "critics")
        stats = self._stats | {"SAC/alpha": self.log_alpha.detach().exp()}
        losses = dict(
            zip(stats, torch.stack([value.detach().float() for value in stats.values()]).tolist(), strict=True)
        )
        for name, network in (("actor", self.actor), ("critic", self.critics)):
            if grads := [p.grad for p in network.parameters() if p.grad is not None]:
                losses[f"SAC/{name}_grad_norm"] = float(nn.utils.get_total_norm(grads))
        if losses.get("SAC/beyond", 0.0) > SATURATED and not self._warned_of_saturation and session.run.leads:
            self._warned_of_saturation = True
            session.run.warn(
                f"{losses['SAC/beyond']:.0%} of the returns lie beyond the critics' support, {self.cfg.v_min:g} to "
                f"{self.cfg.v_max:g}: set agent.v_min and agent.v_max to the least and most reward / (1 - gamma)."
            )
        return losses

    def policy_state(self) -> StateDict:
        """Return the actor with its action bounds, and the normaliser."""
        return {"actor": self.actor.state_dict(), "normaliser": self.norms["policy"].state_dict()}

    def load_policy_state(self, state: StateDict) -> None:
        """Initialise the actor by another run's policy, as saved by `policy_state`; critics are new."""
        self.actor.load_state_dict(state["actor"])
        self.norms["policy"].load_state_dict(state["normaliser"])

    def _parts(self) -> StateDict:
        modules = {"actor": self.actor, "critics": self.critics, "target": self.target, "norms": self.norms}
        names = ("actor_optimiser", "critic_optimiser", "alpha_optimiser")
        return modules | {name: getattr(self, name) for name in names}

    def _weights(self) -> list[torch.Tensor]:
        networks = (self.actor, self.critics, self.target)
        return [self.log_alpha, *(p for network in networks for p in network.parameters())]

    def _checkpoint_state(self, obs: Obs) -> PolicyBundle:
        """Return the content of a checkpoint; of other ranks than 0 only their own part."""
        own: StateDict = {"obs": {k: v.clone() for k, v in obs.items()}}
        own["ring"] = self.ring.state_dict() if self.cfg.save_buffer else None
        if rank() > 0:
            return {"training": own}
        training = {name: part.state_dict() for name, part in self._parts().items()}
        training |= {"log_alpha": self.log_alpha.detach(), "updates": self.updates}
        training |= {"told_of_saturation": self._warned_of_saturation}
        return {"policy": self.policy_state(), "training": training | own}

    def _restore(self, state: StateDict) -> Obs:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.log_alpha.data.copy_(state["log_alpha"])
        self.updates, self._warned_of_saturation = state["updates"], state["told_of_saturation"]
        obs = {k: v.clone() for k, v in state["obs"].items()}
        if state["ring"] is None:
            self.ring.begin(self._stored_groups(obs))
        else:
            self.ring.load_state_dict(state["ring"])
            if "cut" in state:
                self.ring.end_episodes(self._stored_groups(state["cut"]))
                self.ring.begin(self._stored_groups(obs))
        return obs

    def restart(self, state: StateDict, obs: Obs) -> StateDict:
        """Return the state of a checkpoint for envs that begin new episodes with `obs`; the ring ends the old ones."""
        return {**state, "obs": obs, "cut": state["obs"]}

    @classmethod
    def load_policy(cls, bundle: PolicyBundle, io: IOSpec, device: torch.device) -> FastSacPolicy:
        """Return the policy of a checkpoint, acting by the mean of its Gaussian."""
        cfg, state = FastSacCfg(**bundle["agent"]), bundle["policy"]
        actor = build_actor(cfg, io, torch.ones(io.num_actions))
        norm = RunningNorm(io.size(), device) if cfg.obs_normalization else nn.Identity()
        actor.load_state_dict(state["actor"])
        norm.load_state_dict(state["normaliser"])
        return FastSacPolicy(nn.Sequential(norm, actor).to(device))


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size > 2**29 else f"{size / 2**20:.0f} MiB"
