"""Updates of RLPD (Ball et al. 2023, arXiv 2302.02948): soft actor-critic with an ensemble of critics with layer norm.

The target of all critics is the smallest of a random subset of their target networks; the actor climbs the mean of all
critics. Only what is updated is stepped: an optimiser that is given zero gradients moves on by its momentum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from regimen.agents.rlpd.networks import Pass, Perceptron, Weights, gaussian, squashed_sample
from regimen.agents.training_session import require_finite

if TYPE_CHECKING:
    from collections.abc import Callable

    from regimen.agents.rlpd.config import RlpdCfg
    from regimen.data.transition_buffer import Minibatches
    from regimen.envs.vec_env import Obs
    from regimen.runs.checkpoint_header import StateDict


class Learner:
    """Networks, optimisers and updates.

    Attributes:
        actor_shape, critic_shape: shapes of the networks.
        actor: weights (1, P): observation -> mean and log standard deviation of each action before squashing.
        critics: weights (E, P): observation and action -> value.
        target: weights (E, P) that follow those of the critics.
        log_alpha: () logarithm of the temperature.
        updates: of the critics so far.
    """

    def __init__(self, cfg: RlpdCfg, width: int, num_actions: int, device: torch.device) -> None:
        """Draw the weights.

        Args:
            cfg: hyperparameters.
            width: d of the observation.
            num_actions: A.
            device: of everything.
        """
        self.cfg, self.width, self.num_actions, self.device = cfg, width, num_actions, device
        hidden = tuple(cfg.hidden)
        self.actor_shape = Perceptron(width, hidden, 2 * num_actions)
        self.critic_shape = Perceptron(width + num_actions, hidden, 1)
        # The first actions are drawn around 0.
        self.actor = Weights(self.actor_shape, self.actor_shape.initial(1, device, output_scale=0.01))
        self.critics = Weights(self.critic_shape, self.critic_shape.initial(cfg.ensemble_size, device))
        self.target = self.critics.values.detach().clone()
        self.log_alpha = torch.tensor(cfg.alpha_init, device=device).log().requires_grad_()
        self.target_entropy = -num_actions / 2 if cfg.target_entropy is None else cfg.target_entropy
        self.updates = 0
        self._optimisers: dict[str, torch.optim.Optimizer] = {
            "actor": torch.optim.Adam([self.actor.values], lr=cfg.actor_lr, fused=True),
            "critics": torch.optim.Adam([self.critics.values], lr=cfg.critic_lr, fused=True),
            "alpha": torch.optim.Adam([self.log_alpha], lr=cfg.alpha_lr, fused=True),
        }
        rows = cfg.batch_size
        self._critic_pass = Pass(self.critic_shape, cfg.ensemble_size, rows, device)
        self._target_pass = Pass(self.critic_shape, cfg.subset, rows, device)
        self._actor_pass = Pass(self.actor_shape, 1, rows, device)
        self._next_pass = Pass(self.actor_shape, 1, rows * cfg.cta_ratio, device)
        self._act_pass: dict[int, Pass] = {}
        self._uphill = torch.full((cfg.ensemble_size, rows, 1), -1.0 / (cfg.ensemble_size * rows), device=device)
        self._per_row = torch.full((rows,), 1.0 / rows, device=device)
        self._measured: dict[str, torch.Tensor] = {}

    def act(self, obs: torch.Tensor, deterministic: bool = False) -> torch.Tensor:
        """Return actions (N, A) for observations (N, d): drawn, or at the mean."""
        if len(obs) not in self._act_pass:
            self._act_pass[len(obs)] = Pass(self.actor_shape, 1, len(obs), self.device)
        output = self._act_pass[len(obs)].forward(self.actor.layers, obs)[0]
        with torch.no_grad():
            return torch.tanh(gaussian(output)[0]) if deterministic else squashed_sample(output)[0]

    def features(self, vectors: torch.Tensor, images: Obs) -> torch.Tensor:
        """Return what the actor reads, (N, d): the vectors."""
        return vectors

    def update(self, batches: int, draw: Callable[[int], Minibatches]) -> None:
        """Update the critics `batches` times, and actor and temperature after every `cta_ratio` of these.

        Args:
            batches: number of updates.
            draw: returns as many minibatches as it is asked for.
        """
        drawn, k, ratio = draw(batches), 0, self.cfg.cta_ratio
        while k < batches:
            # Until the actor is updated, the actions that follow are of the same actor: one pass for all.
            last = min(batches, k + ratio - self.updates % ratio)
            actions, log_probs = self._next_actions(drawn.next_obs[k:last])
            for i in range(k, last):
                self._update_critics(drawn, i, actions[i - k], log_probs[i - k])
                self.updates += 1
            k = last
            if self.updates % ratio == 0:
                self._update_actor(drawn.obs[k - 1])

    @torch.no_grad()
    def _next_actions(self, next_obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return actions (U, B, A) and their log density (U, B) for observations (U, B, d)."""
        rows = next_obs.flatten(0, 1)
        full = len(rows) == self._next_pass.rows
        forward = self._next_pass if full else Pass(self.actor_shape, 1, len(rows), self.device)
        return squashed_sample(forward.forward(self.actor.layers, rows).view(*next_obs.shape[:2], -1))

    @torch.no_grad()
    def _update_critics(
        self,
        batch: Minibatches,
        k: int,
        action: torch.Tensor,
        log_prob: torch.Tensor,
        features: torch.Tensor | None = None,
    ) -> None:
        """Move all critics towards the target of a minibatch.

        Args:
            batch: minibatches.
            k: which of them.
            action: (B, A) on the observations that follow.
            log_prob: (B,) log density of it.
            features: (B, d) observations of the minibatch whose graph is given their gradient, summed over the critics.
        """
        target = self.targets(batch, k, action, log_prob)
        q = self._critic_pass.forward(self.critics.layers, batch.obs_action[k])
        error = q - target[:, None]
        slope = self._critic_pass.backward(self.critics.layers, error * (2.0 / len(target)), self.critics.gradients)
        if features is not None:
            self._optimisers["encoder"].zero_grad()
            features.backward(self._critic_pass.input_gradient(self.critics.layers, slope, 0)[:, : self.width])
        self._optimisers["critics"].step()
        self.target.lerp_(self.critics.values, self.cfg.tau)
        # `q` is a buffer that the update of the actor overwrites.
        self._measured |= {"q": error + target[:, None], "error": error, "target": target, "reward": batch.reward[k]}

    @torch.no_grad()
    def targets(self, batch: Minibatches, k: int, action: torch.Tensor, log_prob: torch.Tensor) -> torch.Tensor:
        """Return the targets (B,) of the critics for minibatch `k`.

        Args:
            batch: minibatches.
            k: which of them.
            action: (B, A) on the observations that follow.
            log_prob: (B,) log density of it.
        """
        cfg = self.cfg
        values = self.target
        if cfg.subset < cfg.ensemble_size:
            values = values[torch.randperm(cfg.ensemble_size, device=self.device)[: cfg.subset]]
        inputs = torch.cat((batch.next_obs[k], action), dim=1)
        following = self._target_pass.forward(self.critic_shape.layers(values), inputs).amin(0).squeeze(1)
        if cfg.backup_entropy:
            following = following - self.log_alpha.exp() * log_prob
        return torch.addcmul(batch.reward[k], batch.mask[k], following, value=cfg.gamma)

    def _update_actor(self, obs: torch.Tensor) -> None:
        """Move the actor up the mean of the critics at obs (B, d), and the temperature towards its target entropy."""
        output = self._actor_pass.forward(self.actor.layers, obs)[0].requires_grad_()
        output.grad = None
        action, log_prob = squashed_sample(output)
        inputs = torch.cat((obs, action.detach()), dim=1)
        q = self._critic_pass.forward(self.critics.layers, inputs)
        slope = self._critic_pass.backward(self.critics.layers, self._uphill, None)
        slope = self._critic_pass.input_gradient(self.critics.layers, slope, self.width)
        with torch.no_grad():
            alpha = self.log_alpha.exp()
            torch.autograd.backward((action, log_prob), (slope, alpha * self._per_row))
            assert output.grad is not None
            self._actor_pass.backward(self.actor.layers, output.grad[None], self.actor.gradients)
            self._optimisers["actor"].step()
            entropy = -log_prob.mean()
            if self.cfg.alpha_lr > 0:
                self.log_alpha.grad = entropy - self.target_entropy
                self._optimisers["alpha"].step()
            self._measured |= {"entropy": entropy, "actor_loss": -alpha * entropy - q.mean()}

    def measured(self) -> dict[str, float]:
        """Return the scalars of the last update by the names of HIL-SERL; empty before the first.

        Raises:
            DivergedError: naming the first tensor that is not finite.
        """
        if not self._measured:
            return {}
        require_finite({"weights": self.actor.values.detach()}, "actor")
        require_finite({"weights": self.critics.values.detach(), "target": self.target}, "critics")
        last = self._measured
        scalars = {
            "critic_loss": last["error"].square().mean(),
            "predicted_qs": last["q"].mean(),
            "q_spread": last["q"].squeeze(-1).std(0, correction=0).mean(),
            "target_qs": last["target"].mean(),
            "q_max": last["target"].amax(),
            "q_min": last["target"].amin(),
            "rewards": last["reward"].mean(),
        }
        scalars |= {name: last[name] for name in ("actor_loss", "entropy") if name in last}
        return {name: float(value) for name, value in scalars.items()} | {
            "temperature": float(self.log_alpha.detach().exp()),
            "updates": float(self.updates),
        }

    def acting_weights(self) -> dict[str, torch.Tensor]:
        """Return what acts: the actor, name -> weights, which share their memory."""
        return {"actor": self.actor.values.detach()}

    def state_dict(self) -> StateDict:
        """Return everything that the next update depends on, but the generator of torch."""
        weights = {"actor": self.actor.values.detach(), "critics": self.critics.values.detach(), "target": self.target}
        optimisers = {name: optimiser.state_dict() for name, optimiser in self._optimisers.items()}
        return {**weights, "log_alpha": self.log_alpha.detach(), "optimisers": optimisers, "updates": self.updates}

    @torch.no_grad()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore `state_dict`."""
        named = {"actor": self.actor.values, "critics": self.critics.values, "target": self.target}
        for name, values in {**named, "log_alpha": self.log_alpha}.items():
            values.copy_(state[name])
        for name, optimiser in self._optimisers.items():
            optimiser.load_state_dict(state["optimisers"][name])
        self.updates = state["updates"]
