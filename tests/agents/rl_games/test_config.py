"""Configurations of rl_games: pasted as they are, checked against what the library's source reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("rl_games", reason="make rl_games")

from helpers.messages import assert_names
from helpers.tasks import CONF
from regimen.agents.rl_games.config import RlGamesCfg
from regimen.agents.runner.components import ComponentsCfg
from regimen.agents.runner.config_keys import keys_of, required_keys
from regimen.config.compose import compose
from regimen.config.validation import Problem
from regimen.orchestration.preflight import preflight
from regimen.system.errors import ConfigError

PASTED = """
params:
  seed: ${...seed}
  algo: {name: %(algo)s}
  model: {name: %(model)s}
  network:
    name: %(network)s
    separate: False
    space:
      continuous:
        mu_activation: None
        sigma_activation: None
        mu_init: {name: default}
        sigma_init: {name: const_initializer, val: 0}
        fixed_sigma: True
    mlp:
      units: [32, 16]
      activation: elu
      initializer: {name: default}
      regularizer: {name: None}
    %(more)s
  load_checkpoint: ${if:${...checkpoint},True,False}
  load_path: ${...checkpoint}
  config:
    name: ${resolve_default:Walker,${....experiment}}
    full_experiment_name: ${.name}
    env_name: rlgpu
    multi_gpu: ${....multi_gpu}
    num_actors: ${....task.env.numEnvs}
    max_epochs: ${resolve_default:7,${....max_iterations}}
    ppo: True
    mixed_precision: True
    normalize_input: True
    normalize_value: True
    reward_shaper: {scale_value: 0.01}
    normalize_advantage: True
    gamma: 0.99
    tau: 0.95
    learning_rate: 5e-5
    lr_schedule: adaptive
    kl_threshold: 0.008
    score_to_win: 20000
    save_frequency: 50
    grad_norm: 1.0
    entropy_coef: 0.0
    truncate_grads: False
    e_clip: 0.2
    horizon_length: 16
    minibatch_size: 512
    mini_epochs: 4
    critic_coef: 2
    clip_value: True
    seq_len: 4
    bounds_loss_coef: 0.0001
"""
"""As the YAML files of IsaacGymEnvs are written."""
PLAIN = {"algo": "a2c_continuous", "model": "continuous_a2c_logstd", "network": "actor_critic", "more": ""}
AMP_DISC = "disc: {units: [16], activation: relu, initializer: {name: default}}"
AMP = {"algo": "amp_continuous", "model": "continuous_amp", "network": "amp", "more": AMP_DISC}
AMP_KEYS = """
    amp_obs_demo_buffer_size: 200000
    amp_replay_buffer_size: 1000000
    amp_replay_keep_prob: 0.01
    amp_batch_size: 512
    amp_minibatch_size: 4096
    disc_coef: 5
    disc_logit_reg: 0.05
    disc_grad_penalty: 5
    disc_reward_scale: 2
    disc_weight_decay: 0.0001
    normalize_amp_input: True
    task_reward_w: 0.0
    disc_reward_w: 1.0
"""


def paste(folder: Path, text: str, components: str = "") -> list[Path]:
    (folder / "agent").mkdir(exist_ok=True)
    head = f"# @package agent\n_target_: regimen.agents.rl_games.RlGames\n{components}"
    (folder / "agent" / "pasted.yaml").write_text(head + text)
    return [CONF, folder]


def test_a_pasted_configuration_composes_and_names_what_the_run_supplies(tmp_path):
    composed = compose(["task=reach", "agent=pasted", "hardware.threads=1"], paste(tmp_path, PASTED % PLAIN))
    params = composed.plain["agent"]["params"]
    assert params["config"]["max_epochs"] == 7 and params["config"]["learning_rate"] == 5e-5
    assert params["network"]["mlp"]["regularizer"]["name"] == "None"
    assert composed.config.agent.total_steps(64) == 7 * 16
    [warning] = preflight(composed, tmp_path).warnings
    for key in ("seed", "load_checkpoint", "config.name", "config.num_actors", "config.multi_gpu"):
        assert f"agent.params.{key} " in warning
        assert key.rpartition(".")[2] not in (params["config"] if "." in key else params)
    assert_names(
        warning, "env.num_envs", "hardware.device" if "device" in warning else "task", "stage.checkpoint_interval"
    )


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({"max_epochs": 10, "max_frames": -1}, 10),
        ({"max_epochs": -1, "max_frames": 1537}, 2),
        ({"max_epochs": 10, "max_frames": 1536}, 1),
        ({"max_epochs": 10, "max_frames": 10**10}, 10),
        ({"max_epochs": None, "max_frames": 1.0e4}, 7),
    ],
)
def test_the_first_limit_ends_the_training(settings, epochs):
    cfg = RlGamesCfg(params={"config": {**settings, "horizon_length": 24}})
    assert cfg.total_steps(64) == epochs * 24


def test_the_keys_of_amp_in_isaacgymenvs_are_those_of_agent_amp(tmp_path):
    components = yaml.safe_load((CONF / "agent" / "amp.yaml").read_text())["components"]
    text = (
        (PASTED % AMP).replace("    minibatch_size: 512\n", "    minibatch_size: 4096\n") + AMP_KEYS.strip("\n") + "\n"
    )
    folders = paste(tmp_path, text, f"components: {components}\n")
    composed = compose(["task=go2_amp", "agent=pasted", "hardware.threads=1"], folders)
    [warning] = preflight(composed, tmp_path).warnings
    assert_names(warning, "agent.params.config.amp_obs_demo_buffer_size", "env.motion")


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["+agent.params.config.mini_epoch=9"], ("agent.params.config.mini_epoch", "mini_epochs")),
        (["+agent.params.network.mlp.unit=[3]"], ("agent.params.network.mlp.unit", "units")),
        (["+agent.params.config.reward_shaper.scale=2"], ("reward_shaper.scale", "scale_value")),
        (["+agent.params.config.player={games: 3}"], ("player.games", "games_num")),
        (["+agent.params.network_=1"], ("agent.params.network_", "network")),
        (["~agent.params.config.gamma"], ("params.config.gamma",)),
        (["~agent.params.config.max_epochs"], ("params.config.max_epochs", "max_frames")),
        (["agent.params.config.max_epochs=-1", "+agent.params.config.max_frames=-1"], ("max_epochs", "max_frames")),
        (["+agent.params.config.max_frames=many"], ("agent.params.config.max_frames", "many")),
        (["~agent.params.config"], ("params", "config")),
        (["agent.params.algo.name=a2c_continous"], ("a2c_continous", "a2c_continuous")),
        (["agent.params.model.name=logstd"], ("model", "continuous_a2c_logstd")),
        (["agent.params.network.name=actor_critc"], ("network", "actor_critic")),
        (["+agent.params.config.minibatch_size=1000"], ("1000", "1536", "agent.params.config.minibatch_size")),
        (["+agent.params.config.max_steps=1000"], ("max_steps", "max_frames")),
        (["+agent.components.algo.mine=nowhere.at_all:Agent"], ("agent.components.algo.mine", "nowhere")),
        (["+agent.components.algo.sac=nowhere:Agent"], ("agent.components.algo.sac", "my_sac")),
        (["+agent.components.algos={a: b:C}"], ("algos", "algo")),
    ],
)
def test_what_rl_games_would_ignore_or_fail_on_is_refused(tmp_path, arguments, names):
    with pytest.raises(ConfigError) as caught:
        preflight(compose(["task=reach", "agent=rl_games", *arguments], [CONF]), tmp_path)
    assert not [name for name in names if name not in str(caught.value)], caught.value


@pytest.mark.parametrize(
    ("task", "arguments", "names"),
    [
        ("go2_amp", ["~agent.params.config.disc_coef"], ("params.config.disc_coef", "AMPAgent")),
        ("go2_amp", ["~agent.params.config.amp_replay_buffer_size"], ("amp_replay_buffer_size",)),
        ("go2_amp", ["+agent.params.config.disc_coeff=1"], ("disc_coeff", "disc_coef")),
        ("go2_amp", ["agent.params.config.disc_loss=lsgn"], ("agent.params.config.disc_loss", "lsgan")),
        ("go2_amp", ["agent.params.config.disc_updates=0"], ("agent.params.config.disc_updates", "1")),
        ("go2_amp", ["agent.params.config.amp_replay_keep_prob=16"], ("amp_replay_keep_prob", "0 to 1")),
        ("go2_amp", ["agent.params.config.task_reward_w=0", "agent.params.config.disc_reward_w=0"], ("disc_reward_w",)),
        ("go2_amp", ["~agent.params.network.disc"], ("params.network.disc", "units")),
        ("go2_amp", ["~env.observations.motion"], ("`motion`", "motion_pose")),
        ("go2_amp", ["+env.observations.motion.terms.more={func: joint_pos_rel}"], ("joint_pos_rel", "motion_pose")),
        ("go2_amp", ["~env.motion.clips"], ("env.motion.clips", "go2_amp")),
        ("go2_amp", ["env.actions.joints=[FL.*]"], ("env.actions.joints", "FL.*")),
        ("humanoid_track", [], ("humanoid_track", "+env.observations.motion=", "motion_pose")),
        ("reach", [], ("+env.observations.motion=", "+env.motion.clips")),
    ],
)
def test_what_amp_would_fail_on_is_refused(tmp_path, task, arguments, names):
    with pytest.raises(ConfigError) as caught:
        preflight(compose([f"task={task}", "agent=amp", *arguments], [CONF]), tmp_path)
    assert not [name for name in names if name not in str(caught.value)], caught.value


def test_what_is_typed_as_amp_is_told_to_is_accepted(tmp_path):
    group = "+env.observations.motion={terms: {pose: {func: motion_pose}}}"
    preflight(compose(["task=humanoid_track", "agent=amp", group], [CONF]), tmp_path)
    preflight(compose(["task=go2_amp", "agent=amp", "env.actions.joints=['F.*','R.*']"], [CONF]), tmp_path)
    clip = "+env.motion.clips.walk={file: go2_forward_0.4}"
    preflight(compose(["task=go2_flat", "agent=amp", group, clip], [CONF]), tmp_path)


def test_keys_that_a_users_algorithm_cannot_do_without(tmp_path, monkeypatch):
    (tmp_path / "own_algo.py").write_text(
        "from rl_games.algos_torch.a2c_continuous import A2CAgent\n\n\n"
        "class Mine(A2CAgent):\n"
        "    def init_tensors(self):\n"
        "        self.needed = self.config['needed']\n"
        "        self.optional = self.config.get('optional', 1)\n"
        "        if 'guarded' in self.config:\n"
        "            self.guarded = self.config['guarded']\n"
        "        own(self.config, 2)\n"
        "        config = {'local': 1}\n"
        "        self.local = config['local'] + other({'of_a_helper': 1})\n"
        "        try:\n"
        "            self.config['tried']\n"
        "        except KeyError:\n"
        "            pass\n\n\n"
        "def own(settings, more):\n"
        "    return settings['of_a_function']\n\n\n"
        "def other(config):\n"
        "    return config['of_a_helper']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = required_keys("own_algo:Mine") - required_keys("a2c_continuous")
    assert own == {"needed", "of_a_function"}


def test_a_component_adds_the_keys_that_its_source_reads():
    ring = ComponentsCfg(algo={"ring": "helpers.rl_games_parts:RingAgent"})
    assert "ring_shift" in keys_of(ring).config and "ring_shift" not in keys_of(ComponentsCfg()).config


def test_a_component_in_two_files_that_passes_a_section_on(tmp_path, monkeypatch):
    (tmp_path / "own_builder.py").write_text(
        "from rl_games.algos_torch.network_builder import A2CBuilder\n"
        "from own_layers import Attention\n\n\n"
        "class Mine(A2CBuilder):\n"
        "    def load(self, params):\n"
        "        super().load(params)\n"
        "        self.attention = Attention(params, **params['attention'])\n"
    )
    (tmp_path / "own_layers.py").write_text(
        "class Attention:\n    def __init__(self, params, heads):\n        self.rate = params['dropout_rate']\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    own = ["+agent.components.network={mine: own_builder:Mine}", "agent.params.network.name=mine"]
    own += ["+agent.params.network.dropout_rate=0.1", "+agent.params.network.attention={heads: 2}"]
    preflight(compose(["task=reach", "agent=rl_games", "hardware.threads=1", *own], [CONF]), tmp_path)
    with pytest.raises(ConfigError, match="dropout_rat="):
        typo = "+agent.params.network.dropout_rat=0.1"
        preflight(compose(["task=reach", "agent=rl_games", "hardware.threads=1", *own, typo], [CONF]), tmp_path)


def test_keys_of_the_library():
    keys = keys_of(ComponentsCfg())
    assert {"mini_epochs", "kl_threshold", "replay_buffer_size", "central_value_config"} <= keys.config
    assert {"games_num", "deterministic"} <= keys.player and "units" in keys.network
    needed = required_keys("a2c_continuous")
    assert {"gamma", "mini_epochs", "learning_rate"} <= needed and not {"kl_threshold", "pbt_idx"} & needed
    assert {"critic_lr", "batch_size"} <= required_keys("sac")


def test_numbers_of_updates_that_sac_fails_on(tmp_path):
    sac = "+agent.params.config={replay_buffer_size: 100, num_updates_per_step: 3, max_epochs: 1}"
    with pytest.raises(ConfigError) as caught:
        preflight(
            compose(
                [
                    "task=reach",
                    "agent=rl_games",
                    "agent.params.algo.name=sac",
                    sac.removeprefix("+"),
                    "~agent.params.config.horizon_length",
                ],
                [CONF],
            ),
            tmp_path,
        )
    assert_names(str(caught.value), "num_updates_per_step", "policy_frequency")


@pytest.mark.slow
def test_the_check_is_fast_and_loads_no_torch(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from regimen.cli.launch import launch; "
        f"code = launch(['task=reach', 'agent=rl_games', '+agent.params.config.mini_epoch=9'], Path({str(CONF)!r})); "
        "assert not {'torch', 'rl_games', 'gymnasium'} & set(sys.modules); sys.exit(code)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert said.returncode == 2, said.stderr
    assert not list(tmp_path.iterdir())
    assert Problem("", said.stderr).message.count("mini_epochs") == 1


@pytest.mark.parametrize("name", ["AntPPO", "HumanoidPPO", "AnymalPPO", "ShadowHandPPO", "HumanoidAMPPPO"])
def test_files_of_isaacgymenvs_compose_unedited(tmp_path, name):
    folder = Path("/opt/isaacgymenvs")
    source = next((f for f in (folder, Path.home() / "IsaacGymEnvs") if f.is_dir()), None)
    if source is None:
        pytest.skip("a checkout of IsaacGymEnvs in ~/IsaacGymEnvs or /opt/isaacgymenvs")
    text = (source / "isaacgymenvs" / "cfg" / "train" / f"{name}.yaml").read_text()
    components = yaml.safe_load((CONF / "agent" / "amp.yaml").read_text())["components"]
    folders = paste(tmp_path, text, f"components: {components}\n")
    task = "go2_amp" if "AMP" in name else "reach"
    preflight(compose([f"task={task}", "agent=pasted", "env.num_envs=8192", "hardware.threads=1"], folders), tmp_path)
