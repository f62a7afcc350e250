"""rsl_rl's PPO behind the agent seam: complete resume, the library's own learning, true values where time runs out."""

from __future__ import annotations

import copy
import signal
from typing import Any

import pytest
import torch
import yaml
from matplotlib.image import imread
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from end_to_end import test_resume
from end_to_end.test_resume import assert_same
from helpers.messages import raises_naming
from helpers.tasks import CONF, make_env
from helpers.trainings import new_run, train, training_config
from regimen.agents.rsl_rl.config import RslRlPpoCfg
from regimen.agents.rsl_rl.ppo import RslRlPpo
from regimen.agents.skrl_ppo import SkrlPpo
from regimen.config.schema import Config
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import CheckpointError, DivergedError, IOMismatchError, StopRequested

pytestmark = pytest.mark.usefixtures("blank_figures")

RECURRENT = {"class_name": "RNNModel", "rnn_type": "lstm", "rnn_hidden_dim": 8}
CURIOUS: dict[str, Any] = {
    "rnd_cfg": {"weight": 0.5, "num_outputs": 2, "predictor_hidden_dims": [8], "target_hidden_dims": [8]}
}
CURIOUS["rnd_cfg"] |= {
    "state_normalization": True,
    "reward_normalization": True,
    "weight_schedule": {"mode": "linear", "initial_step": 0, "final_step": 99, "final_value": 0.1},
}


def config(
    task: str, iterations: int, num_envs: int, model: dict | None = None, algorithm: dict | None = None, **agent: Any
) -> Config:
    """A short training of `task` with small networks."""
    sections = yaml.safe_load((CONF / "agent" / "rsl_rl_ppo.yaml").read_text()) | {"max_iterations": iterations}
    sections["algorithm"] |= {"num_learning_epochs": 2, "num_mini_batches": 2, **(algorithm or {})}
    for name in ("actor", "critic"):
        sections[name] |= {"hidden_dims": [32, 32], **(model or {})}
    made = training_config(task, 24, num_envs)
    made.agent = RslRlPpoCfg(**(sections | agent))
    made.choices["agent"] = "rsl_rl_ppo"
    return made


def agent_for(cfg: Config, env: Any, seed: int = 0) -> RslRlPpo:
    return RslRlPpo(cfg.agent, env.io, env.num_envs, torch.device("cpu"), seed)


@pytest.mark.parametrize(
    ("task", "num_envs", "changes"),
    [
        ("reach", 16, {}),
        pytest.param("reach", 16, {"model": RECURRENT}, marks=pytest.mark.slow),
        pytest.param(
            "reach",
            16,
            {"algorithm": CURIOUS, "obs_groups": {g: ["policy"] for g in ("actor", "critic", "rnd_state")}},
            marks=pytest.mark.slow,
        ),
        pytest.param("go2_flat", 8, {}, marks=pytest.mark.slow),
    ],
    ids=["reach", "recurrent", "curious", "go2_flat"],
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, task, num_envs, changes):
    cfg = config(task, 4, num_envs, **changes)
    whole = new_run(tmp_path, cfg)
    train(whole, cfg)

    parts = new_run(tmp_path, cfg)
    parts.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(parts, cfg)  # stops after the first update
    parts.stop_signal = None
    torch.manual_seed(99)  # whatever was drawn meanwhile
    train(parts, cfg)

    first, second = (checkpoint.load(r.checkpoints / "last.pt") for r in (whole, parts))
    assert first["step"] == second["step"] == 96
    assert_same({**first, "run": ""}, {**second, "run": ""})
    rows, others = ([{k: v for k, v in row.items() if _is_result(k)} for row in r.metrics()] for r in (whole, parts))
    assert rows == others and "Loss/value" in rows[-1]


def _is_result(name: str) -> bool:
    return name not in ("time_s", "Perf/samples_per_s")


class LibraryEnv:
    """An env as the library's own runner wants it."""

    def __init__(self, env: Any, seed: int) -> None:
        self.env, self.cfg, self.num_envs, self.device = env, {}, env.num_envs, "cpu"
        self.num_actions, self.max_episode_length = env.io.num_actions, env.max_episode_length
        self.obs = env.reset(seed=seed)
        env.stagger()

    def get_observations(self) -> TensorDict:
        return TensorDict({"policy": self.obs["policy"]}, batch_size=[self.num_envs])

    def step(self, action: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        self.obs, reward, terminated, truncated, _ = self.env.step(action)
        return self.get_observations(), reward, terminated | truncated, {}


@pytest.mark.slow
def test_the_library_learns_what_its_own_runner_would(tmp_path):
    cfg = config("reach", 3, 8)
    cfg.env.episode_length_s = 1000.0  # nothing times out, so its own way of valuing that does not matter
    run = new_run(tmp_path, cfg)
    train(run, cfg)
    ours = checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]["algorithm"]

    env = LibraryEnv(make_env("reach", 8, seed=cfg.seed, episode_length_s=1000.0), cfg.seed)
    torch.manual_seed(cfg.seed)
    keys = ("num_steps_per_env", "obs_groups", "actor", "critic", "algorithm")
    runner = OnPolicyRunner(env, {k: copy.deepcopy(getattr(cfg.agent, k)) for k in keys}, log_dir=None, device="cpu")
    runner.learn(3)
    assert_same(ours, runner.alg.save())


def test_where_time_runs_out_the_value_of_the_last_observation_counts():
    env = make_env("reach", 4, episode_length_s=0.1)
    agent = agent_for(config("reach", 1, 4), env)
    obs = env.reset(seed=0)
    with torch.no_grad():
        for _ in range(5):
            agent.ppo.act(agent._to_tensordict(obs))
            obs, reward, terminated, truncated, info = env.step(torch.zeros(4, 2))
            agent._record(obs, reward, terminated, truncated, info)
        assert truncated.all() and not terminated.any()
        value = agent.ppo.critic({"policy": info["final_obs"]["policy"]})
    stored = agent.ppo.storage
    assert torch.allclose(stored.rewards[4], reward[:, None] + 0.99 * value)
    assert stored.dones[4].all() and not stored.dones[3].any()
    assert not torch.allclose(info["final_obs"]["policy"], obs["policy"])


def test_valuing_leaves_no_trace_in_a_recurrent_critic():
    env = make_env("reach", 4)
    agent = agent_for(config("reach", 1, 4, model=RECURRENT), env)
    seen = agent._to_tensordict(env.reset(seed=0))
    with torch.no_grad():
        agent.ppo.act(seen)
        before = [part.clone() for part in agent.ppo.critic.get_hidden_state()]
        agent._value(seen)
        assert all(map(torch.equal, before, agent.ppo.critic.get_hidden_state()))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoint of a short training of `reach`."""
    cfg = config("reach", 2, 4)
    run = new_run(tmp_path_factory.mktemp("outputs"), cfg)
    train(run, cfg)
    return run.checkpoints / "last.pt"


@pytest.mark.parametrize("model", [{}, RECURRENT], ids=["mlp", "lstm"])
def test_policy_loads_and_acts_as_the_trained_mean(tmp_path, trained, model):
    if model:
        cfg = config("reach", 1, 4, model=model)
        run = new_run(tmp_path, cfg)
        train(run, cfg)
        trained = run.checkpoints / "last.pt"
    bundle = checkpoint.load(trained)
    io = IOSpec.from_dict(bundle["io"])
    policy = RslRlPpo.load_policy(bundle, io, torch.device("cpu"))
    obs = {"policy": torch.randn(5, io.size())}
    first, state = policy.act(obs, None)
    again, _ = policy.act(obs, None)
    assert first.shape == (5, 2) and torch.equal(first, again)
    later, _ = policy.act(obs, state)
    reset, _ = policy.act(obs, policy.reset(state, torch.tensor([1, 3])))
    assert torch.equal(reset[[1, 3]], first[[1, 3]]), "what was forgotten begins anew"
    assert torch.equal(reset[[0, 2, 4]], later[[0, 2, 4]]) and torch.equal(later, first) == (not model)


@pytest.mark.slow
def test_training_can_start_from_another_policy_and_its_critic_warms_up(tmp_path, trained):
    cfg = config("reach", 4, 4, value_warmup_iterations=2)
    cfg.policy, cfg.stage.keep_checkpoints = str(trained), 9
    second = new_run(tmp_path, cfg)
    train(second, cfg)
    began = checkpoint.load(trained)["policy"]["actor"]
    saved = [checkpoint.load(path) for path in sorted(second.checkpoints.glob("step_*.pt"))]
    learnt = [k for k in began if not k.startswith("obs_normalizer")]
    moved = [any(not torch.equal(began[k], b["policy"]["actor"][k]) for k in learnt) for b in saved]
    assert moved == [False, False, True, True]
    assert len(learnt) == 7 and "distribution.std_param" in learnt
    values = [b["training"]["agent"]["algorithm"]["critic_state_dict"]["mlp.0.weight"] for b in saved[:2]]
    assert not torch.equal(*values), "the critic learns meanwhile"


def test_a_policy_of_another_network_library_or_robot_is_refused(tmp_path, trained):
    cfg = config("reach", 1, 4)
    state = checkpoint.load(trained)["policy"]
    env = make_env("reach", 4)
    with raises_naming(CheckpointError, "agent.actor", "mlp.0.weight (32, 9)", "hidden_dims"):
        agent_for(config("reach", 1, 4, model={"hidden_dims": [16]}), env).load_policy_state(state)
    skrl = SkrlPpo(training_config("reach", 24, 4).agent, env.io, 4, torch.device("cpu"), 0)
    with raises_naming(CheckpointError, "agent=rsl_rl_ppo"):
        agent_for(cfg, env).load_policy_state(skrl.policy_state())
    other = config("go2_flat", 1, 4)
    other.policy = str(trained)
    with raises_naming(IOMismatchError, "FL_hip_joint", "shoulder"):
        train(new_run(tmp_path, other), other)


@pytest.mark.parametrize("model", [{}, RECURRENT], ids=["mlp", "lstm"])
def test_a_policy_that_reads_less_acts_the_same_whatever_is_told(model):
    narrow, cpu = make_env("reach", 1).io, torch.device("cpu")
    wide = copy.deepcopy(narrow)
    wide.observations["policy"] = {"told": 3, **narrow.observations["policy"]}
    cfg = config("reach", 1, 4, model=model).agent
    old, new = RslRlPpo(cfg, narrow, 4, cpu, 0), RslRlPpo(cfg, wide, 4, cpu, 1)
    old.ppo.train_mode()
    old.ppo.actor.update_normalization({"policy": 3.0 * torch.randn(64, 9) + 1.0})
    new.load_policy_state(new.extend_observations(old.policy_state(), narrow.columns_in(wide)))
    obs, told = torch.randn(4, 9), torch.randn(4, 3)
    said = new.ppo.actor({"policy": torch.cat((told, obs), dim=1)})
    assert torch.allclose(said, old.ppo.actor({"policy": obs}), atol=1e-6)
    assert new.ppo.actor.obs_normalizer._std[0, :3].tolist() == [1.0, 1.0, 1.0]


def test_what_diverges_is_named(tmp_path):
    cfg = config("reach", 2, 4, algorithm={"learning_rate": 1e30, "schedule": "fixed", "max_grad_norm": 1e30})
    with pytest.raises(DivergedError, match=r"(actor|critic)\W.*`\w+(\.\w+)*`|`Loss/[^`]*`"):
        train(new_run(tmp_path, cfg), cfg)


def test_a_nan_of_the_environment_stops_at_once():
    env = make_env("reach", 4)
    agent = agent_for(config("reach", 1, 4), env)
    obs = env.reset(seed=0)
    with torch.no_grad():
        agent.ppo.act(agent._to_tensordict(obs))
    no = torch.zeros(4, dtype=torch.bool)
    with raises_naming(DivergedError, "rewards", "NaN"):
        agent._record(obs, torch.full((4,), torch.nan), no, no, {})


def test_same_seed_gives_the_same_initial_weights():
    env, cfg = make_env("reach", 2), config("reach", 1, 2)
    one, two, three = (agent_for(cfg, env, seed).policy_state()["actor"]["mlp.0.weight"] for seed in (1, 1, 2))
    assert torch.equal(one, two) and not torch.equal(one, three)


@pytest.mark.slow
def test_kill_9_then_resume_equals_uninterrupted(tmp_path, monkeypatch):
    settings = ["task=go2_flat", "agent=rsl_rl_ppo", "env.num_envs=16", "agent.max_iterations=20"]
    monkeypatch.setitem(test_resume.SETTINGS, "rsl_rl", [*settings, "stage.checkpoint_interval=48"])
    test_resume.test_kill_9_then_resume_equals_uninterrupted(tmp_path, "rsl_rl")


@pytest.mark.usefixtures("drawn_figures")
@pytest.mark.slow
def test_reach_is_learned(tmp_path):
    cfg = config("reach", 40, 64)
    run = new_run(tmp_path, cfg)
    train(run, cfg)
    rows = run.metrics()
    assert rows[-1]["Metrics/distance"] < 0.75 * rows[0]["Metrics/distance"]
    assert imread(run.dir / "figures" / "learning_curve.png").std() > 0, "something is drawn"
