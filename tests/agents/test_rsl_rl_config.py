"""rsl_rl's own dictionaries paste in; what it would not take, or what is said elsewhere here, is refused by name."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from rsl_rl.utils import resolve_nn_activation

from regimen.agents.rsl_rl_config import MOVED, _known
from regimen.agents.rsl_rl_ppo import RslRlPpo, RslRlPpoCfg
from regimen.compose import compose
from regimen.errors import ConfigError
from regimen.preflight import preflight
from regimen.typed import build_config
from tasks import CONF, make_env

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
    text = yaml.safe_dump({"_target_": "regimen.agents.rsl_rl_ppo.RslRlPpo", **sections}, sort_keys=False)
    (tmp_path / "agent" / "pasted.yaml").write_text(text)
    composed = compose(["task=reach", "agent=pasted"], [CONF, tmp_path])
    preflight(composed, tmp_path)
    config, env = build_config(composed.config), make_env("reach", 4)
    agent = RslRlPpo(config.agent, env.io, 4, env.device, seed=0)
    assert agent.ppo.actor.rnn.rnn.hidden_size == 8 and agent.ppo.rnd.initial_weight == 0.1 * env.step_dt
    assert agent.total_steps == 7200


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("agent.actor.hidden_dim=[8]", "`MLPModel` has no parameter `hidden_dim`. Did you mean `hidden_dims`?"),
        ("agent.algorithm.desired_lk=1", "`PPO` has no parameter `desired_lk`. Did you mean `desired_kl`?"),
        ("agent.actor.distribution_cfg.init_sd=1", "`GaussianDistribution` has no parameter `init_sd`. Did you mean"),
        ("agent.algorithm.rnd_cfg={wait: 1}", "`RandomNetworkDistillation` has no parameter `wait`. Did you mean `we"),
        ("agent.critic.class_name=MLPModell", "`rsl_rl.models` defines no `MLPModell`. Did you mean `MLPModel`"),
        ("agent.critic.class_name=my.own.Model", "There is no module `my`"),
        ("agent.critic.class_name=null", "`agent.critic` needs `class_name`, a class of rsl_rl.models."),
        ("agent.actor.obs_set=policy", "`MLPModel` has no parameter `obs_set`"),
        ("agent.algorithm.gamma=high", "`agent.algorithm.gamma` must be a number, not `high`."),
        ("agent.max_iteration=3", "There is no key `max_iteration` in `agent`. Did you mean `max_iterations`"),
        ("agent.save_interval=50", "There is no key `save_interval` in `agent`. The stage saves: stage.checkpoint_int"),
        ("agent.policy.init_noise_std=1", "There is no key `policy` in `agent`. rsl_rl 5 has a section for each model"),
        ("agent.empirical_normalization=true", "rsl_rl 5 has actor.obs_normalization and critic.obs_normalization."),
    ],
)
def test_unknown_keys_are_refused_against_the_library_itself(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(["task=reach", "agent=rsl_rl_ppo", override], [CONF])
    assert said in str(caught.value) and override in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("agent.actor.activation=eluu", "agent.actor.activation=eluu: not a choice. Did you mean `elu`"),
        ("agent.algorithm.optimizer=adamm", "agent.algorithm.optimizer=adamm: not a choice. Did you mean `adam`"),
        ("agent.algorithm.schedule=kl", "agent.algorithm.schedule=kl: not a choice. Valid names: `adaptive`, `fixed`."),
        ("agent.torch_compile_mode=reduce-overhead", "not a choice. Valid names: `default`, `max-autotune-no-cudagra"),
        ("agent.obs_groups.critic=[polici]", "the task has no observation group `polici`. Did you mean `policy`?"),
        ("agent.obs_groups.actor=[policy,policy]", "expected [policy], which is what every policy here is judged"),
        ("agent.obs_groups.critic=[]", "agent: obs_groups.critic: missing; such as [policy]."),
        ("agent.max_iterations=0", "agent.max_iterations=0: expected 1 or more."),
        ("agent.value_warmup_iterations=-1", "agent.value_warmup_iterations=-1: expected 0 or more."),
        ("agent.algorithm.num_mini_batches=9999", "24 steps of 4 envs are 96 rows, fewer than one for each."),
    ],
)
def test_values_the_library_would_stumble_over_are_found_before_the_start(
    tmp_path: Path, override: str, said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        preflight(compose(["task=reach", "agent=rsl_rl_ppo", "env.num_envs=4", override], [CONF]), tmp_path)
    assert said in str(caught.value)


def test_the_names_read_from_the_library_are_those_it_takes() -> None:
    names = _known("resolve_nn_activation")
    assert len(names) == 12 and all(resolve_nn_activation(name) for name in names)


def test_no_key_of_this_agent_is_said_to_stand_elsewhere() -> None:
    assert not MOVED.keys() & inspect.signature(RslRlPpoCfg).parameters.keys()


def test_composing_loads_neither_torch_nor_the_library() -> None:
    code = (
        "import sys; from pathlib import Path; from regimen.compose import compose; from regimen import preflight;"
        f"preflight.preflight(compose(['task=go2_flat', 'agent=rsl_rl_ppo'], [Path({str(CONF)!r})]), Path('.'));"
        "print(sorted({'torch', 'tensordict', 'rsl_rl', 'onnx', 'skrl', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
