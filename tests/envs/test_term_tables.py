"""The tables of active terms say what the open environment has, section by section."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from helpers.point_env import PointEnv
from helpers.tasks import open_config, task_config
from regimen.cli.check_env import check_env_verb
from regimen.display.text_tables import TextTable
from regimen.envs.term_tables import term_tables
from regimen.system.errors import ConfigError


def tables_of(task: str, **changes: Any) -> dict[str, TextTable]:
    cfg = task_config(task, num_envs=1, **changes)
    env = open_config(cfg)
    tables = term_tables(cfg, env.io)
    env.close()
    return {table.title.partition(" (")[0].partition(":")[0]: table for table in tables}


def rows_of(table: TextTable) -> dict[str, dict[str, str]]:
    names = [name.removeprefix(">") for name in table.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in table.rows}


def test_actuators_have_a_table() -> None:
    hips = {"func": "dc_motor", "joints": [".*_hip_joint"], "delay": [0, 3], "params": {"velocity_limit": 20.0}}
    row = rows_of(tables_of("go2_flat", actuators={"hips": hips})["Actuators"])["hips"]
    assert row["func"] == "dc_motor" and row["joints"] == ".*_hip_joint" and row["params"] == "velocity_limit=20.0"
    assert re.findall(r"\d+", row["delay"]) == ["0", "3"]
    assert "Actuators" not in tables_of("go2_flat")


def test_every_section_of_a_walking_task() -> None:
    tables = tables_of("go2_flat")
    sections = ["Observation group policy", "Actions", "Commands", "Rewards", "Terminations", "Events"]
    assert [name for name in sections if name not in tables] == []
    assert "(" + str(len(tables["Rewards"].rows)) + ")" in tables["Rewards"].title
    cfg = task_config("go2_flat")
    weights = {name: f"{t.weight:g}" for name, t in cfg.rewards.items() if t and t.weight}
    assert {name: row["weight"] for name, row in rows_of(tables["Rewards"]).items()} == weights
    events = {name: t.mode for name, t in cfg.events.items() if t}
    shown = {name: row["mode"].partition(",")[0] for name, row in rows_of(tables["Events"]).items()}
    assert shown == events
    times = [t.interval_range_s for t in cfg.events.values() if t and t.mode == "interval"]
    modes = [row["mode"] for row in rows_of(tables["Events"]).values() if row["mode"].startswith("interval")]
    assert times and modes == [f"interval, {low:g} … {high:g} s" for low, high in times]
    assert rows_of(tables["Terminations"])["time_out"]["time-out"] == "yes"
    assert len(tables["Actions"].rows) == 12


def test_observation_groups_show_size_noise_and_scale() -> None:
    [title, table] = next(item for item in tables_of("reach").items() if item[0].startswith("Observation"))
    assert title == "Observation group policy" and "9 values" in table.title
    rows = rows_of(table)
    assert [row["size"] for row in rows.values()] == ["2", "2", "2", "3"]
    assert rows["joint_vel"]["scale"] == "0.1" and rows["target"]["params"] == "command=target"
    assert "noise" not in rows["joint_vel"], "a column without an entry is left out"


def test_bounds_and_factors_of_a_library_are_shown_for_each_side_and_column() -> None:
    env = PointEnv(1)
    meaning = {"policy": {name: {"clip": [-1.0, 0.5], "scale": [2.0, 2.0]} for name in env.io.observations["policy"]}}
    tables = term_tables(SimpleNamespace(), dataclasses.replace(env.io, meaning=meaning))
    for row in rows_of(tables[0]).values():
        assert (row["clip"], row["scale"]) == ("-1 … 0.5", "2")


def test_a_group_that_extends_another_shows_both() -> None:
    tables = tables_of("h1_failure")
    policy = rows_of(tables["Observation group policy"])
    extended = rows_of(tables["Observation group discriminator"])
    assert policy.keys() < extended.keys()
    assert all(extended[name]["func"] == row["func"] for name, row in policy.items())


def test_what_is_switched_off_is_left_out() -> None:
    tables = tables_of(
        "reach", rewards={"near": None, "action_rate_l2": {"weight": 0.0}}, events={"reset_robot_joints": None}
    )
    assert list(rows_of(tables["Rewards"])) == ["distance"] and "Events" not in tables


def test_a_task_without_managers_has_observations_and_actions() -> None:
    env, cfg = PointEnv(1), SimpleNamespace(events={"gust": {"force": 3.0}}, rewards=None)  # of the user's own kind
    tables = term_tables(cfg, env.io)
    assert [table.columns[0] for table in tables] == ["term", "name"]
    assert [row[1] for row in tables[0].rows] == [str(size) for size in env.io.observations["policy"].values()]


def test_a_scale_of_each_column_and_the_limits_of_a_clip_are_shown() -> None:
    env = PointEnv(1)
    (group, terms), *_ = env.io.observations.items()
    meaning = {group: {next(iter(terms)): {"scale": [0.2, 1.0], "clip": [-1.0, 3.0]}}}
    table, *_ = term_tables(SimpleNamespace(), replace(env.io, meaning=meaning))
    row = rows_of(table)[next(iter(terms))]
    assert (row["scale"], row["clip"]) == ("0.2, 1", "-1 … 3")


def test_the_verb_describes_a_task_and_tries_no_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_env_verb(["--describe", "task=reach", "env.rewards.near.weight=2.5"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^near +2\.5 +site_distance_exp", out, re.M) and "Observation group policy: 9 values" in out
    assert "20 ms" in out and "100 steps" in out and "determinism" not in out
    with pytest.raises(ConfigError):
        check_env_verb(["--describe", "task=reech"])
