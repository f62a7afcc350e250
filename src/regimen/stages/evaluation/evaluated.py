"""A finished evaluation, read again: its episodes, the figures made of them, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from regimen.config.structured import build
from regimen.config.task_schema import FaultGridCfg
from regimen.config.yaml_io import flatten
from regimen.data.episodes.lengths import SUCCESS
from regimen.display.intervals import Figure
from regimen.runs.history.result_equality import unequal
from regimen.runs.history.run_view import UNCHANGED, RunView, file_state
from regimen.runs.status import Status
from regimen.stages.evaluation.fault_grid import fault_cases
from regimen.stages.evaluation.fault_metrics import compute_fault_metrics
from regimen.stages.evaluation.ground import compute_ground_metrics
from regimen.stages.evaluation.ground_cases import ground_cases
from regimen.stages.evaluation.metrics import (
    EPISODES,
    SUCCESS_TIME,
    EpisodeResults,
    compute_all_metrics,
    read_figures,
)
from regimen.system import files
from regimen.system.errors import RunReferenceError
from regimen.system.json_data import Json

NOT_COMPARED = ("num_envs", "evaluation", "estimate", "images", "low_level")
"""Keys of a task that may differ between paired evaluations: the evaluation sets `num_envs`, its own keys are compared
by themselves, and the others decide what the policy gets."""

SIM_NOT_COMPARED = ("device", "url", "token", "certificate", "timeout_s", "reconnect_s")
"""Keys of a simulator that say where it runs and how it is reached."""


@dataclass(frozen=True)
class Evaluated:
    """A finished run of `stage=evaluate`.

    Attributes:
        run: the run.
    """

    run: RunView

    @classmethod
    def open(cls, run: RunView) -> Evaluated:
        """Return the evaluation of a run.

        Raises:
            RunReferenceError: it is no finished evaluation.
        """
        if run.record.stage != "evaluate" or "overall" not in run.result or run.status != Status.FINISHED:
            kind = f"a run of stage={run.record.stage}" if run.record.stage != "evaluate" else f"{run.status}"
            raise RunReferenceError(
                f"{run.id} is {kind}: expected a finished evaluation of a policy. Make one: python launch.py "
                "stage=evaluate task=<task> policy=<run reference>."
            )
        return cls(run)

    @cached_property
    def episodes(self) -> EpisodeResults:
        """The episodes.

        Raises:
            DatasetError: the file is missing, or damaged.
        """
        return EpisodeResults.read(self.run.dir / EPISODES)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """Figure -> (n,) its value in each of the episodes that `figures` is made of; shares are 0 or 1."""
        episodes = self.episodes
        columns = dict(episodes.columns)
        if episodes.succeeded is not None:
            columns |= {kind: envs.astype(float) for kind, envs in episodes.ends.items()}
            columns[SUCCESS] = episodes.succeeded.astype(float)
        columns["survival"] = (~episodes.fell).astype(float)
        rows = self._overall
        return {name: values[rows] for name, values in columns.items()}

    @property
    def _overall(self) -> np.ndarray:
        """(N,) bool, the episodes of the part `overall` of the result: with faults those that have one."""
        index = self.episodes.command_of_env
        return index > 0 if self.run.config["stage"].get("faults") else np.ones(len(index), dtype=bool)

    @cached_property
    def rebuilt(self) -> Json:
        """The figures of result.json, made again of the episodes: plain data of `overall`, `commands` and others.

        Raises:
            DatasetError: the file of the episodes is missing, or damaged.
        """
        stage, env = self.run.config["stage"], self.run.config["env"]
        seed, resamples = int(self.run.config["seed"]), int(stage["bootstrap"])
        if stage.get("faults"):
            grid: FaultGridCfg = build(FaultGridCfg, env["evaluation"]["fault_grid"])
            cases = fault_cases(env["evaluation"]["fault_grid"], env["robot"])
            by_case, joints, faulty = compute_fault_metrics(self.episodes, cases, grid, resamples, seed)
            parts: dict[str, Any] = {"healthy": by_case[0], "overall": faulty, "joints": joints, "cells": by_case[1:]}
        else:
            commands = (env.get("evaluation") or {}).get("grid") or [[]]
            overall, by_command = compute_all_metrics(self.episodes, commands, resamples, seed)
            parts = {"overall": overall, "commands": by_command}
            if tiles := ground_cases(env):
                ground = compute_ground_metrics(self.episodes, tiles, len(commands), resamples, seed)
                parts["ground"] = [row.to_dict() for row in ground]
        plain: Json = files.plain(parts)
        return plain

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """Figure over all commands, or over all faults, with its interval, made of the episodes."""
        return read_figures(self.rebuilt["overall"])

    def episodes_of(self, name: str) -> int:
        """Return the number of episodes that a figure over all commands is made of."""
        episodes = self.episodes
        if name == SUCCESS_TIME and episodes.succeeded is not None:
            return int(episodes.succeeded.sum())
        if name == "speed_error":  # that of one command
            return int(np.bincount(episodes.command_of_env).min())
        return int((~np.isnan(self.columns[name])).sum()) if name in self.columns else int(self._overall.sum())

    def all_figures(self) -> dict[str, Figure]:
        """Return all figures by place and name, such as `commands.1.return`."""
        return {
            f"{place}.{name}": figure
            for place, part in _parts(self.rebuilt)
            for name, figure in read_figures(part).items()
        }

    def differences(self) -> list[str]:
        """Return what result.json says other than the episodes; empty if they agree, bit for bit."""
        result = self.run.result
        return list(unequal({name: result.get(name) for name in self.rebuilt}, self.rebuilt))

    def changes(self) -> list[str]:
        """Return which of the files that decide the evaluation are not as recorded, with what happened to them."""
        recorded = {row.path: row.sha256 for row in self.run.record.artifacts}
        lines = []
        if EPISODES not in recorded:
            lines.append(f"{EPISODES}: no checksum is recorded")
        else:
            state = file_state(self.run.dir / EPISODES, recorded[EPISODES], None, read_all=True)
            lines += [f"{EPISODES}: {state}"] if state != UNCHANGED else []
        for name in self.run.inputs:
            if (state := self.run.input_state(name, read_all=True)) != UNCHANGED:
                lines.append(f"input {name}: {state}")
        return lines

    def conditions(self) -> dict[str, Any]:
        """Return what has to be equal for two evaluations to be paired: name -> value, without the seed."""
        config, choices = self.run.config, self.run.choices
        stage, env = config["stage"], config["env"]
        evaluation = env.get("evaluation") or {}
        named = {name: choices.get(name) for name in ("task", "sim")}
        keys = ("envs_per_command", "episode_length_s", "disturbances", "observation_noise", "faults")
        named |= {f"stage.{key}": stage.get(key) for key in keys}
        keys = ("command", "grid", "fault_grid", "levels", "disturbances")
        named |= {f"env.evaluation.{key}": evaluation.get(key) or None for key in keys}
        sim = flatten(config.get("sim") or {})
        named |= {f"sim.{key}": value for key, value in sim if key not in SIM_NOT_COMPARED}
        named |= {f"env.{key}": v for key, v in flatten(env) if key.partition(".")[0] not in NOT_COMPARED}
        return named | {"number of episodes": len(self.episodes.fell)}


def _parts(rebuilt: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """Yield place and plain metrics of each part of a result."""
    for name, part in rebuilt.items():
        if isinstance(part, list):
            yield from ((f"{name}.{index}", row) for index, row in enumerate(part))
        elif name == "joints":
            yield from ((f"{name}.{joint}", row) for joint, row in part.items())
        else:
            yield name, part
