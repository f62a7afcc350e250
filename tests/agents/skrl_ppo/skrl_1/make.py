"""Makes the checkpoints beside this file with skrl 1.4.3 itself, in an environment of its own.

    python -m venv old && old/bin/pip install skrl[torch]==1.4.3 && old/bin/python tests/agents/skrl_ppo/skrl_1/make.py

`acted.pt` holds observations (4, d), and for each checkpoint the mean actions (4, A) that the old library computes.
"""

import copy
from pathlib import Path

import gymnasium
import numpy as np
import torch
from skrl.envs.wrappers.torch import Wrapper
from skrl.utils.runner.torch import Runner

HERE = Path(__file__).resolve().parent
OBSERVATIONS, ACTIONS = 9, 2  # as many as the task `reach` has
NETWORK = [{"name": "net", "input": "STATES", "layers": [16, 8], "activations": "elu"}]
SCALED = {"state_preprocessor": "RunningStandardScaler", "value_preprocessor": "RunningStandardScaler"}
CFG = {
    "seed": 1,
    "models": {
        "policy": {"class": "GaussianMixin", "initial_log_std": -0.5, "network": NETWORK, "output": "ACTIONS"},
        "value": {"class": "DeterministicMixin", "network": NETWORK, "output": "ONE"},
    },
    "memory": {"class": "RandomMemory", "memory_size": -1},
    "agent": {"class": "PPO", "rollouts": 8, "learning_epochs": 2, "mini_batches": 2},
    "trainer": {"class": "SequentialTrainer", "timesteps": 16, "close_environment_at_exit": False},
}


class Points(gymnasium.Env):
    """Points that should come to rest: enough to learn from."""

    num_envs = 16
    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATIONS,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)
    device = torch.device("cpu")

    def __init__(self):
        self.at = 3.0 * torch.randn(16, OBSERVATIONS) + 1.0


class Wrapped(Wrapper):
    """The points in the form that skrl takes."""

    def reset(self):
        return self._env.at.clone(), {}

    def step(self, actions):
        self._env.at[:, :ACTIONS] += 0.1 * actions
        never = torch.zeros(16, 1, dtype=torch.bool)
        return self._env.at.clone(), -self._env.at.norm(dim=1, keepdim=True), never, never, {}

    def render(self):
        """Draw nothing."""

    def close(self):
        """End nothing."""


def make(name, separate, scaled, observed):
    cfg = copy.deepcopy(CFG)
    cfg["models"]["separate"] = separate
    cfg["agent"] |= SCALED if scaled else {}
    cfg["agent"]["experiment"] = {"write_interval": 0, "checkpoint_interval": 0}
    torch.manual_seed(0)
    runner = Runner(Wrapped(Points()), cfg)
    runner.run()
    runner.agent.save(str(HERE / name))
    runner.agent.set_running_mode("eval")
    with torch.inference_mode():
        return runner.agent.act(observed, timestep=0, timesteps=0)[-1]["mean_actions"].clone()


if __name__ == "__main__":
    torch.manual_seed(2)
    observed = 3.0 * torch.randn(4, OBSERVATIONS) + 1.0
    acted = {
        "separate": make("agent_16.pt", separate=True, scaled=True, observed=observed),
        "shared": make("best_agent.pt", separate=False, scaled=False, observed=observed),
    }
    torch.save({"observations": observed, **acted}, HERE / "acted.pt")
