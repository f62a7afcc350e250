"""A runner in a process of its own, which has neither this project nor torch."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regimen.system.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = Path(__file__).with_name("runner_host.py")


@dataclass(frozen=True)
class RunnerStep:
    """One step of a runner.

    Attributes:
        targets: (A,) of the joints, in their unit.
        actions: (A,) of the policy.
        seconds: that the step took.
    """

    targets: list[float]
    actions: list[float]
    seconds: float


class RunnerProcess:
    """A runner and its policy file, opened by `with`.

    Attributes:
        sensors: names of the readings that a step takes.
    """

    def __init__(self, runner: Path, policy: Path) -> None:
        """Start it.

        Args:
            runner: Python file with a class `Runner`.
            policy: ONNX file.

        Raises:
            CheckpointError: one of the files cannot be opened there.
        """
        self._policy = policy
        command = [sys.executable, "-I", "-W", "ignore", str(HOST)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        try:
            answer = self._ask({"runner": str(runner.resolve()), "policy": str(policy.resolve())})
        except BaseException:
            self.close()
            raise
        self.sensors: list[str] = answer["sensors"]

    def step(self, sensors: Mapping[str, list[float]], begins: bool) -> RunnerStep:
        """Return the targets for one reading of each sensor.

        Args:
            sensors: name -> values in the unit of the sensor.
            begins: whether an episode begins with this step.

        Raises:
            CheckpointError: the runner failed.
        """
        return RunnerStep(**self._ask({"sensors": dict(sensors), "begins": begins}))

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        line = ""
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        if "error" in answer:
            raise CheckpointError(f"{self._policy} cannot be run by its runner: {answer['error']}.")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> RunnerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
