"""What actors report of their episodes is logged as if the learner had stepped the envs itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from regimen.agents.actor_learner.reports import Reports, receive
from regimen.agents.training_session import TrainingSession


class Log:
    """Stands for a run: keeps what is logged."""

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}
        self.stop_signal = None

    def log(self, step: int, metrics: dict[str, float]) -> None:
        self.logged = metrics

    def progress(self, **fields: Any) -> None: ...

    def check_stop(self, step: int, save: Any) -> None: ...


class Nowhere:
    def due(self, step: int) -> bool:
        return False


def steps(count: int, num_envs: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor, Any]]:
    generator, made = torch.Generator().manual_seed(0), []
    for k in range(count):
        reward, metric = (torch.rand(num_envs, generator=generator) for _ in range(2))
        ended = torch.tensor([(k + 3 * i) % 7 == 6 for i in range(num_envs)])
        log = {"Metrics/success": float(k % 2)} if ended.any() else {}
        made.append(
            (reward, ended, torch.zeros(num_envs, dtype=torch.bool), {"log": log, "metrics": {"error": metric}})
        )
    return made


@pytest.mark.parametrize("num_envs", [1, 3])
def test_reports_give_the_scalars_of_a_training_in_one_process(num_envs: int) -> None:
    here, there = Log(), Log()
    sessions = [TrainingSession(log, Nowhere(), num_envs, 200) for log in (here, there)]  # type: ignore[arg-type]
    reports = Reports(num_envs)
    for step in steps(100, num_envs):
        sessions[0].step(*step)
        reports.step(*step)
        for values in reports.take():
            assert all(isinstance(value, float) for value in values.values())
            assert receive(values, sessions[1]) == {}
    sessions[1].receive_steps(100)
    for session in sessions:
        session.end_iteration({}, dict)
    names = {name for name in here.logged if not name.startswith("Perf/")}
    assert {"Train/return", "Train/episode_length", "Metrics/success", "Metrics/error"} <= names
    assert here.logged.keys() == there.logged.keys()
    for name in names - {"Metrics/error"}:
        assert there.logged[name] == pytest.approx(here.logged[name], rel=1e-5), name
    assert there.logged["Metrics/error"] == pytest.approx(here.logged["Metrics/error"], rel=0.05)


def test_the_agents_own_figures_come_back_without_their_prefix() -> None:
    session = TrainingSession(Log(), Nowhere(), 1, 10)  # type: ignore[arg-type]
    assert receive({"agent/length": 3.0, "agent/timer/act": 0.1}, session) == {"length": 3.0, "timer/act": 0.1}
    assert session.mean_return() is None
