"""FastSAC behind the agent seam: what each update does, complete resume, policies that load."""

from __future__ import annotations

import copy
import re
import signal

import pytest
import torch

from agents.fast_sac.sac import CPU, IO, fill, made_batch, sac_agent, sac_cfg, sac_config
from agents.test_skrl_ppo import assert_equal
from helpers.messages import assert_names, missing_names, raises_naming
from helpers.recorded_runs import recorded
from helpers.tasks import make_env
from helpers.trainings import new_run, train
from regimen.agents.action_bounds import action_bounds
from regimen.agents.fast_sac import agent as fast_sac
from regimen.agents.fast_sac.agent import FastSac
from regimen.envs.vec_env import ActionSpec, IOSpec
from regimen.runs import checkpoint
from regimen.system.errors import ConfigError, PreflightError, StopRequested

pytestmark = pytest.mark.usefixtures("blank_figures")

TIMES = ("time_s", "Perf/samples_per_s", "Perf/collect_s", "Perf/learn_s")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_envs", "changes"),
    [(16, {}), (4, {"num_steps": 3, "critic_type": "scalar"})],
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, num_envs, changes):
    config = sac_config("reach", num_envs, steps=96, num_updates=2, **changes)  # the ring of 64 wraps
    whole = new_run(tmp_path, config)
    train(whole, config)

    parts = new_run(tmp_path, config)
    for _ in range(3):
        parts.stop_signal = signal.SIGTERM
        with pytest.raises(StopRequested):
            train(parts, config)  # stops after the next row of the log
    parts.stop_signal = None
    train(parts, config)

    first, second = (checkpoint.load(r.checkpoints / "last.pt") for r in (whole, parts))
    assert first["step"] == second["step"] == 96
    assert_equal({**first, "run": ""}, {**second, "run": ""})
    rows, others = ([{k: v for k, v in row.items() if k not in TIMES} for row in r.metrics()] for r in (whole, parts))
    assert rows == others


@pytest.mark.slow
def test_without_the_ring_a_resumed_training_fills_a_new_one_first(tmp_path):
    config = sac_config("reach", 4, steps=24, learning_starts=8, save_buffer=False)
    run = new_run(tmp_path, config)
    run.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(run, config)
    saved = checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]
    assert saved["ring"] is None and saved["updates"] == 5 * 4
    run.stop_signal = None
    train(run, config)
    assert checkpoint.load(run.checkpoints / "last.pt")["training"]["agent"]["updates"] == 2 * 5 * 4


def test_policy_loads_and_acts_as_the_trained_mean_bit_for_bit(tmp_path):
    config = sac_config("reach", 4, steps=24)
    run = new_run(tmp_path, config)
    train(run, config)
    bundle = checkpoint.load(run.checkpoints / "last.pt")
    io = IOSpec.from_dict(bundle["io"])
    agent = FastSac(config.agent, io, 4, CPU, seed=99)
    agent.load_policy_state(bundle["policy"])
    obs = {"policy": torch.randn(5, io.size())}
    action, _ = FastSac.load_policy(bundle, io, CPU).act(obs, None)
    assert torch.equal(action, agent.actor(agent.norms["policy"](obs["policy"])))
    assert action.abs().sum() > 0


def test_the_bound_of_the_action_comes_with_the_policy():
    agent = sac_agent()
    bundle = {"agent": vars(sac_cfg()), "policy": agent.policy_state()}
    other = IOSpec({"policy": {"x": 4}}, ActionSpec(["a", "b"], [1.0, 1.0], [0.0, 0.0], 9.0), 0.1)
    policy = FastSac.load_policy(bundle, other, CPU)
    assert torch.equal(policy.network[1].scale, torch.tensor([2.0, 2.0]))


@pytest.mark.parametrize("frequency", [1, 2, 3, 5])
@pytest.mark.parametrize("num_updates", [1, 2, 4])
def test_the_actor_moves_every_so_many_updates_whatever_their_number_in_a_step(frequency, num_updates):
    agent = sac_agent(policy_frequency=frequency, num_updates=num_updates)
    fill(agent, 10)
    seen, update = [], agent._update_actor
    agent._update_actor = lambda batch: (seen.append(agent.updates), update(batch))
    before = copy.deepcopy(agent.actor.state_dict())
    for _ in range(5):
        agent._learn_from_ring()
    assert seen == list(range(frequency, 5 * num_updates + 1, frequency))
    assert not torch.equal(before["net.0.weight"], agent.actor.state_dict()["net.0.weight"])


def test_a_time_out_counts_the_value_that_follows_and_a_termination_nothing():
    agent = sac_agent()
    outputs, cost = torch.randn(2, 3, 21), torch.tensor([0.1, 0.2, 0.3])
    for discount in (0.0, 0.9):
        batch = made_batch(3, discount=torch.full((3,), discount))
        target, _ = agent._targets(outputs, batch, cost)
        value = agent.target.value(outputs) - cost
        expected = batch.reward + discount * value
        assert torch.allclose(target @ agent.critics.support, expected.expand(2, 3), atol=1e-4)


@pytest.mark.parametrize("use_cdq", [False, True])
def test_scalar_and_distributional_targets_have_the_same_mean(use_cdq):
    batch, cost = made_batch(8), torch.rand(8)
    c51, scalar = sac_agent(use_cdq=use_cdq), sac_agent(critic_type="scalar", use_cdq=use_cdq)
    outputs = torch.randn(2, 8, 21)
    outputs[..., :2] = outputs[..., -2:] = -100.0  # nothing that would move beyond the support
    means = c51.target.value(outputs)
    one, _ = c51._targets(outputs, batch, cost)
    other, _ = scalar._targets(means[..., None], batch, cost)
    assert torch.allclose(one @ c51.critics.support, other, atol=1e-4)


def test_each_critic_learns_from_its_own_target():
    agent = sac_agent()
    outputs = torch.randn(2, 4, 21)
    target, _ = agent._targets(outputs, made_batch(4), torch.zeros(4))
    changed, _ = agent._targets(
        torch.stack((outputs[0], outputs[1] + torch.randn(4, 21))), made_batch(4), torch.zeros(4)
    )
    assert torch.equal(target[0], changed[0]) and not torch.equal(target[1], changed[1])


def test_clipped_double_q_takes_the_critic_that_values_the_action_least():
    agent, outputs = sac_agent(use_cdq=True), torch.randn(2, 4, 21)
    outputs[..., :2] = outputs[..., -2:] = -100.0  # nothing that would move beyond the support
    batch, cost = made_batch(4), torch.zeros(4)
    target, _ = agent._targets(outputs, batch, cost)
    expected = batch.reward + batch.discount * agent.target.value(outputs).amin(0)
    assert torch.equal(target[0], target[1])
    assert torch.allclose(target[0] @ agent.critics.support, expected, atol=1e-4)

    means = torch.tensor([[1.0, 5.0], [4.0, 2.0]])
    agent.critics.each = lambda obs, action: means  # type: ignore[method-assign]
    agent.critics.value = lambda outputs: outputs  # type: ignore[method-assign]
    agent.log_alpha.data.fill_(-100.0)
    agent.actor.sample = lambda obs: (torch.zeros(2, 2), torch.zeros(2))  # type: ignore[method-assign]
    assert float(agent._policy_loss(made_batch(2))) == pytest.approx(-(1.0 + 2.0) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("critic_type", ["c51", "scalar"])
def test_critics_learn_the_return_of_a_terminated_step(critic_type):
    agent = sac_agent(critic_type=critic_type, critic_learning_rate=1e-2)
    batch = made_batch(64, discount=torch.zeros(64))
    batch.reward = batch.action[:, 0] * 3
    for _ in range(300):
        agent._update_critics(batch)
    value = agent.critics.value(agent.critics(batch.obs["policy"], batch.action))
    assert (value - batch.reward).abs().mean() < 0.4


@pytest.mark.slow
def test_the_actor_finds_the_action_that_the_critics_value():
    agent = sac_agent(critic_learning_rate=3e-3, actor_learning_rate=3e-3, v_min=-12.0, v_max=2.0,
                      critic_hidden_dim=64)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for k in range(300):
        batch = made_batch(64, seed=k, discount=torch.zeros(64))
        batch.action = 4 * torch.rand(64, 2, generator=generator) - 2
        batch.reward = -(batch.action - torch.tensor([1.0, -0.5])).square().sum(1)
        agent._update_critics(batch)
        agent._update_actor(batch)
    action = agent.actor(made_batch(64, seed=1000).obs["policy"])
    assert (action.mean(0) - torch.tensor([1.0, -0.5])).abs().max() < 0.35


@pytest.mark.parametrize(("ratio", "rises"), [(10.0, True), (-10.0, False)])
def test_the_temperature_follows_its_target_entropy(ratio, rises):
    agent = sac_agent(target_entropy_ratio=-ratio)  # the target is -A times the ratio
    before = float(agent.log_alpha.detach())
    for _ in range(5):
        agent._update_critics(made_batch())
    assert (float(agent.log_alpha.detach()) > before) == rises


def test_the_temperature_does_not_decay():
    agent = sac_agent()
    assert [o.param_groups[0]["weight_decay"] for o in (agent.alpha_optimiser, agent.actor_optimiser)] == [0.0, 1e-3]


def test_the_actors_update_leaves_no_gradient_in_the_critics():
    agent = sac_agent()
    agent._update_actor(made_batch())
    assert all(p.grad is None and p.requires_grad for p in agent.critics.parameters())
    assert all(p.grad is not None for p in agent.actor.parameters())


@pytest.mark.parametrize("critic_type", ["c51", "scalar"])
@pytest.mark.parametrize("rows", [64, 60])
def test_an_update_in_parts_is_that_of_the_rows_at_once(monkeypatch, critic_type, rows):
    agents, stats = [sac_agent(num_envs=rows, critic_type=critic_type, max_grad_norm=1.0) for _ in range(2)], []
    for agent, most in zip(agents, (1024, 32), strict=True):
        monkeypatch.setattr(fast_sac, "PART_ROWS", most)
        fill(agent, 10)
        torch.manual_seed(1)
        agent._learn_from_ring()
        stats.append({name: float(value) for name, value in agent._stats.items()})
    assert stats[1] == pytest.approx(stats[0], rel=1e-4, abs=1e-6)
    for one, other in zip(*(agent._weights() for agent in agents), strict=True):
        # A gradient that is zero but for rounding moves a weight by the learning rate in any direction.
        assert (one - other).abs().median() < 1e-6 and torch.allclose(one, other, atol=5e-3)


def test_critics_read_their_own_group():
    agent = sac_agent(critic_observations="critic")
    assert agent.critics.nets[0][0].in_features == 5 + 2
    fill(agent, 10)
    agent._learn_from_ring()
    assert agent.norms["critic"].count > 0
    with raises_naming(ConfigError, "agent.critic_observations=critics", "critic"):
        sac_agent(critic_observations="critics")


def test_normalisers_see_the_ring_alone():
    agent = sac_agent()
    fill(agent, 10)
    assert agent.norms["policy"].count == 0
    agent._learn_from_ring()
    assert agent.norms["policy"].count == 2 * 4 * 32  # both ends, four updates, 32 transitions each


class Mirror:
    """The mirror image of made observations: the sign of everything."""

    def mirror_obs(self, obs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {group: -x for group, x in obs.items()}

    def mirror_action(self, action: torch.Tensor) -> torch.Tensor:
        return -action


def test_every_minibatch_holds_each_transition_and_its_mirror_image():
    agent = sac_agent()
    agent.symmetry = Mirror()
    fill(agent, 10)
    drawn = agent._mirrored(agent.ring.sample(4, agent.each, 0.97, 1))
    assert drawn.action.shape == (4, 2 * 32, 2)
    for k in range(4):
        half, image = drawn.minibatch(k).action.split(32)
        assert torch.equal(half, -image)
    assert torch.equal(drawn.reward[:, :32], drawn.reward[:, 32:])
    assert torch.equal(drawn.next_obs["policy"][:, :32], -drawn.next_obs["policy"][:, 32:])


def line_of_the_minibatch(screen: str) -> str:
    """The line of what a training prints that tells the size of its minibatches."""
    [line] = [line for line in screen.splitlines() if "minibatch" in line]
    return line


@pytest.mark.slow
def test_mirror_images_are_taken_where_a_task_has_them_and_else_refused_when_demanded(tmp_path, capsys):
    config = sac_config("k1_walk", 4, steps=12)
    train(new_run(tmp_path, config), config)
    assert_names(line_of_the_minibatch(capsys.readouterr().out), 64, 4, 8)
    config = sac_config("reach", 4, steps=12, use_symmetry=True)
    with raises_naming(ConfigError, "agent.use_symmetry=true", "agent.use_symmetry=false"):
        train(new_run(tmp_path, config), config)


@pytest.mark.parametrize(("num_envs", "batch_size", "rows"), [(4, 32, 32), (5, 32, 30), (64, 32, 64)])
def test_the_effective_batch_is_told(capsys, num_envs, batch_size, rows):
    agent = sac_agent(num_envs, batch_size=batch_size)
    agent._print_sizes()
    assert_names(line_of_the_minibatch(capsys.readouterr().out), rows, num_envs, rows // num_envs)


@pytest.mark.parametrize("critic_type", ["c51", "scalar"])
def test_amp_is_off_on_a_cpu_and_where_it_is_on_only_the_networks_have_16_bits(capsys, critic_type):
    agents = [sac_agent(amp=amp, critic_type=critic_type) for amp in (False, True, True)]
    agents[0]._print_sizes()
    assert "agent.amp" not in capsys.readouterr().out
    agents[1]._print_sizes()
    assert_names(capsys.readouterr().out, "agent.amp")
    agents[2]._cast = lambda: torch.autocast("cpu", torch.bfloat16)  # as on a GPU
    losses, targets = [], []
    for agent in agents:
        torch.manual_seed(1)
        loss, (log_prob, target, _) = agent._critic_loss(made_batch())
        assert {x.dtype for x in (loss, log_prob, target)} == {torch.float32}
        losses.append(loss.detach())
        targets.append(target)
    assert losses[0] == losses[1] != losses[2]
    assert torch.allclose(losses[2], losses[0], rtol=1e-2) and torch.allclose(targets[2], targets[0], atol=0.02)
    if critic_type == "c51":
        assert torch.allclose(targets[2].sum(-1), torch.ones(2, 32), atol=1e-6)


def test_a_ring_that_does_not_fit_is_refused_before_it_is_made(monkeypatch):
    monkeypatch.setattr(fast_sac, "free_bytes", lambda device: 2**20)
    with raises_naming(PreflightError, 64, 1_000_000, "1 MiB", "cpu", "env.num_envs") as caught:
        sac_agent(64, buffer_size=1_000_000)
    [fits] = re.findall(r"agent\.buffer_size=(\d+)", str(caught.value))
    sac_agent(64, buffer_size=int(fits))  # what it says to type fits


@pytest.mark.slow
def test_returns_beyond_the_support_are_warned_of(tmp_path):
    config = sac_config("reach", 4, steps=24, v_min=-0.01, v_max=0.01)
    run = new_run(tmp_path, config)
    train(run, config)
    assert [w for w in recorded(run)["warnings"] if not missing_names(w, "-0.01", "0.01", "agent.v_min", "agent.v_max")]
    assert run.metrics()[-1]["SAC/beyond"] > 0.05


def test_the_action_reaches_the_furthest_limit_of_each_joint():
    spec = ActionSpec(["a", "b"], [0.5, 0.25], [0.1, 0.0], 100.0, [[-0.9, 0.6], [-0.2, 0.3]])
    assert action_bounds(spec, None) == pytest.approx([2.0, 1.2])
    assert action_bounds(spec, 1.5) == [1.5, 1.5]
    with raises_naming(ConfigError, "b", "agent.action_bound=1.0"):
        action_bounds(ActionSpec(["a", "b"], [0.5, 0.25], [0.1, 0.0], None, [[-0.9, 0.6], [0.0, 0.0]]), None)
    env = make_env("go2_flat", 1)
    low, high = env.joint_range[0].tolist()
    at, scale = env.io.action.offset[0], env.io.action.scale[0]
    assert action_bounds(env.io.action, None)[0] == pytest.approx(max(abs(low - at), abs(high - at)) / scale, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"v_min": 30.0}, ["v_min=30", "v_max=20"]),
        ({"policy_frequency": 0}, ["policy_frequency=0", 1]),
        ({"tau": 0.0}, ["tau=0.0", 0, 1]),
        ({"critic_type": "c52"}, ["critic_type=c52", "c51", "scalar"]),
        ({"learning_starts": 100}, ["learning_starts=100", "buffer_size=64"]),
        ({"critic_observations": "critics"}, ["critic_observations=critics", "critic"]),
    ],
)
def test_figures_that_cannot_be_are_named(change, names):
    groups = {"policy": {}, "critic": {}}
    config = {"hardware": {"device": "cpu"}, "env": {"num_envs": 5, "observations": groups}}
    assert not [line for line in sac_cfg(critic_observations="critic").problems(config) if "critic_obs" in line]
    lines = sac_cfg(**change).problems(config)
    assert any(not missing_names(line, *names) for line in lines)


def test_a_policy_of_another_size_is_no_beginning(tmp_path):
    policy = tmp_path / "model_00001000.pt"
    checkpoint.save(policy, {"format": checkpoint.FORMAT, "agent": vars(sac_cfg()), "io": IO.to_dict()})
    hardware = {"device": "cpu", "nodes": 1, "processes": 1}
    start = {"hardware": hardware, "env": {"num_envs": 4}, "policy": str(policy), "choices": {"stage": "train"}}
    assert sac_cfg().problems(start) == []
    [told] = sac_cfg(actor_hidden_dim=32).problems(start)
    assert_names(told, "actor_hidden_dim=32", f"policy={policy}", "agent.actor_hidden_dim=16")
    assert sac_cfg(actor_hidden_dim=32).problems(start | {"choices": {"stage": "evaluate"}}) == []


def test_the_sizes_of_the_original_are_the_defaults_of_the_type():
    agent = FastSac(sac_cfg(actor_hidden_dim=512, critic_hidden_dim=768), IO, 4, CPU, seed=0)
    widths = [m.out_features for m in agent.critics.nets[0] if isinstance(m, torch.nn.Linear)]
    assert widths == [768, 384, 192, 21]


@pytest.mark.slow
def test_reach_is_learned(tmp_path):
    config = sac_config("reach", 32, steps=600, interval=600, logging_interval=50, actor_hidden_dim=64,
                        critic_hidden_dim=64, batch_size=256, buffer_size=600)  # fmt: skip
    run = new_run(tmp_path, config)
    train(run, config)
    rows = run.metrics()
    assert rows[-1]["Metrics/distance"] < 0.6 * rows[0]["Metrics/distance"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # within torch.compile
def test_compiled_losses_are_those_of_the_plain_ones():
    plain, compiled = sac_agent(alpha_init=1e-8), sac_agent(alpha_init=1e-8, compile=True)
    batch = made_batch()
    losses = []
    for agent in (plain, compiled):
        agent.actor.high, agent.actor.low = -20.0, -20.5  # hardly any noise: the two draw differently
        loss, _ = agent._critic_loss(batch)
        loss.backward()
        grads = torch.cat([p.grad.flatten() for p in agent.critics.parameters()])
        losses.append((loss.detach(), grads, agent._actor_loss(batch).detach()))
    for one, other in zip(*losses, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
