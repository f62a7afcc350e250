"""Settings of actors and their channel that are refused before the start, with what to type."""

from __future__ import annotations

import importlib.util
import socket
from pathlib import Path
from typing import Any

import pytest

from helpers.messages import assert_names, raises_naming
from regimen.agents.actor_learner.ray_actors import require_resources
from regimen.config.compose import compose
from regimen.config.schema import ChannelCfg, HardwareCfg, RayCfg
from regimen.orchestration import preflight_report
from regimen.orchestration.preflight import preflight
from regimen.stages.actor import TOKEN_VARIABLE, ActorCfg
from regimen.system import certificate
from regimen.system.errors import ConfigError, PreflightError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """No token is in the environment."""
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def hardware(actors: int = 1, **channel: Any) -> HardwareCfg:
    return HardwareCfg(actors=actors, channel=ChannelCfg(**channel))


def on_slurm(**values: Any) -> HardwareCfg:
    return HardwareCfg(scheduler="slurm", channel=ChannelCfg(), **values)


def on_ray(actors: int = 1, device: str = "cpu", port: int | None = None, **ray: Any) -> HardwareCfg:
    return HardwareCfg(device, actors=actors, channel=ChannelCfg(transport="ray", port=port, ray=RayCfg(**ray)))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (HardwareCfg(actors=2), ["actors=2", "hardware=actor_learner"]),
        (hardware(-1), ["actors=-1"]),
        (hardware(0), ["channel.port=null", "hardware.actors=1", "hardware.channel.port=5588"]),
        (hardware(ahead=5), ["channel.ahead=5", "10"]),
        (hardware(push_steps=0), ["channel.push_steps=0"]),
        (hardware(port=0), ["channel.port=0"]),
        (hardware(port=5588, host="0.0.0.0"), ["channel.host=0.0.0.0", "hardware.channel.tls_certificate", "ssh"]),
        (hardware(port=5588, token="/no/such"), ["channel.token=…"]),
        (HardwareCfg(processes=2, actors=1, channel=ChannelCfg()), ["processes=2", "hardware.processes=1"]),
        (HardwareCfg(nodes=2, actors=1, channel=ChannelCfg()), ["nodes=2", "hardware=slurm_actor_learner"]),
        (on_slurm(nodes=4, actors=2), ["nodes=4", "hardware.nodes=3", "hardware.actors=3"]),
        (on_slurm(actors=1, submitit={"cpus_per_gpu": 4}), ["cpus_per_gpu=4", "hardware.submitit.cpus_per_task"]),
        (HardwareCfg(actors=2, scheduler="slurm"), ["actors=2", "hardware=slurm_actor_learner"]),
        (hardware(host="10.0.0.5"), ["channel.host=10.0.0.5", "hardware.channel.port"]),
        (hardware(transport="ray", token="a/file"), ["channel.token=…", "transport=ray", "not encrypted"]),
        (hardware(transport="ray", tls_key="key.pem"), ["channel.tls_key=key.pem", "hardware.channel.transport=http"]),
        (hardware(transport="ray", host="::1"), ["channel.host=::1", "hardware.channel.transport=http"]),
        (hardware(transport="zmq"), ["channel.transport=zmq", "http", "ray"]),
        (hardware(ray=RayCfg(num_cpus=0.5)), ["channel.ray", "hardware.channel.transport=ray"]),
        (on_ray(0), ["channel.transport=ray", "hardware.actors=1"]),
        (on_ray(port=5588), ["channel.port=5588", "hardware.channel.transport=http"]),
        (on_ray(address="ray://head:10001"), ["channel.ray.address=ray://head:10001", "auto", "6379"]),
        (on_ray(address="10.0.0.5"), ["channel.ray.address=10.0.0.5", "6379"]),
        (on_ray(num_cpus=1.5), ["channel.ray.num_cpus=1.5", "whole number"]),
        (on_ray(num_cpus=float("inf")), ["channel.ray.num_cpus=inf", "whole number"]),
        (on_ray(num_cpus=float("nan")), ["channel.ray.num_cpus=nan", "whole number"]),
        (on_ray(num_gpus=-1), ["channel.ray.num_gpus=-1"]),
        (on_ray(address="auto", resources={"simulator": 2.5}), ["channel.ray.resources.simulator=2.5"]),
        (on_ray(resources={"simulator": 0.5}), ["ray start --head", '{"simulator": 1}', "channel.ray.address=auto"]),
        (on_ray(device="cuda"), ["channel.ray.num_gpus=0", "hardware.channel.ray.num_gpus=0.25"]),
        (on_ray(device="cuda:1", num_gpus=1), ["device=cuda:1", "hardware.device=cuda"]),
    ],
)
def test_hardware_that_is_refused(settings: HardwareCfg, named: list[str]) -> None:
    assert_names("\n".join(settings.problems({})), *named)


def test_hardware_that_is_taken() -> None:
    assert hardware(2).problems({}) == []
    assert on_slurm(nodes=2, actors=1).problems({}) == []
    assert on_ray(2, "cuda", num_gpus=0.25).problems({}) == []
    assert on_ray(2, address="10.0.0.5:6379", resources={"simulator": 0.5}).problems({}) == []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_names("\n".join(hardware(port=port).problems({})), f"channel.port={port}", f"port={port + 1}")


def test_several_nodes_need_something_to_make_a_certificate_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificate.importlib.util, "find_spec", lambda name: None)
    assert on_slurm(nodes=2, actors=1).problems({}) == []
    monkeypatch.setenv("PATH", "/nowhere")
    (line,) = on_slurm(nodes=2, actors=1).problems({})
    assert_names(line, "nodes=2", "openssl", "pip install cryptography", "hardware.nodes=1")
    assert on_slurm(nodes=1, actors=1).problems({}) == []


def test_actors_on_a_cluster_of_ray_take_nothing_of_this_machine() -> None:
    assert on_ray(7).node_processes() == 8
    assert on_ray(7, address="auto").node_processes() == 1


@pytest.mark.parametrize(
    ("nodes", "actors", "threads", "cores"), [(1, 3, 1, 4), (1, 0, 2, 2), (2, 3, 1, 2), (2, 4, 2, 6), (3, 2, 1, 1)]
)
def test_slurm_is_asked_for_the_cores_of_the_fullest_node(
    tmp_path: Path, nodes: int, actors: int, threads: int, cores: int
) -> None:
    asked = [f"hardware.nodes={nodes}", f"hardware.actors={actors}", f"hardware.threads={threads}"]
    asked += ["hardware=slurm_actor_learner", "hardware.channel.port=5588"]
    run = compose(["experiment=gear_rlpd", *asked], [ROOT / "conf"])
    report = preflight(run, tmp_path)
    assert run.plain["hardware"]["submitit"]["cpus_per_task"] == cores == run.config.hardware.submitit["cpus_per_task"]
    assert not [line for line in report.warnings if "cores" in line]
    given = compose(["experiment=gear_rlpd", *asked, "hardware.submitit.cpus_per_task=1"], [ROOT / "conf"])
    assert bool([line for line in preflight(given, tmp_path).warnings if "cores" in line]) == (cores > 1)
    assert given.plain["hardware"]["submitit"]["cpus_per_task"] == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["task=reach"], ["hardware=actor_learner", "agent=skrl_ppo", "rlpd", "hardware=cpu"]),
        (["experiment=gear_rlpd", "stage=evaluate"], ["stage=evaluate", "hardware=cpu"]),
    ],
)
def test_an_agent_or_stage_without_actors_is_refused(tmp_path: Path, arguments: list[str], named: list[str]) -> None:
    with raises_naming(ConfigError, *named):
        preflight(compose([*arguments, "hardware=actor_learner"], [ROOT / "conf"]), tmp_path)


RAY = ["experiment=gear_rlpd", "hardware=actor_learner", "hardware.channel.transport=ray"]


def install_ray(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    """Let Ray be found, or not, whether or not it is there."""
    find, spec = importlib.util.find_spec, importlib.util.find_spec("json") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *args: spec if name == "ray" else find(name, *args))


def test_ray_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_ray(monkeypatch, False)
    with raises_naming(ConfigError, "hardware.channel.transport=ray", "pip install", "[ray]", "make ray"):
        preflight(compose(RAY, [ROOT / "conf"]), tmp_path)


def test_more_cores_than_a_ray_of_the_run_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regimen.system.host.cores", lambda: 2)
    with raises_naming(ConfigError, "hardware.channel.ray.num_cpus=1", "4 actors", "num_cpus=0.5"):
        preflight(compose([*RAY, "hardware.actors=4"], [ROOT / "conf"]), tmp_path)


def test_more_gpus_than_this_machine_has_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl"):
        (tmp_path / name).touch()
    monkeypatch.setattr(preflight_report, "NVIDIA", (tmp_path / "nvidia0", tmp_path / "dxg"))
    monkeypatch.setattr(preflight_report, "GPUS", (tmp_path, preflight_report.GPUS[1]))
    with raises_naming(ConfigError, "hardware.channel.ray.num_gpus=1", "3 actors", "num_gpus=0.666"):
        asked = ["hardware.actors=3", "hardware.channel.ray.num_cpus=0", "hardware.channel.ray.num_gpus=1"]
        preflight(compose([*RAY, *asked], [ROOT / "conf"]), tmp_path)


def test_a_cluster_that_is_not_there_is_refused_before_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_ray(monkeypatch, True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        key = f"hardware.channel.ray.address=127.0.0.1:{probe.getsockname()[1]}"
        with raises_naming(ConfigError, key, "ray start --head"):
            preflight(compose([*RAY, key], [ROOT / "conf"]), tmp_path)
        probe.listen()
        preflight(compose([*RAY, key], [ROOT / "conf"]), tmp_path)


@pytest.mark.parametrize(
    ("cfg", "has", "named"),
    [
        (RayCfg(num_cpus=2), {"CPU": 3.0}, ["hardware.channel.ray.num_cpus=2", "num_cpus=1"]),
        (RayCfg(num_gpus=1), {"CPU": 8.0}, ["hardware.channel.ray.num_gpus=1", "this machine has none"]),
        (RayCfg("auto", num_gpus=1), {"CPU": 8.0}, ["no machine of the cluster", "--num-gpus=1"]),
        (RayCfg("auto", resources={"sim": 0.5}), {"CPU": 8.0}, ["resources.sim=0.5", "no machine", '{"sim": 1}']),
    ],
)
def test_what_ray_never_has_is_refused(cfg: RayCfg, has: dict[str, float], named: list[str]) -> None:
    with raises_naming(PreflightError, *named):
        require_resources(has, cfg, 2, pytest.fail)


def test_a_cluster_that_may_grow_is_warned_of() -> None:
    warnings: list[str] = []
    require_resources({"CPU": 8.0, "sim": 1.0}, RayCfg("auto", resources={"sim": 1}), 2, warnings.append)
    (line,) = warnings
    assert_names(line, "hardware.channel.ray.resources.sim=1", "resources.sim=0.5")
    require_resources({"CPU": 2.0}, RayCfg(), 2, pytest.fail)


def test_an_agent_that_does_not_act_for_a_learner_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "the token of a test")
    with raises_naming(ConfigError, "agent=skrl_ppo", "`act`", "rlpd"):
        preflight(compose(["task=reach", "stage=actor"], [ROOT / "conf"]), tmp_path)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"learner": "http://10.0.0.5:5588"}, ["learner=http://10.0.0.5:5588", "https", "ssh"]),
        ({"learner": "10.0.0.5"}, ["learner=10.0.0.5", "http://127.0.0.1:5001"]),
        ({"token": None}, ["stage.token=<file>", TOKEN_VARIABLE]),
        ({"certificate": "/no/such.pem"}, ["certificate=/no/such.pem"]),
        ({"certificate": __file__}, [f"certificate={__file__}", "PEM"]),
        ({"reconnect_s": 0.0}, ["reconnect_s=0.0"]),
    ],
)
def test_an_actor_that_is_refused(tmp_path: Path, values: dict[str, Any], named: list[str]) -> None:
    (tmp_path / "token").write_text("the token of a test")
    assert ActorCfg(token=str(tmp_path / "token")).problems({}) == []
    assert_names("\n".join(ActorCfg(**{"token": str(tmp_path / "token"), **values}).problems({})), *named)


def test_a_token_that_no_header_holds_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("a token with a – dash", "utf-8")
    assert_names("\n".join(ActorCfg(token=str(tmp_path / "token")).problems({})), "stage.token", "ASCII")
    monkeypatch.setenv(TOKEN_VARIABLE, "a token with\ntwo lines")
    assert_names("\n".join(ActorCfg().problems({})), TOKEN_VARIABLE, "ASCII")
