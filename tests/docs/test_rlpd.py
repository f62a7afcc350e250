"""docs/rlpd.md: its commands compose, and the settings that it names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from helpers.tasks import CONF
from regimen.config.compose import compose_config
from regimen.config.groups import config_home
from regimen.orchestration.pipeline.graph import read
from regimen.orchestration.pipeline.sizes import choose
from regimen.orchestration.sweep.jobs import expand

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "rlpd.md").read_text()


def test_the_commands_compose() -> None:
    commands = re.findall(r"python launch.py (.*)$", TEXT, re.M)
    assert len(commands) >= 6
    stages = set()
    for command in commands:
        words = shlex.split(command.replace("<evaluation>", "evaluation"))
        pipeline = next((word.partition("=")[2] for word in words if word.startswith("pipeline=")), None)
        if pipeline is not None:
            choose(read(pipeline, [CONF]), [word for word in words if not word.startswith("pipeline=")])
            continue
        config = expand(words[1:], [config_home()])[0].config if words[0] == "-m" else compose_config(words, [])
        stages.add((config.choices["stage"], config.choices["task"], config.hardware.channel is not None))
    task = "gear_assembly"
    own = {("train", task, False), ("train", task, True), ("actor", task, False), ("evaluate", task, False)}
    assert stages == own | {("report", task, False)}


def test_the_settings_exist() -> None:
    config = compose_config(["experiment=gear_rlpd", "hardware=actor_learner"])
    named = set(re.findall(r"`((?:agent|hardware|stage|env)\.[\w.]+)`", TEXT))
    assert {"hardware.channel.push_steps", "agent.utd", "agent.gripper_penalty"} <= named
    stage = compose_config(["experiment=gear_rlpd", "stage=actor"]).stage
    for name in named:
        section, *path = name.split(".")
        node = stage if section == "stage" and hasattr(stage, path[0]) else getattr(config, section)
        for part in path:
            node = getattr(node, part)
