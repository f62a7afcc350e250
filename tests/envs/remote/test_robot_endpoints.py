"""The JSON endpoints of SERL's robot server, as a client that was written for it calls them."""

from __future__ import annotations

import json
import math
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from helpers.served import TOKEN, Served, arm_config, as_client, served
from regimen.config.schema import Config
from regimen.envs.remote import RemoteEnv
from regimen.envs.remote.robot_endpoints import ENDPOINTS, euler
from regimen.system.message_client import BusyError


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served(arm_config()) as running:
        yield running


def post(server: Served, name: str, body: Any = None, token: str = TOKEN) -> Any:
    """What an endpoint answers; the token is the password of the address, as `requests` sends it."""
    manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
    manager.add_password(None, server.url, "robot", token, is_authenticated=True)
    opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(manager))
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{server.url}/{name}", data, {"Content-Type": "application/json"})
    with opener.open(request, timeout=10) as reply:
        return json.loads(reply.read())


def test_the_state_has_the_keys_of_the_robot_server(server: Served) -> None:
    state = post(server, "getstate")
    sizes = {"pose": 7, "vel": 6, "force": 3, "torque": 3, "q": 7, "dq": 7, "jacobian": 6}
    assert {key: len(value) for key, value in state.items() if key != "gripper_pos"} == sizes
    assert isinstance(state["gripper_pos"], float)
    for name, key in (("getpos", "pose"), ("getvel", "vel"), ("getforce", "force"), ("getq", "q"), ("getdq", "dq")):
        assert post(server, name) == {key: state[key]}
    assert post(server, "getpos_euler")["pose"][:3] == state["pose"][:3]
    assert post(server, "get_gripper") == {"gripper": state["gripper_pos"]}


def test_a_pose_moves_the_arm_and_the_gripper_closes(server: Served) -> None:
    post(server, "jointreset")
    before = post(server, "getpos")["pose"]
    goal = [before[0] + 0.05, before[1] - 0.02, *before[2:]]
    post(server, "pose", {"arr": goal})
    assert post(server, "getpos")["pose"][:2] == pytest.approx(goal[:2], abs=1e-5)
    for name, opening in (("close_gripper", 0.0), ("open_gripper", 1.0)):
        post(server, name)
        assert post(server, "get_gripper")["gripper"] == opening
    post(server, "move_gripper", {"gripper_pos": 20})
    assert post(server, "get_gripper")["gripper"] == 0.0


def test_every_endpoint_answers(server: Served) -> None:
    bodies = {"pose": {"arr": [0, 0, 0.2, 0, 0, 1, 0]}, "move_gripper": {"gripper_pos": 3}}
    for name in ENDPOINTS:
        assert isinstance(post(server, name, bodies.get(name)), dict)
    post(server, "update_param", {"translational_stiffness": 2000})


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("pose", {"arr": [1, 2]}, "arr"),
        ("pose", {"arr": [0, 0, 0, 0, 0, 0, 0]}, "quaternion"),
        ("pose", {"arr": [0, 0, math.nan, 0, 0, 0, 1]}, "arr"),
        ("pose", b"\xff{", "JSON"),
        ("pose", b"[" * 60_000, "JSON"),
        ("pose", b"[" * 100_000, "65536"),
        ("move_gripper", {"gripper_pos": 300}, "gripper_pos"),
        ("move_gripper", {}, "gripper_pos"),
        ("update_param", {"colour": 3}, "colour"),
        ("no_such_endpoint", None, "no_such_endpoint"),
    ],
)
def test_what_is_wrong_is_named(server: Served, name: str, body: Any, said: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        post(server, name, body)
    with error.value as reply:
        assert reply.code in (404, 422) and said in json.loads(reply.read())["error"]


def test_a_wrong_password_is_refused(server: Served) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        post(server, "getstate", token="another")
    with error.value as reply:
        assert reply.code == 401


def test_a_robot_client_is_one_of_the_clients() -> None:
    with served(arm_config()) as server:
        assert server.server.clients == []
        post(server, "getstate")
        with pytest.raises(BusyError, match="robot endpoints"):
            RemoteEnv.open(as_client(arm_config(), server.url, reconnect_s=0.1))


def test_a_task_without_an_arm_says_so(compose_config: Callable[[list[str]], Config]) -> None:
    with served(compose_config(["task=point_goal"])) as server:
        with pytest.raises(urllib.error.HTTPError) as error:
            post(server, "getstate")
        with error.value as reply:
            assert "point_goal" in json.loads(reply.read())["error"]
        assert server.server.clients == []


def test_angles_of_a_quaternion() -> None:
    half = math.sqrt(0.5)
    assert euler([0, 0, half, half]) == pytest.approx([0, 0, math.pi / 2])
    assert euler([half, 0, 0, half]) == pytest.approx([math.pi / 2, 0, 0])
