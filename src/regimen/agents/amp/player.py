"""The player of AMP: that of the library, with the discriminator's reward for what it plays."""

from __future__ import annotations

from typing import Any

import torch
from rl_games.algos_torch.players import PpoPlayerContinuous

from regimen.agents.amp.agent import StyleSettings
from regimen.envs.motion.style_features import style_features


class AMPPlayer(PpoPlayerContinuous):
    """Plays an AMP policy, and measures its style."""

    def __init__(self, params: dict[str, Any]) -> None:
        info = params["config"]["env_info"]
        self.num_joints = int(info["action_space"].shape[0])
        params["network"]["disc"]["input_size"] = self.num_joints + 2 * int(info["group_sizes"]["motion"])
        super().__init__(params)
        self.style = StyleSettings.of(self.config)
        self.model.normalize_amp_input = self.style.normalize_amp_input
        self.style_rewards: list[float] = []

    def env_step(self, env: Any, actions: torch.Tensor) -> Any:
        """Step, and keep the mean reward for style."""
        before = env.groups["motion"]
        result = super().env_step(env, actions)
        features = style_features(before, env.final_obs["motion"], env.io.step_dt, self.num_joints).nan_to_num()
        self.style_rewards.append(float(self.model.style_reward(features, self.style.disc_loss).mean()))
        return result

    def figures(self) -> dict[str, float]:
        """Return the mean reward for style, without its scale."""
        return {"style_reward": sum(self.style_rewards) / max(1, len(self.style_rewards))}
