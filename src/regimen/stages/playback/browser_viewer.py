"""A rollout in the browser: the observer of an evaluation, and free play of a policy, with checkpoints as they come."""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from regimen.display.console import say
from regimen.runs.checkpoint import step_of
from regimen.stages.playback.options import BROWSER
from regimen.stages.playback.rollout import PolicyLoop, RolloutObserver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from regimen.agents.base import Policy
    from regimen.config.schema import Config
    from regimen.envs.vec_env import Obs, VecEnv
    from regimen.runs.run import Run
    from regimen.stages.playback.browser_page import BrowserPage
    from regimen.stages.playback.options import PlaybackCfg

PROGRESS_S = 5.0
"""Time between two reports of progress in free play, in s."""
LOOK_S = 2.0
"""Time between two looks for new checkpoints, in s."""
LATEST = "latest, as they come"


@contextmanager
def open_page(cfg: PlaybackCfg, run: Run, config: Config, env: VecEnv) -> Iterator[BrowserPage | None]:
    """Serve the page of `viewer=browser` while the context is open, and print its address; None for other viewers."""
    if cfg.viewer != BROWSER:
        yield None
        return
    from regimen.stages.playback.browser_page import BrowserPage

    page = BrowserPage(env, f"{config.choices.get('task')}: {config.policy}", cfg.viewer_port)
    try:
        say(f"viewer: {page.address}{tunnel(page.address)}")
        page.set_status(f"evaluation of run {run.id}")
        yield page
    finally:
        page.close()


def tunnel(address: str) -> str:
    """Return how the page is reached from another machine, for the line that names it."""
    port = address.rpartition(":")[2]
    return f" (from another machine: ssh -L {port}:localhost:{port} <this machine>)"


class PageObserver(RolloutObserver):
    """Show the rollout on a page, at the speed that is set there. It changes no figure: it may only pause."""

    def __init__(self, run: Run, page: BrowserPage) -> None:
        """Show the rollout of `run` on `page`."""
        self._run, self._page = run, page

    def on_step_start(self, step: int, obs: Obs) -> None:
        """Wait until the step is due."""
        self._page.before_step(lambda: self._run.check_stop(step, lambda: None))

    def on_step_end(
        self, action: torch.Tensor, reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor
    ) -> None:
        """Show the state after the step."""
        self._page.after_step(action)


def play_freely(run: Run, env: VecEnv, policy: Policy, page: BrowserPage) -> None:
    """Continue after an evaluation, with commands and disturbances by hand, until `End` or a signal.

    The result is recorded already, so that a signal is the regular end.

    Args:
        run: receives progress; a signal to it ends the play.
        env: the envs.
        policy: of them.
        page: that shows them.
    """
    page.set_status("the evaluation is recorded; free play until End or Ctrl-C")
    say(f"viewer: the evaluation is recorded; free play at {page.address} until End or Ctrl-C")
    page.add_interventions()
    reported = 0.0

    def should_end() -> bool:
        nonlocal reported
        if time.perf_counter() - reported > PROGRESS_S:
            reported = time.perf_counter()
            run.progress(note="free play")
        return run.stop_signal is not None

    play(env, page, policy, should_end)


class Checkpoints:
    """Checkpoints of a run on a page: one that is chosen, or the newest, also those that a training has yet to write.

    Attributes:
        chosen: file of the present one.
    """

    def __init__(self, folder: Path, first: Path, page: BrowserPage, load: Callable[[Path], Policy]) -> None:
        """Add the choice to the page.

        Args:
            folder: of the checkpoints.
            first: the one that acts at the beginning.
            page: the page.
            load: returns the policy of a checkpoint for the envs of the page.
        """
        self.chosen, self._folder, self._load, self._page = first, folder, load, page
        self._looked = 0.0
        self._choice = page.gui.add_dropdown("Checkpoint", self._options(), order=-1.0)
        if first != self._newest():
            self._choice.value = first.name

    def newer(self) -> Policy | None:
        """Return the policy of another checkpoint if one is chosen or has appeared, else None."""
        if time.perf_counter() - self._looked < LOOK_S and self._choice.value in (LATEST, self.chosen.name):
            return None
        self._looked = time.perf_counter()
        options = self._options()
        if options != tuple(self._choice.options):
            self._choice.options = options
        value = str(self._choice.value)
        wanted = self._newest() if value == LATEST else self._folder / value
        if wanted == self.chosen or not wanted.exists():
            return None
        self.chosen = wanted
        self._page.set_status(f"checkpoint {wanted.name}")
        say(f"viewer: checkpoint {wanted.name}")
        return self._load(wanted)

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("step_*.pt"), key=step_of)

    def _newest(self) -> Path:
        return (self._files() or [self.chosen])[-1]

    def _options(self) -> tuple[str, ...]:
        return (LATEST, *(path.name for path in reversed(self._files())))


def play(
    env: VecEnv,
    page: BrowserPage,
    policy: Policy,
    should_end: Callable[[], bool],
    checkpoints: Checkpoints | None = None,
) -> None:
    """Let a policy act until the page's `End`.

    Args:
        env: the envs.
        page: shows them.
        policy: acts at the beginning.
        should_end: asked before each step, and while the play is paused.
        checkpoints: where other policies come from.
    """
    with torch.inference_mode():
        loop = PolicyLoop(env, policy, env.reset())
        while not (page.controls.ended or should_end()):
            if checkpoints is not None and (newer := checkpoints.newer()) is not None:
                loop.policy, loop.state = newer, None
            page.before_step(lambda: setattr(page.controls, "ended", page.controls.ended or should_end()))
            if page.restarted():
                loop.obs, loop.state = env.reset(), None
            action, *_ = loop.step()
            page.after_step(action)
