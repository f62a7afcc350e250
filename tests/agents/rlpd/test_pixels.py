"""RLPD from pixels: what trains the encoder, complete resume, policies and demonstrations with images, actors."""

from __future__ import annotations

import copy
import signal
from pathlib import Path

import pytest
import torch

from agents.rlpd.test_actor_learner import acting, with_actors
from agents.rlpd.touch import PIXELS, SEEN, SeenTouchEnv, TouchEnv, rlpd_cfg, seen_config, write_demonstrations
from agents.test_skrl_ppo import assert_equal
from helpers.messages import raises_naming
from helpers.trainings import new_run, train
from regimen.agents.export.network import load
from regimen.agents.image_encoder.config import ImageEncoderCfg
from regimen.agents.image_encoder.model import EncoderNet
from regimen.agents.policy_file import load_policy
from regimen.agents.rlpd import demonstrations
from regimen.agents.rlpd.agent import Rlpd
from regimen.agents.rlpd.pixels import PixelLearner
from regimen.agents.rlpd.rows import row_spec, rows_of, transitions_of
from regimen.config.schema import Config
from regimen.data.frame_store import FrameStore, frame_bytes
from regimen.data.transition_buffer import Minibatches, TransitionBuffer, Transitions
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint, checkpoint_header
from regimen.runs.run import Run
from regimen.system.errors import (
    CheckpointError,
    ConfigError,
    DatasetError,
    IOMismatchError,
    PreflightError,
    StopRequested,
)

CPU = torch.device("cpu")
ROWS = 6


@pytest.fixture(autouse=True)
def no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.display.figures.learning_curve", lambda *arguments: None)


def finished(root: Path, config: Config) -> Run:
    run = new_run(root, config)
    train(run, config)
    return run


def saved(run: Run) -> dict:
    return checkpoint.load(run.checkpoints / "last.pt")


def random_obs(rows: int, seed: int = 0) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(seed)
    images = {n: torch.randint(0, 256, (rows, *s), generator=g, dtype=torch.uint8) for n, s in SEEN.items()}
    return images | {n: torch.randn(rows, 2, generator=g) for n in ("policy", "privileged")}


def pixel_learner(**changes) -> PixelLearner:
    torch.manual_seed(0)
    cfg = rlpd_cfg(**{"batch_size": ROWS, "pixels": PIXELS, "cta_ratio": 1, **changes})
    return PixelLearner(cfg, 2, SEEN, 3, CPU, seed=0)


def minibatches(count: int) -> Minibatches:
    """Minibatches of random transitions that all end their episode."""
    obs, following = random_obs(40), random_obs(40, 1)
    reward, action = torch.rand(40), torch.rand(40, 3)
    buffer = TransitionBuffer(40, {"policy": 2}, 3, CPU, FrameStore(SEEN))
    buffer.push(Transitions(obs, action, reward, torch.zeros(40), following, torch.zeros(40, dtype=torch.bool)))
    return buffer.sample(count, ROWS)


def test_the_encoder_is_given_the_gradient_of_all_critics():
    learner = pixel_learner(pixels={"shift": 0})
    batch, before = minibatches(1), copy.deepcopy(learner.encoder)
    critics = [learner.critic_shape.module(values.detach().clone()) for values in learner.critics.values]
    learner.update(1, lambda count: batch)
    inputs = torch.cat((before(batch.obs[0], batch.images(0)[0]), batch.action[0]), 1)
    # The episodes end, so the targets are the rewards.
    sum((critic(inputs).squeeze(1) - batch.reward[0]).square().mean() for critic in critics).backward()
    for (name, weight), own in zip(before.named_parameters(), learner.encoder.parameters(), strict=True):
        assert weight.grad is not None and own.grad is not None
        assert torch.allclose(own.grad, weight.grad, atol=1e-6, rtol=1e-3), name
        assert weight.grad.abs().sum() > 0, name


def test_the_actor_does_not_train_the_encoder():
    learner = pixel_learner(critic_lr=0.0, actor_lr=0.01)
    encoder, actor = copy.deepcopy(learner.encoder.state_dict()), learner.actor.values.detach().clone()
    learner.update(3, minibatches)
    assert_equal(encoder, dict(learner.encoder.state_dict()))
    assert not torch.equal(actor, learner.actor.values)


def test_the_target_encoder_follows():
    learner = pixel_learner(tau=0.25, critic_lr=0.01)
    first = copy.deepcopy(dict(learner.target_encoder.named_parameters()))
    learner.update(1, minibatches)
    for name, weight in learner.encoder.named_parameters():
        moved = dict(learner.target_encoder.named_parameters())[name]
        assert torch.allclose(moved, torch.lerp(first[name], weight, 0.25), atol=1e-7)
        assert not torch.equal(weight, first[name])


@pytest.mark.slow
@pytest.mark.parametrize(("num_envs", "changes"), [(1, {}), (2, {"images": ["far"], "replay_buffer_capacity": 30})])
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, num_envs, changes):
    config = seen_config(num_envs, **changes)
    whole, parts = finished(tmp_path, config), new_run(tmp_path, config)
    for _ in range(3):
        parts.stop_signal = signal.SIGTERM
        with pytest.raises(StopRequested):
            train(parts, config)
    parts.stop_signal = None
    train(parts, config)
    assert_equal({**saved(whole), "run": ""}, {**saved(parts), "run": ""})
    assert saved(whole)["training"]["agent"]["learner"]["updates"] > 20


@pytest.mark.slow
def test_pictures_of_a_training_are_kept_once(tmp_path):
    state = saved(finished(tmp_path, seen_config(2)))["training"]["agent"]
    transitions = state["online"]["next_id"] + state["prior"]["next_id"]
    assert transitions > 120
    assert len(state["frames"]["numbers"]) < transitions, "each has two, shared with its neighbours and both buffers"


@pytest.mark.slow
def test_the_policy_names_its_images_and_acts_as_the_trained_mean(tmp_path):
    run, obs = finished(tmp_path, seen_config(images=["far"])), random_obs(5)
    bundle = saved(run)
    head = checkpoint_header.read_plain(run.checkpoints / "last.pt")
    assert head["policy"]["images"] == {"far": SEEN["far"]}
    agent = Rlpd(seen_config(images=["far"]).agent, IOSpec.from_dict(bundle["io"]), 2, CPU, seed=99)
    agent.load_policy_state(bundle["policy"])
    policy = load_policy(bundle, SeenTouchEnv(2), seed=0)
    assert policy.groups == ["policy", "far"]
    action, _ = policy.act(obs, None)
    features = agent.learner.features(obs["policy"], {"far": obs["far"]})
    assert torch.allclose(action, agent.learner.act(features, deterministic=True), atol=1e-6)
    other, _ = policy.act(obs | {"far": 255 - obs["far"]}, None)
    assert (other - action).abs().max() > 1e-4
    near, _ = policy.act(obs | {"near": 255 - obs["near"]}, None)
    assert torch.equal(near, action)


@pytest.mark.slow
def test_a_policy_is_refused_with_other_images_and_as_an_export(tmp_path):
    bundle = saved(finished(tmp_path, seen_config(max_steps=20)))
    env = SeenTouchEnv(1)
    env.io.images["near"] = [32, 24, 3]
    with raises_naming(IOMismatchError, "near", "16x12x3", "32x24x3"):
        load_policy(bundle, env, seed=0)
    with raises_naming(CheckpointError, "near", "far", "agent.images"):
        load(bundle, IOSpec.from_dict(bundle["io"]))
    vectors = Rlpd(rlpd_cfg(observations=["policy"]), SeenTouchEnv(1).io, 1, CPU, 0)
    with raises_naming(CheckpointError, "near", "agent.images"):
        vectors.load_policy_state(bundle["policy"])


def test_images_that_the_task_does_not_give_are_named():
    with raises_naming(ConfigError, "agent.images=fra", "far"):
        Rlpd(rlpd_cfg(images=["fra"]), SeenTouchEnv(1).io, 1, CPU, 0)
    with raises_naming(ConfigError, "agent.images=far", "env.images"):
        Rlpd(rlpd_cfg(images=["far"]), TouchEnv(1).io, 1, CPU, 0)


def test_images_without_three_channels_or_named_twice_are_refused():
    env = SeenTouchEnv(1)
    env.io.images["far"] = [*SEEN["far"][:2], 1]
    with raises_naming(ConfigError, "agent.images=far", "8x8x1", "3 channels"):
        Rlpd(rlpd_cfg(images=["far"]), env.io, 1, CPU, 0)
    lines = rlpd_cfg(images=["far", "near", "far"]).problems({"choices": {"stage": "evaluate"}, "env": {}})
    assert len(lines) == 1 and lines[0].startswith("images=") and "far is named" in lines[0]


@pytest.mark.slow
def test_pictures_that_do_not_fit_are_refused_and_a_resume_counts_those_that_it_has(tmp_path, monkeypatch):
    config = seen_config(interventions={"enabled": False}, demonstrations={"episodes": 0})
    needed = config.agent.pixel_bytes(2, frame_bytes(SEEN))
    room = needed - 1
    monkeypatch.setattr("regimen.agents.rlpd.agent.free_bytes", lambda device: room)
    with raises_naming(PreflightError, "pictures", "env.images.size", "agent.replay_buffer_capacity"):
        finished(tmp_path, config)
    room, run = needed, new_run(tmp_path, config)
    run.stop_signal = signal.SIGTERM
    with pytest.raises(StopRequested):
        train(run, config)
    frames = saved(run)["training"]["agent"]["frames"]["frames"].nbytes
    run.stop_signal = None
    assert frames
    room = needed - frames  # what is free beside the loaded pictures
    train(run, config)
    assert saved(run)["training"]["agent"]["online"]["next_id"] == 2 * config.agent.max_steps


@pytest.mark.slow
def test_demonstrations_of_a_file_bring_their_pictures(tmp_path):
    path = write_demonstrations(tmp_path / "seen.h5", task=SeenTouchEnv)
    given = demonstrations.read([path], SeenTouchEnv(1).io, ["policy"], images=["far"])
    steps, last = given.transitions, given.lengths[0] - 1
    assert steps.obs["far"].shape == (len(steps), *SEEN["far"]) and steps.obs["far"].dtype == torch.uint8
    assert torch.equal(steps.next_obs["far"][:last], steps.obs["far"][1 : last + 1])
    assert not torch.equal(steps.next_obs["far"][last], steps.obs["far"][last])
    run = finished(tmp_path, seen_config(data=[str(path)], interventions={"enabled": False}))
    assert run.metrics()[-1]["buffer/demonstrations"] == len(steps)


def test_demonstrations_without_pictures_are_refused(tmp_path):
    path = write_demonstrations(tmp_path / "blind.h5")
    with raises_naming(DatasetError, path, "image far", "agent.images=['far']", "stage=collect"):
        demonstrations.read([path], SeenTouchEnv(1).io, ["policy"], images=["far"])


def test_a_training_begins_with_the_cameras_of_an_encoder(tmp_path):
    io = SeenTouchEnv(1).io
    cfg = ImageEncoderCfg(channels=[4, 4, 4], features=4)
    net = EncoderNet(cfg, SEEN)
    described = {"images": SEEN, "features": dict.fromkeys(SEEN, 4), "task": None, "checksum": "0a1b"}
    bundle = {"encoder": described | {"network": net.state_dict()}}
    agent = Rlpd(seen_config().agent, io, 1, CPU, 0)
    agent.use_encoder(bundle)
    images = {name: x for name, x in random_obs(4).items() if name in SEEN}
    features = agent.learner.features(torch.zeros(4, 2), images)
    assert torch.allclose(features[:, -8:], net(images), atol=1e-6)
    wider = Rlpd(seen_config(pixels={**PIXELS, "features": 8}).agent, io, 1, CPU, 0)
    with raises_naming(CheckpointError, "agent.pixels.features"):
        wider.use_encoder(bundle)
    one = Rlpd(seen_config(images=["far"]).agent, io, 1, CPU, 0)
    with raises_naming(CheckpointError, "near", "agent.images"):
        one.use_encoder(bundle)


def test_rows_of_actors_keep_pictures():
    obs, following = random_obs(3), random_obs(3, 1)
    del obs["privileged"], following["privileged"]
    steps = Transitions(obs, torch.rand(3, 3), torch.rand(3), torch.ones(3), following, torch.zeros(3) == 0)
    rows = rows_of(steps)
    assert {name: (str(c.dtype), c.shape[1:]) for name, c in rows.items()} == row_spec({"policy": 2}, 3, SEEN)
    back = transitions_of(rows)
    for side in ("obs", "next_obs"):
        assert_equal(getattr(back, side), getattr(steps, side))


def test_the_weights_that_actors_take_are_all_that_acts():
    learner, acting = pixel_learner(critic_lr=0.01, actor_lr=0.01), pixel_learner()
    learner.update(3, minibatches)
    obs = random_obs(5)
    images = {name: obs[name] for name in SEEN}

    def act(one: PixelLearner) -> torch.Tensor:
        return one.act(one.features(obs["policy"], images), deterministic=True)

    assert not torch.allclose(act(acting), act(learner))
    published = learner.acting_weights()
    for name, values in acting.acting_weights().items():
        values.copy_(published[name])
    assert torch.equal(act(acting), act(learner))
    for name, weight in learner.encoder.state_dict().items():
        assert torch.equal(acting.encoder.state_dict()[name], weight), name


@pytest.mark.slow
def test_actors_send_pictures_and_act_with_the_newest_encoder(tmp_path):
    config = with_actors(seen_config(1, log_period=10), tmp_path / "token")
    run = new_run(tmp_path, config)
    with acting(config, "a") as actors:
        train(run, config)
    assert not actors.errors
    state = saved(run)
    assert state["training"]["agent"]["online"]["next_id"] == 40
    assert len(state["training"]["agent"]["frames"]["numbers"]) > 40
    policy = load_policy(state, SeenTouchEnv(1), seed=0)
    assert policy.act(random_obs(2), None)[0].abs().sum() > 0


@pytest.mark.slow
def test_the_time_that_is_left_is_told_with_the_faster_way(tmp_path, capsys):
    finished(tmp_path, seen_config(1, max_steps=80))
    told = [line for line in capsys.readouterr().out.splitlines() if "encoder=" in line]
    assert len(told) == 1
    for word in ("slow", "CPU", "update", "min", "agent=image_encoder", "agent.images=null"):
        assert word in told[0]


@pytest.mark.slow
def test_the_way_to_the_goal_is_learned_from_pixels(tmp_path):
    rates = {"actor_lr": 1e-3, "critic_lr": 1e-3, "tau": 0.02, "gamma": 0.9, "cta_ratio": 1}
    pixels = {"channels": [8, 8, 8], "features": 16, "proprioception": 8, "shift": 1}
    agent = {"max_steps": 600, "hidden": [64, 64], "batch_size": 64, "log_period": 50, "images": ["near"], **rates}
    config = seen_config(1, pixels=pixels, interventions={"enabled": False}, demonstrations={"episodes": 10}, **agent)
    policy = load_policy(saved(finished(tmp_path, config)), SeenTouchEnv(1), seed=0)
    obs = SeenTouchEnv(100).reset(seed=1)
    action, _ = policy.act(obs, None)
    assert torch.cosine_similarity(action[:, :2], obs["privileged"]).mean() > 0.6
