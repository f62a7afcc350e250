"""PPO of rl_games whose reward is mixed with that of a discriminator, which compares the robot with motion clips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from rl_games.algos_torch.a2c_continuous import A2CAgent

from regimen.agents.amp.model import discriminator_loss, gradient_penalty
from regimen.agents.amp.replay import ReplayRing
from regimen.agents.runner.style_checks import LOSSES
from regimen.envs.motion.style_features import style_features
from regimen.envs.vec_env import task_below
from regimen.system.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class StyleSettings:
    """Settings of the discriminator, under the names of IsaacGymEnvs where it has them.

    Attributes:
        disc_loss: `lsgan` or `bce`; the reward for style is the one that belongs to it.
        disc_learning_rate: of the discriminator's own Adam.
        disc_updates: of the discriminator in each epoch.
        normalize_amp_input: whether style features are normalised by their running mean and deviation.
        amp_minibatch_size: transitions of the clips, and as many of the agent, in one update.
        amp_replay_buffer_size: past transitions of the agent, from which half of those of an update are drawn.
        amp_replay_keep_prob: share of new transitions that are put into the ring once it is full.
        disc_coef: factor of the whole loss.
        disc_logit_reg: factor of the squared weights of the last layer.
        disc_grad_penalty: factor of the squared gradient at the clips' transitions.
        disc_weight_decay: factor of all squared weights.
        disc_reward_scale: factor of the reward for style.
        disc_reward_w: weight of the reward for style, per second like the weights of a task's rewards.
        task_reward_w: factor of the task's reward.
    """

    disc_loss: str
    disc_learning_rate: float
    disc_updates: int
    normalize_amp_input: bool
    amp_minibatch_size: int
    amp_replay_buffer_size: int
    amp_replay_keep_prob: float
    disc_coef: float
    disc_logit_reg: float
    disc_grad_penalty: float
    disc_weight_decay: float
    disc_reward_scale: float
    disc_reward_w: float
    task_reward_w: float

    @classmethod
    def of(cls, config: dict[str, Any]) -> StyleSettings:
        """Read the section `params.config`.

        Raises:
            ConfigError: an unknown loss.
        """
        loss = config.get("disc_loss", "bce")
        if loss not in LOSSES:
            raise ConfigError(f"agent.params.config.disc_loss={loss}: not a choice. {did_you_mean(str(loss), LOSSES)}")
        return cls(
            disc_loss=loss,
            disc_learning_rate=float(config.get("disc_learning_rate", config["learning_rate"])),
            disc_updates=int(config.get("disc_updates", config["mini_epochs"])),
            normalize_amp_input=bool(config.get("normalize_amp_input", True)),
            amp_minibatch_size=int(config["amp_minibatch_size"]),
            amp_replay_buffer_size=int(config["amp_replay_buffer_size"]),
            amp_replay_keep_prob=float(config["amp_replay_keep_prob"]),
            disc_coef=float(config["disc_coef"]),
            disc_logit_reg=float(config["disc_logit_reg"]),
            disc_grad_penalty=float(config["disc_grad_penalty"]),
            disc_weight_decay=float(config["disc_weight_decay"]),
            disc_reward_scale=float(config["disc_reward_scale"]),
            disc_reward_w=float(config["disc_reward_w"]),
            task_reward_w=float(config["task_reward_w"]),
        )


class AMPAgent(A2CAgent):
    """PPO with a reward for the style of motion clips.

    A transition is described by `style_features` of two poses one control step apart, for the robot from the group
    `motion` of the environment and for the clips from its `MotionLibrary`. The second pose is that before an automatic
    reset, so the last transition of an episode is a true one.
    """

    def __init__(self, base_name: str, params: dict[str, Any]) -> None:
        """Build policy, value and discriminator.

        Raises:
            ConfigError: the task has no group `motion`.
        """
        info = params["config"]["env_info"]
        if "motion" not in info["group_sizes"]:
            raise ConfigError("AMP needs a task with the observation group `motion`, such as task=go2_amp.")
        self.num_joints = int(info["action_space"].shape[0])
        width = self.num_joints + 2 * int(info["group_sizes"]["motion"])
        params["network"]["disc"]["input_size"] = width
        super().__init__(base_name, params)
        self.style = StyleSettings.of(self.config)
        self.model.normalize_amp_input = self.style.normalize_amp_input
        network = self.model.a2c_network
        self.disc_parameters = [*network.disc_mlp.parameters(), *network.disc_logits.parameters()]
        self.disc_optimizer = torch.optim.Adam(self.disc_parameters, lr=self.style.disc_learning_rate, fused=True)
        self.replay = ReplayRing(self.style.amp_replay_buffer_size, width, self.ppo_device)
        self.amp_generator = torch.Generator(self.ppo_device).manual_seed(int(torch.randint(2**31, ())))
        self.amp_stats: dict[str, float] = {}

    @property
    def clips(self) -> Any:
        """The `MotionLibrary` of the task, which is below all wrappers; None of a task without clips."""
        return getattr(task_below(self.vec_env.env), "motion", None)

    def init_tensors(self) -> None:
        """Allocate the transitions of a rollout (T, N, d), and the values at time-outs (T, N, 1).

        Raises:
            ConfigError: the task has no motion clips, or joints that no action moves.
        """
        super().init_tensors()
        motion = self.clips
        if motion is None:
            raise ConfigError("AMP needs motion clips: env.motion.clips={walk: {file: <name or .npz file>}}.")
        if motion.num_joints != self.num_joints:
            raise ConfigError(
                f"AMP needs an action for each joint: the clips have {motion.num_joints} joints, the task "
                f"{self.num_joints} actions. Leave env.actions.joints out."
            )
        shape = (self.horizon_length, self.num_actors)
        self.transitions = torch.zeros(*shape, self.replay.rows.shape[1], device=self.ppo_device)
        self.time_out_values = torch.zeros(*shape, 1, device=self.ppo_device)
        self.rollout_step = 0

    def env_step(self, actions: torch.Tensor) -> Any:
        """Step the environment, and describe the transition."""
        before = self.vec_env.groups["motion"]
        result = super().env_step(actions)
        features = style_features(before, self.vec_env.final_obs["motion"], self.vec_env.io.step_dt, self.num_joints)
        self.transitions[self.rollout_step] = features.nan_to_num()
        bonus = self.vec_env.bonus
        self.time_out_values[self.rollout_step] = 0.0 if bonus is None else bonus
        self.rollout_step = (self.rollout_step + 1) % self.horizon_length
        return result

    def discount_values(
        self, fdones: Any, last_values: Any, mb_fdones: Any, mb_values: Any, mb_rewards: torch.Tensor
    ) -> Any:
        """Return the advantages of the mixed reward; the values at time-outs are added after mixing.

        Tasks give their reward per second, times the control step; so is the reward for style.
        `mb_rewards` (T, N, 1) holds the task's reward and these values; were they mixed as well, a task with weight 0
        would lose them.
        """
        flat = self.transitions.flatten(0, 1)
        step_dt = self.vec_env.io.step_dt
        style = self.style.disc_reward_scale * self.model.style_reward(flat, self.style.disc_loss).view_as(mb_rewards)
        task = mb_rewards - self.time_out_values
        self.amp_stats |= {"style/reward": float(style.mean()), "style/task_reward": float(task.mean()) / step_dt}
        mixed = self.style.task_reward_w * task + self.style.disc_reward_w * style * step_dt + self.time_out_values
        return super().discount_values(fdones, last_values, mb_fdones, mb_values, mixed)

    def prepare_dataset(self, batch_dict: dict[str, Any]) -> None:
        """Prepare the update of the policy, and update the discriminator by this rollout."""
        super().prepare_dataset(batch_dict)
        own = self.transitions.flatten(0, 1)
        rows = self.style.amp_minibatch_size
        demo = self._demo(rows * self.style.disc_updates)
        self.model.normalize_amp(torch.cat((own[: len(demo)], demo)), update=True)
        for part in demo.split(rows):
            stats = self._update_discriminator(self._agent_rows(own, rows), part)
        self.amp_stats |= {name: float(value) for name, value in stats.items()}
        kept = torch.rand(len(own), generator=self.amp_generator, device=own.device)
        self.replay.add(own[kept < self.style.amp_replay_keep_prob] if self.replay.is_full else own)

    def write_stats(self, *args: Any, **kwargs: Any) -> None:
        """Log the discriminator beside the library's scalars."""
        for name, value in self.amp_stats.items():
            self.writer.add_scalar(name, value, self.frame)
        super().write_stats(*args, **kwargs)

    def _demo(self, n: int) -> torch.Tensor:
        """Return the style features (n, d) of transitions drawn from the clips."""
        pairs = self.clips.sample_pairs(n, self.amp_generator)
        return style_features(pairs[:, 0], pairs[:, 1], self.vec_env.io.step_dt, self.num_joints)

    def _agent_rows(self, own: torch.Tensor, n: int) -> torch.Tensor:
        """Return n transitions of the agent (n, d): half of this rollout, half of earlier ones, once there are any."""
        past = n // 2 if self.replay.count else 0
        drawn = torch.randint(len(own), (n - past,), generator=self.amp_generator, device=own.device)
        return torch.cat((own[drawn], self.replay.sample(past, self.amp_generator))) if past else own[drawn]

    def _update_discriminator(self, agent: torch.Tensor, demo: torch.Tensor) -> dict[str, torch.Tensor]:
        """Take one step of the discriminator.

        Args:
            agent: (n, d) transitions of the agent.
            demo: (n, d) transitions of the clips.

        Returns:
            Name -> scalar, what is logged.
        """
        settings, model = self.style, self.model
        demo = model.normalize_amp(demo).requires_grad_()
        agent_logit, demo_logit = model.discriminate(model.normalize_amp(agent)), model.discriminate(demo)
        loss = discriminator_loss(agent_logit, demo_logit, settings.disc_loss)
        penalty = gradient_penalty(demo_logit, demo)
        weights = [weight for weight in self.disc_parameters if weight.ndim == 2]
        decay = torch.stack([weight.square().sum() for weight in weights])
        total = loss + settings.disc_grad_penalty * penalty
        total = total + settings.disc_logit_reg * decay[-1] + settings.disc_weight_decay * decay.sum()
        self.disc_optimizer.zero_grad(set_to_none=True)
        (settings.disc_coef * total).backward()
        torch.nn.utils.clip_grad_norm_(self.disc_parameters, self.grad_norm)
        self.disc_optimizer.step()
        self.disc_optimizer.zero_grad(set_to_none=True)
        agent_logit, demo_logit = agent_logit.detach(), demo_logit.detach()
        return {
            "losses/disc_loss": loss.detach(),
            "losses/disc_grad_penalty": penalty.detach(),
            "style/agent_logit": agent_logit.mean(),
            "style/demo_logit": demo_logit.mean(),
            "style/agent_accuracy": (agent_logit < 0).float().mean(),
            "style/demo_accuracy": (demo_logit > 0).float().mean(),
        }
