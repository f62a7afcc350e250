"""`regimen watch <run>`: a policy in the browser, with commands and disturbances by hand."""

from __future__ import annotations

import argparse
import subprocess
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.config.structured import load_config
from regimen.envs.task_io import environment_of_child, other_interpreter
from regimen.runs.references import resolve_policy
from regimen.stages.playback.options import PORT
from regimen.system.errors import ConfigError, RunReferenceError

if TYPE_CHECKING:
    from regimen.config.schema import Config


def watch_verb(argv: list[str]) -> int:
    """Serve the page until `End` or Ctrl-C; nothing is recorded.

    Args:
        argv: the arguments after the verb.
    """
    parser = argparse.ArgumentParser(
        prog="regimen watch",
        description="Watch a policy in the browser, over SSH as well; new checkpoints of a training are loaded.",
    )
    parser.add_argument("policy", help="run reference, also <run>@best or <run>@<step>, or pretrained:<name>")
    parser.add_argument("--envs", type=int, default=1, help="robots, by default %(default)s")
    parser.add_argument("--port", type=int, default=PORT, help="by default %(default)s, or the next free one")
    parser.add_argument("--seed", type=int, default=0, help="of the envs, by default %(default)s")
    parser.add_argument("--no-browser", action="store_true", help="print the address only")
    args = parser.parse_args(argv)
    if args.envs < 1:
        raise ConfigError(f"--envs {args.envs}: expected 1 or more.")
    if not 0 < args.port < 65536:
        raise ConfigError(f"--port {args.port}: expected a port, such as 8080.")
    checkpoint = resolve_policy(args.policy)
    config = load_config(_config_of(checkpoint))
    if not getattr(config.env, "MANAGER_BASED", False):
        task = config.choices.get("task")
        raise ConfigError(f"task={task} has no robot that the page could show. For a film: stage=evaluate video=true.")
    if (python := other_interpreter(config)) is not None:
        command = [python, "-m", "regimen.cli", "watch", *argv]
        return subprocess.run(command, env=environment_of_child(), check=False).returncode
    _serve(args, checkpoint, config)
    return 0


def _config_of(checkpoint: Path) -> Path:
    """Return the configuration that the policy was trained with.

    Raises:
        RunReferenceError: the file belongs to no run.
    """
    for folder in (checkpoint.parent, checkpoint.parent.parent):
        if (folder / "config.yaml").is_file():
            return folder / "config.yaml"
    raise RunReferenceError(
        f"{checkpoint} has no config.yaml beside it, so that its task is not known. Type instead: "
        f"python launch.py stage=evaluate task=<task> policy={checkpoint} stage.viewer=browser"
    )


def _serve(args: argparse.Namespace, checkpoint: Path, config: Config) -> None:
    import torch

    from regimen.agents.base import Policy
    from regimen.agents.policy_file import load_bundle, load_policy
    from regimen.display.console import say
    from regimen.stages.evaluate import Evaluate
    from regimen.stages.evaluation.config import EvaluateCfg
    from regimen.stages.playback.browser_page import BrowserPage
    from regimen.stages.playback.browser_viewer import Checkpoints, play, tunnel
    from regimen.stages.playback.rollout import opened_env

    torch.set_num_threads(1)
    config = Evaluate(EvaluateCfg()).prepare(config)
    config.env.num_envs, config.seed = args.envs, args.seed
    with opened_env(config) as env:
        page = BrowserPage(env, f"{config.choices.get('task')}: {args.policy}", args.port)
        page.add_interventions()
        try:

            def load(path: Path) -> Policy:
                return load_policy(load_bundle(str(path)), env, args.seed)

            fixed = "@" in args.policy or checkpoint.parent.name != "checkpoints"
            checkpoints = None if fixed else Checkpoints(checkpoint.parent, checkpoint, page, load)
            page.set_status(f"checkpoint {checkpoint.name}")
            say(f"watch: {page.address}{tunnel(page.address)}; Ctrl-C ends it")
            if not args.no_browser:
                webbrowser.open(page.address)
            play(env, page, load(checkpoint), lambda: False, checkpoints)
        finally:
            page.close()
