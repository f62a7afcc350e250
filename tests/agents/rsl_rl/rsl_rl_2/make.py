"""Makes the checkpoints beside this file with rsl-rl-lib 2.2.4 itself, in an environment of its own.

    python -m venv old && old/bin/pip install rsl-rl-lib==2.2.4 && old/bin/python tests/agents/rsl_rl/rsl_rl_2/make.py

Each holds in `infos` observations (4, d) and the mean actions (4, A) that the old library computes for them, for a
recurrent policy two steps of them, (2, 4, d) and (2, 4, A).
"""

import copy
import tempfile
from pathlib import Path

import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner

HERE = Path(__file__).resolve().parent
OBSERVATIONS, ACTIONS = 9, 2  # as many as the task `reach` has
PLAIN = {"class_name": "ActorCritic", "actor_hidden_dims": [16, 8], "critic_hidden_dims": [8], "activation": "elu"}
RECURRENT = {
    "class_name": "ActorCriticRecurrent",
    "rnn_type": "lstm",
    "rnn_hidden_size": 8,
    "actor_hidden_dims": [8],
    "critic_hidden_dims": [8],
}


class Points(VecEnv):
    """Points that should come to rest: enough to learn from."""

    def __init__(self):
        self.num_envs, self.num_actions, self.max_episode_length = 16, ACTIONS, 20
        self.device, self.cfg = "cpu", {}
        self.episode_length_buf = torch.zeros(16, dtype=torch.long)
        self.at = torch.randn(16, OBSERVATIONS)

    def get_observations(self):
        return self.at.clone(), {"observations": {}}

    def reset(self):
        return self.get_observations()

    def step(self, actions):
        self.at[:, :ACTIONS] += 0.1 * actions
        self.episode_length_buf += 1
        done = self.episode_length_buf >= self.max_episode_length
        self.at[done] = torch.randn(int(done.sum()), OBSERVATIONS)
        self.episode_length_buf[done] = 0
        reward = -self.at.norm(dim=1)
        return self.at.clone(), reward, done.long(), {"observations": {}, "time_outs": done}


def make(name, policy, normalised):
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        runner = OnPolicyRunner(Points(), config(policy, normalised), folder)
        runner.learn(2)
    act = runner.get_inference_policy()
    recurrent = policy["class_name"] == RECURRENT["class_name"]
    obs = torch.randn(2 if recurrent else 1, 4, OBSERVATIONS)
    with torch.inference_mode():
        if recurrent:
            runner.alg.actor_critic.memory_a.hidden_states = None
        actions = torch.stack([act(step) for step in obs]).clone()
    infos = {"obs": obs, "actions": actions} if recurrent else {"obs": obs[0], "actions": actions[0]}
    runner.save(str(HERE / name), infos)


def config(policy, normalised):
    return {
        "algorithm": {"class_name": "PPO", "num_learning_epochs": 1, "num_mini_batches": 2},
        "policy": copy.deepcopy(policy),
        "num_steps_per_env": 24,
        "save_interval": 50,
        "empirical_normalization": normalised,
    }


if __name__ == "__main__":
    make("model_plain.pt", PLAIN, normalised=False)
    make("model_normalised.pt", {**PLAIN, "noise_std_type": "log", "init_noise_std": 0.7}, normalised=True)
    make("model_recurrent.pt", RECURRENT, normalised=False)
