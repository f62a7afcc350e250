"""Observations and actions of a task, read from its open environment in the interpreter that has its simulator.

`python -m regimen.envs.task_io <file>` reads a plain configuration from stdin and writes the `IOSpec`, or the error, to
the file as JSON: libraries print to stdout while they start.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regimen.config.structured import build_config, to_plain
from regimen.envs import open_env
from regimen.envs.vec_env import IOSpec
from regimen.system import files, host
from regimen.system.errors import ConfigError, PreflightError, RegimenError

if TYPE_CHECKING:
    from regimen.config.schema import Config

OPENED_S = 1800.0
"""Time limit of a process that opens a task: kernels that were not compiled before take minutes on a loaded machine."""


def io_of(config: Config) -> IOSpec:
    """Return observations and actions of a task, which are complete once it is open.

    Args:
        config: of the task. Where another interpreter has its simulator, a process of that one opens it.

    Raises:
        ConfigError: the task is refused.
        PreflightError: it cannot be opened in the other interpreter.
    """
    python = other_interpreter(config)
    return _opened(config) if python is None else _read(config, python)


def other_interpreter(config: Config) -> str | None:
    """Return the Python that the task has to be opened in, None if it is this one."""
    named = getattr(config.env, "interpreter", None)
    plain = {"env": {"interpreter": named}, "choices": config.choices, "hardware": asdict(config.hardware)}
    python = host.interpreter(plain)
    return python if Path(python).absolute() != Path(sys.executable).absolute() else None


def environment_of_child() -> dict[str, str]:
    """Return the variables of a process of another interpreter that imports this code."""
    paths = [str(files.PACKAGE.parent), os.environ.get("PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _opened(config: Config) -> IOSpec:
    sized = copy.deepcopy(config)
    sized.env.num_envs = 1
    env = open_env(sized)
    env.close()
    return env.io


def _read(config: Config, python: str) -> IOSpec:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "io.json"
        command = [python, "-W", "ignore", "-m", __spec__.name, str(target)]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(to_plain(config)),
                capture_output=True,
                text=True,
                timeout=OPENED_S,
                check=False,
                env=environment_of_child(),
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PreflightError(f"The task cannot be opened in {python}: {error}") from error
        if not target.exists():
            last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
            raise PreflightError(f"The task cannot be opened in {python} (exit {done.returncode}): {last}")
        answer = json.loads(target.read_text(encoding="utf-8"))
    if "error" in answer:
        raise ConfigError(answer["error"])
    return IOSpec.from_dict(answer["io"])


def main(argv: list[str]) -> int:
    """Write the `IOSpec` of the configuration on stdin, see the module.

    Args:
        argv: the file to write.
    """
    config = build_config(json.load(sys.stdin))
    answer: dict[str, Any] = {}
    try:
        answer["io"] = _opened(config).to_dict()
    except RegimenError as error:
        answer["error"] = str(error)
    Path(argv[0]).write_text(json.dumps(answer), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
