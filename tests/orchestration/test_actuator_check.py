"""Actuators that cannot be built are refused before the simulator starts, by the key as typed; networks are inputs."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import torch

from helpers.messages import raises_naming
from helpers.tasks import CONF
from helpers.torque_networks import PdNetwork, save
from regimen.config.compose import ComposedConfig, compose
from regimen.orchestration.preflight import preflight
from regimen.orchestration.preflight_report import PreflightReport
from regimen.runs import inputs, signature
from regimen.system.errors import ConfigError, ConfigErrors
from regimen.system.files import sha256

FILE = "env.actuators.legs.params.network_file"


def check(folder: Path, *overrides: str, task: str = "go2_flat") -> tuple[ComposedConfig, PreflightReport]:
    composed = compose([f"task={task}", *overrides], [CONF])
    return composed, preflight(composed, folder)


def legs(text: str) -> str:
    return f"+env.actuators.legs={{{text}}}"


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        ([legs("func: ideal_pid")], ["env.actuators.legs", "ideal_pid", "ideal_pd"]),
        ([legs("func: ideal_pd, params: {stifness: 1.0}")], ["env.actuators.legs", "stifness", "stiffness"]),
        ([legs("func: ideal_pd, joints: [.*_hipp_joint]")], ["env.actuators.legs.joints", "RR_hip_joint"]),
        (
            [legs("func: ideal_pd"), "+env.actuators.hips={func: dc_motor, joints: [.*_hip_joint]}"],
            ["env.actuators.hips.joints", "FL_hip_joint", "env.actuators.legs=null"],
        ),
        ([legs("func: ideal_pd, params: {damping: -1.0}")], ["env.actuators.legs.params.damping", "-1"]),
        ([legs("func: ideal_pd, params: {effort_limit: 0.0}")], ["env.actuators.legs.params.effort_limit"]),
        (
            [legs("func: dc_motor, params: {velocity_limit: {.*_knee: 1.0}}")],
            ["env.actuators.legs.params.velocity_limit", ".*_knee"],
        ),
        (
            [legs("func: dc_motor, params: {saturation_effort: {.*: 1.0, FL_.*: 2.0}}")],
            ["env.actuators.legs.params.saturation_effort", "FL_hip_joint"],
        ),
        ([legs("func: ideal_pd, delay: [3, 1]")], ["env.actuators.legs.delay"]),
        ([legs("func: ideal_pd, delay_drawn: steps")], ["env.actuators.legs.delay_drawn", "step"]),
        ([legs("func: actuator_net")], ["env.actuators.legs.params", "network_file"]),
        ([legs("func: actuator_net, params: {network_file: none.pt}")], [FILE, "none.pt"]),
        (
            [legs("func: actuator_net, params: {network_file: none.pt, input_idx: [-1]}")],
            ["env.actuators.legs.params.input_idx"],
        ),
        (
            [legs("func: actuator_net, params: {network_file: none.pt, input_order: pos}")],
            ["env.actuators.legs.params.input_order", "pos_vel"],
        ),
    ],
)
def test_what_cannot_be_built_is_refused(tmp_path: Path, overrides: list[str], names: list[str]) -> None:
    with raises_naming((ConfigError, ConfigErrors), *names):  # type: ignore[arg-type]
        check(tmp_path, *overrides)


def test_a_simulator_without_torques_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    with raises_naming((ConfigError, ConfigErrors), "sim=remote", "env.actuators.legs=null"):  # type: ignore[arg-type]
        check(tmp_path, "sim=remote", f"sim.token={tmp_path / 'token'}", legs("func: ideal_pd"))


def net(file: Path, more: str = "") -> str:
    return legs(f"func: actuator_net, params: {{network_file: {file}{more}}}")


def test_a_file_that_is_no_such_network_is_refused(tmp_path: Path) -> None:
    wide = save(torch.nn.Linear(2, 3), tmp_path / "wide.pt")
    with raises_naming((ConfigError, ConfigErrors), FILE, "wide.pt", "2", "3"):  # type: ignore[arg-type]
        check(tmp_path, net(wide))


@pytest.mark.slow
def test_a_network_is_an_input_of_the_run_and_counts_by_its_content(tmp_path: Path) -> None:
    file = save(PdNetwork(25.0, 0.5, 1), tmp_path / "pd.pt")
    composed, report = check(tmp_path, net(file))
    entry = inputs.read(report.inputs, report.references)[FILE]
    assert entry.sha256 == sha256(file) and entry.path == str(file)
    moved = tmp_path / "moved.pt"
    file.rename(moved)
    other = compose(["task=go2_flat", net(moved), f"hardware.threads={composed.config.hardware.threads}"], [CONF])
    found = {str(signature.config_signature(one.plain, {FILE: entry.sha256})) for one in (composed, other)}
    assert len(found) == 1, "what is in the file counts, not where it is"
    assert inputs.changed({FILE: entry}) == {FILE: "gone"}


def test_the_commands_of_the_guide(tmp_path: Path) -> None:
    """docs/actuators.md shows them."""
    page = (CONF.parent / "docs" / "actuators.md").read_text(encoding="utf-8")
    commands = [line for line in page.splitlines() if line.startswith("python launch.py task=go2_flat")]
    assert len(commands) >= 2
    for command in commands:
        composed, _ = check(tmp_path, *shlex.split(command)[3:])
        assert composed.config.env.actuators
