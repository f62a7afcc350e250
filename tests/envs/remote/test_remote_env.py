"""A task behind a server is the task itself: the same tensors, states, errors, and the rules of the contract."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from helpers.arm_env import SLOW, ArmEnv
from helpers.messages import missing_names
from helpers.served import TOKEN, Served, arm_config, as_client, served
from regimen.config.schema import Config
from regimen.envs import open_env
from regimen.envs.conformance.check import require_env
from regimen.envs.remote import RemoteEnv, client
from regimen.envs.remote.config import TOKEN_VARIABLE, RemoteEnvCfg
from regimen.system import wire
from regimen.system.errors import ConfigError, DivergedError
from regimen.system.message_client import BusyError, MessageClient, ServerError


@pytest.fixture
def server() -> Iterator[Served]:
    with served(arm_config(), clients=2, lease_s=1.0) as running:
        yield running


@pytest.fixture
def env(server: Served) -> Iterator[RemoteEnv]:
    remote = RemoteEnv.open(as_client(arm_config(), server.url))
    yield remote
    remote.close()


def equal(a: Any, b: Any) -> bool:
    """Whether two nested values are equal, tensors bit for bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("task", ["reach", "point_goal", "gym"])
def test_everything_a_served_task_returns_is_that_of_the_task_itself(
    task: str, compose_config: Callable[[list[str]], Config]
) -> None:
    words = [f"task={task}", "env.num_envs=3", "seed=5", "hardware.threads=1"]
    with served(compose_config(words)) as running:
        local, remote = open_env(compose_config(words)), open_env(as_client(compose_config(words), running.url))
        names = ("num_envs", "step_dt", "max_episode_length", "io")
        assert [getattr(local, n) for n in names] == [getattr(remote, n) for n in names]
        assert equal(local.reset(seed=1), remote.reset(seed=1))
        local.stagger(), remote.stagger()
        generator = torch.Generator().manual_seed(0)
        state: dict[str, Any] = {}
        for step in range(local.max_episode_length + 2 if task != "gym" else 60):
            action = torch.rand(3, local.io.num_actions, generator=generator) * 2 - 1
            assert equal(local.step(action), remote.step(action))
            if step == 20:
                state = remote.state_dict()
                assert equal(local.state_dict(), state)
        local.load_state_dict(state)
        remote.load_state_dict(state)
        assert equal(local.step(action), remote.step(action))
        local.close(), remote.close()


def test_a_served_task_keeps_the_rules_of_the_contract(server: Served) -> None:
    def make(num_envs: int) -> Any:
        return open_env(as_client(arm_config(num_envs=num_envs), server.url))

    require_env(make, num_envs=8, command="goal", grid=[[0.0, 0.0], [0.8, 0.0]])


def test_pictures_experts_and_optional_methods_are_those_of_the_task(env: RemoteEnv) -> None:
    local: Any = ArmEnv.open(arm_config())
    remote: Any = env
    assert equal(local.reset(seed=2), remote.reset(seed=2))
    assert remote.reset(seed=2)["camera"].shape == (4, 4, 6, 3)
    local.reset(seed=2)
    ours, theirs = local.scripted_expert(0.1, 7), remote.scripted_expert(0.1, 7)
    for _ in range(5):
        action = ours.act()
        assert torch.equal(action, theirs.act())
        assert equal(local.step(action), remote.step(action))
        for name in ("optimal_action", "distance_to_goal", "failing"):
            assert torch.equal(getattr(local, name)(), getattr(remote, name)())
    assert env.phases == list(local.phases)
    theirs.reset(torch.tensor([1]))
    state = theirs.state_dict()
    assert state["acts"].tolist() == [5, 0, 5, 5]
    again = theirs.act()
    theirs.load_state_dict(state)
    assert torch.equal(theirs.act(), again)
    assert (env.render() == local.render()).all()


def test_a_state_that_a_task_cannot_restore_begins_new_episodes(compose_config: Callable[..., Config]) -> None:
    config = compose_config(["task=gym", "env.num_envs=2"])
    with served(config) as running:
        local, remote = (
            open_env(compose_config(["task=gym", "env.num_envs=2"])),
            open_env(as_client(config, running.url)),
        )
        state = remote.state_dict()
        assert remote.restores(state) and remote.restores({**state}) and not remote.restores({**state, "envs": None})
        assert equal(local.restart(state), remote.restart(state))
        local.close(), remote.close()


@pytest.mark.slow
def test_pictures_of_a_simulator_are_equal_in_two_threads_of_a_server(compose_config: Callable[..., Config]) -> None:
    words = ["task=gear_assembly", "env.num_envs=2", "env.images.size=32", "hardware.threads=1"]
    with served(compose_config(words), clients=2) as running:
        envs: list[Any] = [open_env(as_client(compose_config(words), running.url, timeout_s=60.0)) for _ in range(2)]
        envs.append(open_env(compose_config(words)))
        experts = [env.scripted_expert(0.1, 0) for env in envs]
        starts = [env.reset(seed=4) for env in envs]
        assert starts[0]["wrist_1"].float().std() > 5
        for _ in range(60):
            steps = [env.step(expert.act()) for env, expert in zip(envs, experts, strict=True)]
            assert equal(steps[0], steps[2]) and equal(steps[1], steps[2])
        assert (envs[0].render() == envs[2].render()).all()
        for env in envs:
            env.close()


def test_a_task_without_optional_methods_has_none_behind_a_server(compose_config: Callable[..., Config]) -> None:
    config = compose_config(["task=reach", "env.num_envs=2"])
    with served(config) as running:
        remote = open_env(as_client(config, running.url))
        assert not any(hasattr(remote, name) for name in ("optimal_action", "scripted_expert", "restores"))
        remote.close()


def test_errors_of_the_task_are_raised_as_they_are(env: RemoteEnv) -> None:
    env.reset(seed=0)
    action = torch.zeros(4, 2)
    action[2] = 9.0
    with pytest.raises(DivergedError, match="point is not finite") as error:
        env.step(action)
    assert error.value.env_ids == [2]
    with pytest.raises(wire.WireError, match="action"):
        env.step(torch.zeros(5, 2))
    with pytest.raises(ServerError, match="AssertionError"):
        env.fix_command("no command", torch.zeros(4, 2))
    env.step(torch.zeros(4, 2))


def test_numbers_are_those_of_the_client_and_names_those_of_the_server(
    server: Served, compose_config: Callable[[list[str]], Config]
) -> None:
    with pytest.raises(ConfigError, match="task=arm"):
        RemoteEnv.open(as_client(compose_config(["task=reach"]), server.url))
    sized = arm_config(num_envs=7, episode_length_s=0.5, events={"wind": None})
    remote = RemoteEnv.open(as_client(sized, server.url))
    assert (remote.num_envs, remote.max_episode_length) == (7, 5)
    remote.close()
    other = arm_config(events={"wind": {"mode": "reset"}, "os.system": {"mode": "x"}})
    with pytest.raises(ConfigError) as error:
        RemoteEnv.open(as_client(other, server.url))
    assert "env.events.wind.mode" in str(error.value) and "env.events.os.system" in str(error.value)
    with pytest.raises(ConfigError, match=r"max_envs"):
        RemoteEnv.open(as_client(arm_config(num_envs=5000), server.url))
    with pytest.raises(ConfigError, match=r"sim\.dt"):
        RemoteEnv.open(as_client(arm_config(), server.url, dt=0.001))


def test_a_client_of_another_version_is_refused_by_name(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(client, "greeting", lambda task: {"version": "9.9", "protocol": 1, "task": task})
        with pytest.raises(ConfigError, match=r"9\.9"):
            RemoteEnv.open(as_client(arm_config(), server.url))
    RemoteEnv.open(as_client(arm_config(), server.url)).close()


def test_a_wrong_or_missing_token_is_refused(server: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "another token")
    with pytest.raises(ServerError, match="token"):
        RemoteEnv.open(as_client(arm_config(), server.url))
    monkeypatch.delenv(TOKEN_VARIABLE)
    for token in (None, str(tmp_path / "absent"), TOKEN):
        with pytest.raises(ConfigError, match=r"sim\.token") as error:
            RemoteEnv.open(as_client(arm_config(), server.url, token=token))
        assert TOKEN not in str(error.value)
    (tmp_path / "dash").write_text("a token with a – dash", "utf-8")
    with pytest.raises(ConfigError, match=r"sim\.token.*ASCII"):
        RemoteEnv.open(as_client(arm_config(), server.url, token=str(tmp_path / "dash")))
    lines = "\n".join(RemoteEnvCfg(url="https://127.0.0.1:1", certificate=str(tmp_path / "dash")).problems({}))
    assert f"certificate={tmp_path / 'dash'}" in lines and "PEM" in lines
    (tmp_path / "file").write_text(TOKEN)
    RemoteEnv.open(as_client(arm_config(), server.url, token=str(tmp_path / "file"))).close()


def test_more_clients_than_the_server_has_envs_wait_and_are_refused(server: Served) -> None:
    first, second = (RemoteEnv.open(as_client(arm_config(), server.url)) for _ in range(2))
    with pytest.raises(BusyError, match=r"stage\.clients=3"):
        RemoteEnv.open(as_client(arm_config(), server.url, reconnect_s=0.2))
    first.reset(seed=0), second.reset(seed=1)
    first.step(torch.ones(4, 2))
    other = second.state_dict()
    first.step(torch.ones(4, 2))
    assert equal(second.state_dict(), other)
    first.close()
    RemoteEnv.open(as_client(arm_config(), server.url)).close()
    second.close()


def test_a_client_that_vanishes_frees_its_envs(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteEnv, "_beat", lambda self, pause_s: None)  # as after kill -9
    gone = [RemoteEnv.open(as_client(arm_config(), server.url)) for _ in range(2)]
    RemoteEnv.open(as_client(arm_config(), server.url, reconnect_s=8.0)).close()
    with pytest.raises(ServerError, match="resume="):
        gone[0].step(torch.zeros(4, 2))
    for env in gone:
        env.close()


def test_an_env_that_cannot_be_closed_ends_no_server(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(self: ArmEnv) -> None:
        raise RuntimeError("the viewer hangs")

    monkeypatch.setattr(RemoteEnv, "_beat", lambda self, pause_s: None)
    monkeypatch.setattr(ArmEnv, "close", breaks)
    gone = [RemoteEnv.open(as_client(arm_config(), server.url)) for _ in range(2)]  # one for each thread of the server
    end = time.monotonic() + 8.0
    while server.server.clients and time.monotonic() < end:
        time.sleep(0.05)
    assert server.server.clients == []
    monkeypatch.undo()
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    for _ in range(2):
        following = RemoteEnv.open(as_client(arm_config(), server.url))
        following.reset(seed=0)
        following.close()
    for env in gone:
        env.close()


@pytest.mark.slow
def test_a_client_that_only_thinks_keeps_its_envs(env: RemoteEnv) -> None:
    env.reset(seed=0)
    time.sleep(2.0)  # twice the lease
    env.step(torch.zeros(4, 2))


def test_a_lost_connection_loses_and_repeats_no_step(env: RemoteEnv, monkeypatch: pytest.MonkeyPatch) -> None:
    local: Any = ArmEnv.open(arm_config())
    assert equal(local.reset(seed=3), env.reset(seed=3))
    receive = MessageClient._reply_head
    calls = {"count": 0}

    def breaks(self: MessageClient, file: Any) -> Any:
        """Lose every second answer after the server has made it."""
        head = receive(self, file)
        calls["count"] += 1
        if calls["count"] % 2:
            raise ConnectionResetError("cable")
        return head

    monkeypatch.setattr(MessageClient, "_reply_head", breaks)
    for _ in range(10):
        action = torch.rand(4, 2)
        assert equal(local.step(action), env.step(action))
    assert calls["count"] >= 20


def test_a_request_that_arrives_while_its_first_copy_is_worked_on_is_done_once(server: Served, env: RemoteEnv) -> None:
    env.reset(seed=0)
    message = {"session": env._session, "id": env._number + 1, "action": torch.ones(4, 2)}
    before = server.server.steps
    clients = [MessageClient(server.url, TOKEN) for _ in range(2)]
    rewards = [c.post("env/step", message)["reward"] for c in clients]
    assert torch.equal(*rewards) and server.server.steps == before + 4
    with pytest.raises(ServerError, match="lost"):
        clients[0].post("env/step", {**message, "id": message["id"] + 5})
    for c in clients:
        c.close()


def test_a_server_that_ends_or_starts_anew_is_an_error_in_time() -> None:
    with served(arm_config()) as first:
        remote = RemoteEnv.open(as_client(arm_config(), first.url, reconnect_s=0.5))
        remote.reset(seed=0)
        state = remote.state_dict()
    begun = time.monotonic()
    with pytest.raises(ServerError, match="stage=serve"):
        remote.step(torch.zeros(4, 2))
    assert time.monotonic() - begun < 3
    port = int(first.url.rpartition(":")[2])
    with served(arm_config(), port=port) as second:
        with pytest.raises(ServerError, match="resume="):
            remote.step(torch.zeros(4, 2))
        remote.close()
        resumed = RemoteEnv.open(as_client(arm_config(), second.url))
        resumed.load_state_dict(state)
        assert equal(resumed.state_dict(), state)
        resumed.close()


def test_a_server_that_hangs_is_an_error_in_time(server: Served) -> None:
    remote = RemoteEnv.open(as_client(arm_config(), server.url, timeout_s=0.3))
    remote.reset(seed=0)
    begun = time.monotonic()
    with pytest.raises(ServerError, match=r"sim\.timeout_s"):
        remote.step(torch.full((4, 2), SLOW))
    assert time.monotonic() - begun < 0.9
    remote.close()
    assert time.monotonic() - begun < 2.5


def test_what_is_no_request_of_ours_is_refused_and_harms_no_one(server: Served, env: RemoteEnv) -> None:
    env.reset(seed=0)
    other = MessageClient(server.url, TOKEN)
    own = {"session": env._session, "id": env._number + 1}
    for path, message in (
        ("env/step", {}),
        ("env/step", {"session": 3, "id": 1}),
        ("env/step", {"session": "unknown", "id": 1}),
        ("env/__init__", own),
        ("other", own),
        ("env/open", {"session": "x", "id": 0}),
    ):
        with pytest.raises((ServerError, ConfigError, wire.WireError)):
            other.post(path, message)
    other.close()
    env._number += 1  # that of the request to `env/__init__`, which was carried out as an error
    env.step(torch.zeros(4, 2))


def test_motion_clips_are_refused_before_the_start() -> None:
    for clip, refused in ({"file": "go2_walk"}, True), (None, False):
        plain = {"env": {"motion": {"clips": {"walk": clip}}}, "hardware": {"scheduler": "slurm"}}
        lines = RemoteEnvCfg().problems(plain)
        assert [not missing_names(line, "env.motion.clips", "walk", "sim=mujoco") for line in lines] == [True] * refused


def test_a_dead_port_is_named_before_the_start(compose_config: Callable[..., Config], monkeypatch: Any) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        config = as_client(arm_config(), f"http://127.0.0.1:{free.getsockname()[1]}")
        plain = {"choices": config.choices, "hardware": {}}
        assert any("stage=serve" in line for line in config.sim.problems(plain))
        assert config.sim.problems({**plain, "hardware": {"scheduler": "slurm"}}) == []
    config.sim.url = "http://10.1.2.3:5001"
    assert any("ssh" in line for line in config.sim.problems(plain))
