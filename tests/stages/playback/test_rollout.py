"""What a policy is told while it plays."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from helpers.point_env import PointEnv
from regimen.stages.playback.rollout import roll_out


class Listener:
    """Stands still, and writes down what it is told and when."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def act(self, obs: dict[str, torch.Tensor], state: Any) -> tuple[torch.Tensor, Any]:
        self.told.append(("act", state))
        return torch.zeros(len(obs["policy"]), 2), "acted"

    def observe(self, state: Any, reward: torch.Tensor) -> Any:
        self.told.append(("observe", reward.clone()))
        return "told"

    def reset(self, state: Any, env_ids: torch.Tensor) -> Any:
        self.told.append(("reset", state))
        return "begun"


def test_a_policy_that_learns_in_context_is_told_each_reward_before_it_is_told_of_an_end():
    env, policy, rewards = PointEnv(num_envs=3), Listener(), []
    episodes = SimpleNamespace(finished=False, running=torch.ones(3), add=lambda reward, *_: rewards.append(reward))
    run: Any = SimpleNamespace(check_stop=lambda step, save: None, progress=lambda **_: None)
    roll_out(run, env, policy, episodes, seed=0)  # type: ignore[arg-type]
    kinds = [kind for kind, _ in policy.told]
    assert kinds[:4] == ["act", "observe", "act", "observe"] and kinds[-2:] == ["observe", "reset"]
    assert [value for kind, value in policy.told if kind == "act"][:2] == [None, "told"]
    heard = [value for kind, value in policy.told if kind == "observe"]
    assert len(heard) == env.max_episode_length and all(map(torch.equal, heard, rewards))
