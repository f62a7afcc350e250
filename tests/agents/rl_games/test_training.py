"""Agents of rl_games in a run: exact resume, seeds, true values at time-outs, safe checkpoints, policies, players."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rl_games", reason="make rl_games")

import torch

from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.point_env import PointEnv
from helpers.rl_games_parts import PPO, SAC, A2CAgent, changed, rl_games_config
from helpers.trainings import new_run, train
from regimen.agents.rl_games import RlGames
from regimen.agents.runner import Runner, library
from regimen.agents.runner.env_adapter import EnvAdapter
from regimen.agents.runner.training import AgentTraining
from regimen.config.schema import Config
from regimen.envs.gym import GymEnv, GymEnvCfg
from regimen.envs.hidden_goal import DarkRoom, DarkRoomCfg
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, StopRequested
from regimen.system.seeding import seed_all

pytestmark = pytest.mark.usefixtures("blank_figures")

ROOT = Path(__file__).resolve().parents[3]
PARTS = "helpers.rl_games_parts"
RING = {"algo": {"ring": f"{PARTS}:RingAgent"}, "model": {"quiet": f"{PARTS}:QuietModel"}}
RING |= {"network": {"wide": f"{PARTS}:WideBuilder"}, "player": {"patient": f"{PARTS}:PatientPlayer"}}
OWN = changed(PPO, ring_shift=3, network={"name": "wide", "width_factor": 2})
OWN |= {"algo": {"name": "ring"}, "model": {"name": "quiet"}}
RECURRENT = changed(PPO, network={"rnn": {"name": "gru", "units": 8, "layers": 1}}, seq_len=4)


def build(params: dict[str, Any], seed: int = 0, num_envs: int = 8, **components: Any) -> RlGames:
    env = PointEnv(num_envs)
    return RlGames(rl_games_config(params, **components).agent, env.io, num_envs, torch.device("cpu"), seed)


def final(run: Any) -> dict[str, Any]:
    return {**checkpoint.load(run.checkpoints / "last.pt"), "run": ""}


def trained(folder: Any, config: Config) -> dict[str, Any]:
    run = new_run(folder, config)
    train(run, config)
    return final(run)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "components"),
    [
        pytest.param(PPO, {}, id="ppo"),
        pytest.param(RECURRENT, {}, id="recurrent"),
        pytest.param(SAC, {}, id="sac"),
        pytest.param(OWN, RING, id="a user's agent with a ring"),
    ],
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, params, components):
    config = rl_games_config(params, **components)
    whole = new_run(tmp_path, config)
    train(whole, config)

    parts = new_run(tmp_path, config)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, config)  # stops after the first epoch
    torch.manual_seed(99)
    parts.stop_signal = None
    train(parts, config)

    assert_equal(final(whole), final(parts))
    for row, other in zip(whole.metrics(), parts.metrics(), strict=True):
        assert {k: v for k, v in row.items() if k not in ("time_s", "Perf/samples_per_s")} == {
            k: v for k, v in other.items() if k not in ("time_s", "Perf/samples_per_s")
        }
    assert parts.record.warnings == whole.record.warnings == []


def test_scalars_of_a_user_are_kept_whatever_their_names_begin_with():
    class Measured(A2CAgent):
        def write_stats(self, *args: Any) -> None:
            super().write_stats(*args)
            for name in ("rewards/energy", "rewards_smooth", "performance/power_w", "episode_lengths/longest"):
                self.writer.add_scalar(name, 2.0, 0)

    runner = Runner(PointEnv(8, length=5))
    runner.algo.register("measured", Measured)
    runner.load({"params": PPO | {"algo": {"name": "measured"}, "seed": 0}})
    agent, adapter = runner.build_agent(runner.env.io, 8, 0)
    AgentTraining(agent, adapter).learn(runner.env, session := Recorder(16), None, 0)
    [_, row] = session.losses
    own = {name for name in row if name.startswith(("rewards", "performance/", "episode_lengths", "shaped_rewards"))}
    assert own == {"rewards/energy", "rewards_smooth", "performance/power_w", "episode_lengths/longest"}


def test_seed_0_is_a_seed():
    first, second = (build(PPO).agent.model.state_dict() for _ in range(2))
    assert_equal(first, second)
    other = build(PPO, seed=1).agent.model.state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)
    states = []
    for _ in range(2):
        made = build(PPO)
        made.learn(PointEnv(8), Recorder(16), None)
        states.append(made.training.state())
    assert_equal(*states)


class Recorder:
    """Stands in for the session of a run: counts steps, keeps losses."""

    def __init__(self, total_steps: int) -> None:
        self.steps_done, self.total_steps, self.losses = 0, total_steps, []

    def step(self, *_: Any) -> None:
        self.steps_done += 1

    def end_iteration(self, losses: dict[str, float], bundle: Any) -> None:
        self.losses.append(losses)


class Clock(PointEnv):
    """Observes its age and does not end but by time; a reward of 0."""

    def observe(self) -> dict[str, torch.Tensor]:
        return {"policy": self.age.float()[:, None].repeat(1, 4)}

    def step(self, action: torch.Tensor) -> Any:
        obs, reward, terminated, truncated, info = super().step(0 * action)
        return obs, 0 * reward, terminated, truncated, info

    def stagger(self) -> None:
        self.age = torch.arange(self.num_envs) % self.max_episode_length


def test_the_value_of_the_observation_before_the_reset_is_added_where_time_runs_out():
    env = Clock(8, length=12)
    params = changed(PPO, normalize_input=False, normalize_value=False, gamma=0.5, max_epochs=1)
    made = RlGames(rl_games_config(params).agent, env.io, 8, torch.device("cpu"), 0)
    before = {name: value.clone() for name, value in made.agent.model.state_dict().items()}
    made.learn(env, Recorder(8), None)
    rewards, ends = (made.agent.experience_buffer.tensor_dict[name] for name in ("rewards", "dones"))
    made.agent.model.load_state_dict(before)
    final = made.agent.get_values({"obs": torch.full((1, 4), 12.0)}).item()
    # envs 5 to 7 of ages 5, 6, 7 at the start end in step 12 - age, the seventh, sixth and fifth from 0
    assert torch.allclose(rewards[[6, 5, 4], [5, 6, 7], 0], torch.tensor(0.5 * final))
    assert int((rewards != 0).sum()) == 4, "env 4 ends in the last step"
    assert ends.shape == (8, 8)

    plain = RlGames(
        rl_games_config(params | {"config": params["config"] | {"value_bootstrap": False}}).agent,
        env.io,
        8,
        torch.device("cpu"),
        0,
    )
    plain.learn(Clock(8, length=12), Recorder(8), None)
    assert not plain.agent.experience_buffer.tensor_dict["rewards"].any()


def test_the_replay_of_sac_holds_true_successors():
    env = Clock(4, length=6)
    params = changed(SAC, max_epochs=10, num_warmup_steps=100)
    made = RlGames(rl_games_config(params).agent, env.io, 4, torch.device("cpu"), 0)
    made.learn(env, Recorder(20), None)
    ring = made.agent.replay_buffer
    stored = slice(4, ring.idx)  # without the first step: the ages are spread after the first observation
    assert ring.idx == 80
    assert torch.equal(ring.next_obses[stored, 0], ring.obses[stored, 0] + 1), "never that of a new episode"
    assert not ring.dones[stored].any(), "time running out is no end"


def test_a_critic_of_its_own_observations():
    class Privileged(PointEnv):
        def __init__(self) -> None:
            super().__init__(8)
            self.io = IOSpec({**self.io.observations, "critic": {"all": 6}}, self.io.action, self.step_dt)

        def observe(self) -> dict[str, torch.Tensor]:
            rows = super().observe()["policy"]
            return {"policy": rows, "critic": torch.cat((rows, self.position), 1)}

    central = {"minibatch_size": 32, "mini_epochs": 2, "learning_rate": 1e-3, "clip_value": True}
    central |= {
        "normalize_input": True,
        "network": {"name": "actor_critic", "central_value": True, "mlp": PPO["network"]["mlp"]},
    }
    env = Privileged()
    made = RlGames(rl_games_config(changed(PPO, central_value_config=central)).agent, env.io, 8, torch.device("cpu"), 0)
    session = Recorder(48)
    made.learn(env, session, None)
    assert session.steps_done == 48
    assert made.agent.central_value_net.model.a2c_network.actor_mlp[0].in_features == 6
    assert all("losses/cval_loss" in row for row in session.losses)


def test_nothing_of_the_process_is_changed_and_nothing_is_printed_or_written(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    before = torch._tensor_str.PRINT_OPTS.precision, torch.get_float32_matmul_precision(), torch.get_num_threads()
    made = build(PPO)
    made.learn(PointEnv(8), Recorder(48), None)
    after = torch._tensor_str.PRINT_OPTS.precision, torch.get_float32_matmul_precision(), torch.get_num_threads()
    assert before == after
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir())


def test_the_training_ends_where_the_score_is_reached():
    made = build(changed(PPO, score_to_win=-1000.0, save_best_after=3, max_epochs=50))
    session = Recorder(400)
    made.learn(PointEnv(8, length=5), session, None)
    assert session.steps_done == session.total_steps == 24


def test_checkpoints_hold_plain_values_alone(tmp_path):
    run = new_run(tmp_path, config := rl_games_config(changed(PPO, max_epochs=2)))
    train(run, config)
    state = torch.load(run.checkpoints / "last.pt", weights_only=True)
    assert state["policy"]["model"].keys() == build(PPO).agent.model.state_dict().keys()


def test_a_file_of_rl_games_is_read_without_running_code(tmp_path):
    agent = build(PPO).agent
    state = agent.get_full_state_weights() | {"last_mean_rewards": torch.tensor(3.0).numpy()[()]}
    torch.save(state, tmp_path / "good.pth")
    assert library.read_checkpoint(tmp_path / "good.pth")["last_mean_rewards"] == 3.0
    torch.save({"model": {}, "extra": print}, tmp_path / "bad.pth")
    with raises_naming(CheckpointError, "bad.pth"):
        agent.restore(str(tmp_path / "bad.pth"))


@pytest.mark.slow
@pytest.mark.parametrize(("params", "components"), [(PPO, {}), (SAC, {}), (OWN, RING)], ids=["ppo", "sac", "own"])
def test_the_policy_is_the_models_mean_and_so_is_the_player(tmp_path, params, components):
    run = new_run(tmp_path, config := rl_games_config(changed(params, max_epochs=6), **components))
    train(run, config)
    bundle = checkpoint.load(run.checkpoints / "last.pt")
    env = PointEnv(8, length=5)
    policy = RlGames.load_policy(bundle, env.io, env.device)
    obs = env.reset(seed=0)
    total = torch.zeros(8)
    for _ in range(5):
        action, _ = policy.act(obs, None)
        obs, reward, _, truncated, _ = env.step(action)
        total += reward
    assert truncated.all()
    played = RlGames.play(
        bundle, PointEnv(8, length=5), params["algo"]["name"] if params is not OWN else "a2c_continuous", 0
    )
    assert played == {"av_reward": pytest.approx(total.mean().item(), abs=1e-5), "av_steps": 5.0, "games": 8.0}
    network, groups = policy.feed_forward()
    assert groups == ["policy"] and torch.equal(network(obs["policy"]), policy.act(obs, None)[0])


def test_loading_a_policy_leaves_the_global_generators_as_they_are():
    made, env = build(PPO), PointEnv(8)
    bundle = {"agent": asdict(made.cfg), "policy": {"model": made.agent.model.state_dict(), "num_envs": 8}}
    drawn = []
    for loads in (False, True):
        seed_all(5)
        if loads:
            RlGames.load_policy(bundle, env.io, env.device)
        drawn.append((torch.rand(3).tolist(), np.random.rand(), random.random()))
    assert drawn[0] == drawn[1]


def test_the_policy_of_a_squashed_model_is_the_centre_of_what_its_player_does():
    made = build(PPO | {"model": {"name": "continuous_a2c_tanh"}})
    with torch.no_grad():
        made.agent.model.a2c_network.mu.weight.mul_(20.0)
        made.agent.model.a2c_network.sigma.fill_(-20.0)  # a standard deviation of 0.001, the library's least
    obs = PointEnv(64).reset(seed=1)
    acted, _ = made.policy().act(obs, None)
    network, _ = made.policy().feed_forward()
    assert torch.equal(network(obs["policy"]), acted)
    result = made.agent.model({"is_train": False, "prev_actions": None, "obs": obs["policy"], "rnn_states": None})
    assert result["mus"].abs().max() > 1.0
    played = made.agent.preprocess_actions(result["actions"])
    assert torch.allclose(acted, torch.as_tensor(played), atol=0.01)


@pytest.mark.slow
class SameStart(PointEnv):
    """Begins in the same state whatever the seed."""

    def reset(self, seed: int | None = None) -> Any:
        return super().reset(seed=0)


def test_a_player_that_draws_its_actions_draws_them_by_the_seed(tmp_path):
    bundle = trained(tmp_path, rl_games_config(changed(PPO, max_epochs=1, player={"deterministic": False})))
    one, other, again = (RlGames.play(bundle, SameStart(4, length=5), "a2c_continuous", seed) for seed in (1, 2, 1))
    assert one == again != other


def test_a_player_of_the_user_plays_the_games_asked_for(tmp_path):
    bundle = trained(tmp_path, rl_games_config(changed(PPO, max_epochs=1), player=RING["player"]))
    still = RlGames.play(bundle, PointEnv(2, length=10, noise=0.0), "patient", 3, games_num=5)
    assert still["games"] == 6 and still["av_steps"] == 10.0, "games end together in both envs"
    assert RlGames.play(bundle, PointEnv(2, length=10, noise=0.0), f"{PARTS}:PatientPlayer", 3, games_num=5) == still


def test_a_player_of_an_agent_that_creates_objects_in_init_tensors(tmp_path):
    params = changed(PPO, max_epochs=1) | {"algo": {"name": "late"}}
    bundle = trained(tmp_path, rl_games_config(params, algo={"late": f"{PARTS}:LateAgent"}))
    assert RlGames.play(bundle, PointEnv(4, length=5), "a2c_continuous", 0)["games"] == 4


def test_the_state_of_a_recurrent_policy(tmp_path):
    bundle = trained(tmp_path, rl_games_config(changed(RECURRENT, max_epochs=1)))
    env = PointEnv(3)
    policy = RlGames.load_policy(bundle, env.io, env.device)
    obs = env.reset(seed=0)
    first, state = policy.act(obs, None)
    second, _ = policy.act(obs, state)
    assert not torch.equal(first, second)
    again, _ = policy.act(obs, policy.reset(state, torch.tensor([1])))
    assert torch.equal(again[1], first[1]) and torch.equal(again[[0, 2]], second[[0, 2]])
    with raises_naming(CheckpointError, "agent.params.network.rnn"):
        policy.feed_forward()


def test_a_policy_of_another_architecture_is_refused():
    state = build(PPO).training.policy_state()
    with raises_naming(CheckpointError, "agent.params.network"):
        build(changed(PPO, network={"mlp": {**PPO["network"]["mlp"], "units": [8]}})).load_policy_state(state)
    with raises_naming(CheckpointError, "rl_games"):
        build(PPO).load_policy_state({"actor": {}})


@pytest.mark.slow
def test_a_new_episode_of_an_env_that_cannot_restore_its_state(tmp_path):
    state = trained(tmp_path, rl_games_config(RECURRENT))["training"]["agent"]
    env = PointEnv(8)
    made = build(RECURRENT)
    obs = env.reset(seed=3)
    session = Recorder(8)
    made.learn(env, session, made.restart(state, obs))
    assert session.steps_done == 8


def test_what_an_agent_restores_in_place_is_not_the_observation_of_the_env():
    env = PointEnv(2)
    adapter = EnvAdapter(env.io, 2, torch.device("cpu"))
    adapter.attach(env, Recorder(1), None, seed=0)
    adapter.reset()["obs"].zero_()
    assert adapter.groups["policy"].abs().sum() > 0


CHOICES = changed(PPO, minibatch_size=64, network={"space": {"discrete": None}})
CHOICES |= {"algo": {"name": "a2c_discrete"}, "model": {"name": "discrete_a2c"}}


def test_discrete_actions_of_the_dark_room():
    env = DarkRoom(DarkRoomCfg(num_envs=8), seed=0)
    made = RlGames(rl_games_config(CHOICES).agent, env.io, 8, torch.device("cpu"), 0)
    made.learn(env, session := Recorder(48), None)
    assert session.steps_done == 48
    action, _ = made.policy().act(env.reset(seed=1), None)
    assert action.shape == (8, 5) and (action.sum(1) == 1).all() and action.max() == 1


@pytest.mark.slow
def test_cart_pole_is_learned_with_discrete_actions():
    env = GymEnv(GymEnvCfg(id="CartPole-v1", num_envs=16), seed=0)
    params = changed(CHOICES, horizon_length=32, minibatch_size=128, mini_epochs=8, max_epochs=40, gamma=0.98)
    made = RlGames(rl_games_config(params).agent, env.io, 16, torch.device("cpu"), 0)
    made.learn(env, Recorder(40 * 32), None)
    policy, obs = made.policy(), env.reset(seed=1)
    length = torch.zeros(16)
    alive = torch.ones(16, dtype=torch.bool)
    for _ in range(300):
        obs, _, terminated, truncated, _ = env.step(policy.act(obs, None)[0])
        length += alive
        alive &= ~(terminated | truncated)
    assert length.mean() > 150, "a random policy keeps the pole up for 22 steps"


@pytest.mark.slow
@pytest.mark.parametrize("agent", ["ppo", "sac", "ring"])
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(tmp_path, agent):
    command = [sys.executable, str(Path(__file__).with_name("kills.py")), agent, "2", str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == 2 and all(found["equal"] for found in rounds), done.stdout + done.stderr[-2000:]
