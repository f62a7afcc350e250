"""rsl_rl's own dictionaries paste in; what it would not take, or what is said elsewhere here, is refused by name."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rsl_rl.utils import resolve_nn_activation

from helpers.messages import assert_names, raises_naming
from helpers.tasks import CONF, make_env
from regimen.agents.rsl_rl.config import MOVED, RslRlPpoCfg
from regimen.agents.rsl_rl.ppo import RslRlPpo
from regimen.config.compose import compose
from regimen.config.structured import build_config
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError

RUNNER: dict[str, Any] = yaml.safe_load(
    """
num_steps_per_env: 24
max_iterations: 300
obs_groups: {actor: [policy], critic: [policy]}
check_for_nan: true
torch_compile_mode: null
actor:
  class_name: RNNModel
  hidden_dims: [16]
  activation: elu
  obs_normalization: false
  rnn_type: gru
  rnn_hidden_dim: 8
  rnn_num_layers: 1
  distribution_cfg: {class_name: HeteroscedasticGaussianDistribution, init_std: 1.0, std_type: log}
critic: {class_name: MLPModel, hidden_dims: [16, 8], activation: tanh, obs_normalization: true}
algorithm:
  class_name: PPO
  value_loss_coef: 1.0
  use_clipped_value_loss: true
  clip_param: 0.2
  entropy_coef: 0.01
  num_learning_epochs: 5
  num_mini_batches: 4
  learning_rate: 0.001
  schedule: adaptive
  optimizer: adamw
  gamma: 0.99
  lam: 0.95
  desired_kl: 0.01
  max_grad_norm: 1.0
  normalize_advantage_per_mini_batch: false
  share_cnn_encoders: false
  symmetry_cfg: null
  rnd_cfg: {weight: 0.1, num_outputs: 1, predictor_hidden_dims: [8], target_hidden_dims: [8]}
"""
)
"""Every section of a runner's dictionary, in the library's own keys."""


def test_a_dictionary_of_the_library_pastes_in_and_builds(tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    sections = {**RUNNER, "obs_groups": {**RUNNER["obs_groups"], "rnd_state": ["policy"]}}
    text = yaml.safe_dump({"_target_": "regimen.agents.rsl_rl.RslRlPpo", **sections}, sort_keys=False)
    (tmp_path / "agent" / "pasted.yaml").write_text(text)
    composed = compose(["task=reach", "agent=pasted"], [CONF, tmp_path])
    preflight(composed, tmp_path)
    config, env = build_config(composed.plain), make_env("reach", 4)
    agent = RslRlPpo(config.agent, env.io, 4, env.device, seed=0)
    assert agent.ppo.actor.rnn.rnn.hidden_size == 8 and agent.ppo.rnd.initial_weight == 0.1 * env.step_dt
    assert agent.total_steps == 7200


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("agent.actor.hidden_dim=[8]", ["MLPModel", "hidden_dim", "hidden_dims"]),
        ("agent.algorithm.desired_lk=1", ["PPO", "desired_lk", "desired_kl"]),
        ("agent.actor.distribution_cfg.init_sd=1", ["GaussianDistribution", "init_sd", "init_std"]),
        ("agent.algorithm.rnd_cfg={wait: 1}", ["RandomNetworkDistillation", "wait", "weight"]),
        ("agent.critic.class_name=MLPModell", ["rsl_rl.models", "MLPModell", "MLPModel"]),
        ("agent.critic.class_name=my.own.Model", ["`my`"]),
        ("agent.critic.class_name=null", ["agent.critic", "class_name", "rsl_rl.models"]),
        ("agent.actor.obs_set=policy", ["MLPModel", "obs_set"]),
        ("agent.algorithm.gamma=high", ["agent.algorithm.gamma", "number", "high"]),
        ("agent.max_iteration=3", ["max_iteration", "max_iterations"]),
        ("agent.save_interval=50", ["save_interval", "stage.checkpoint_interval="]),
        ("agent.policy.init_noise_std=1", ["actor.hidden_dims", "actor.activation", "actor.distribution_cfg.init_std"]),
        ("agent.empirical_normalization=true", ["actor.obs_normalization", "critic.obs_normalization"]),
    ],
)
def test_unknown_keys_are_refused_against_the_library_itself(override: str, names: list[str]) -> None:
    with raises_naming(ConfigError, override, *names):
        compose(["task=reach", "agent=rsl_rl_ppo", override], [CONF])


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("agent.actor.activation=eluu", ["agent.actor.activation=eluu", "elu"]),
        ("agent.algorithm.optimizer=adamm", ["agent.algorithm.optimizer=adamm", "adam"]),
        ("agent.algorithm.schedule=kl", ["agent.algorithm.schedule=kl", "adaptive", "fixed"]),
        (
            "agent.torch_compile_mode=reduce-overhead",
            ["agent.torch_compile_mode=reduce-overhead", "default", "max-autotune-no-cudagraphs"],
        ),
        ("agent.obs_groups.critic=[polici]", ["obs_groups.critic", "polici", "policy"]),
        ("agent.obs_groups.actor=[policy,policy]", ["obs_groups.actor", "[policy]", "env.observations.policy.terms"]),
        ("agent.obs_groups.critic=[]", ["agent", "obs_groups.critic", "[policy]"]),
        ("agent.max_iterations=0", ["agent.max_iterations=0", 1]),
        ("agent.value_warmup_iterations=-1", ["agent.value_warmup_iterations=-1", 0]),
        ("agent.algorithm.num_mini_batches=9999", ["agent.algorithm.num_mini_batches=9999", 24, 4, 96]),
    ],
)
def test_values_the_library_would_stumble_over_are_found_before_the_start(
    tmp_path: Path, override: str, names: list[object]
) -> None:
    with raises_naming(ConfigError, *names):
        preflight(compose(["task=reach", "agent=rsl_rl_ppo", "env.num_envs=4", override], [CONF]), tmp_path)


def test_the_activations_offered_are_those_the_library_takes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zzz") as theirs:
        resolve_nn_activation("zzz")
    taken = re.findall(r"'(\w+)'", str(theirs.value).partition("[")[2])
    with pytest.raises(ConfigError) as ours:
        preflight(compose(["task=reach", "agent=rsl_rl_ppo", "agent.actor.activation=zzz"], [CONF]), tmp_path)
    assert len(taken) == 12 and "elu" in taken
    assert_names(str(ours.value), *taken)


def test_no_key_of_this_agent_is_said_to_stand_elsewhere() -> None:
    assert not MOVED.keys() & inspect.signature(RslRlPpoCfg).parameters.keys()


@pytest.mark.slow
def test_composing_loads_neither_torch_nor_the_library() -> None:
    code = (
        "import sys; from pathlib import Path; from regimen.config.compose import compose; "
        "from regimen.orchestration import preflight;"
        f"preflight.preflight(compose(['task=go2_flat', 'agent=rsl_rl_ppo'], [Path({str(CONF)!r})]), Path('.'));"
        "print(sorted({'torch', 'tensordict', 'rsl_rl', 'onnx', 'skrl', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
