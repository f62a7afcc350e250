"""A companion of a training: `python -m regimen.stages.alongside.companion <run directory> <sim>`.

It evaluates the checkpoints that wait in `judging/<sim>/`, the oldest first, by the code of `stage=evaluate`, appends a
row for each to `evaluation.jsonl`, and removes it there. The training starts it. It ends after `finish` on its stdin,
once none waits, and at once when stdin ends, which happens as well when the training is killed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from regimen.runs import judgements, worker
from regimen.runs.judgements import ALL, Criterion, Judgement
from regimen.runs.metrics import EventFiles
from regimen.runs.worker_group import NonLeaderRun
from regimen.stages.alongside import waiting
from regimen.system import distributed, files, signals
from regimen.system.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from regimen.config.schema import Config
    from regimen.envs.vec_env import VecEnv
    from regimen.runs.run import Run
    from regimen.stages.alongside.config import AlongsideCfg
    from regimen.stages.evaluate import Evaluate

POLL_S = 0.2
"""Interval at which the folder of waiting checkpoints is looked at."""


def main() -> int:
    """Evaluate the checkpoints of a training until it ends; return the exit code."""
    faulthandler.enable()
    folder, sim = Path(sys.argv[1]), sys.argv[2]
    for number in signals.FORWARDED:  # a scheduler sends them to all processes; the training decides when this one ends
        signal.signal(number, signal.SIG_IGN)
    finishing = threading.Event()
    threading.Thread(target=_watch_training, args=(finishing,), daemon=True).start()
    run = NonLeaderRun.open(folder)
    try:
        _judge(run, sim, finishing)
    except Exception as error:
        traceback.print_exception(error)
        account = {"error": type(error).__name__, "message": str(error)}
        files.write_json(waiting.account(run, sim), account, run.reserve)
        return 1
    return 0


def _watch_training(finishing: threading.Event) -> None:
    """Receive `finish`; end this process at once when the training has ended or closed the pipe."""
    while data := os.read(0, 64):
        if waiting.FINISH in data:
            finishing.set()
    os._exit(0)


def _judge(run: Run, sim: str, finishing: threading.Event) -> None:
    """Set up the process before anything heavy is imported, then evaluate what waits."""
    plain = run.config
    cfg = plain["stage"]["evaluation"]
    os.nice(int(cfg["nice"]))
    if cfg["cores"]:
        os.sched_setaffinity(0, cfg["cores"])
    worker.set_threads(cfg["threads"])
    from regimen.config.structured import build_config

    config = build_config(waiting.config_in(plain, sim))
    if getattr(config.sim, "MUJOCO", False):
        worker.keep_mujoco_log(run.logs / f"{waiting.log_name(sim)}.mujoco.txt")
    criterion = judgements.criterion(plain)
    assert criterion is not None
    with ExitStack() as stack:
        judge = _Judge(run, config, sim, criterion if waiting.is_own(plain, sim) else None, stack)
        while True:
            ends = finishing.is_set()  # read before the folder: what is put there earlier is seen
            path = waiting.next_in(run, sim)
            if path is not None:
                judge.judge(path)
            elif ends:
                return
            else:
                time.sleep(POLL_S)


def require_figure(judgement: Judgement, metric: str) -> None:
    """Require that an evaluation measures a figure, or that one of a later checkpoint may.

    The names of all figures are first seen here: commands, labels and metrics of a task are code.

    Raises:
        ConfigError: the figure is measured for no checkpoint of this task.
    """
    from regimen.data.episodes.lengths import SUCCESS, TERMINATED
    from regimen.stages.evaluation.metrics import SUCCESS_TIME

    if judgement.overall(metric) is not None:
        return
    later = [SUCCESS_TIME, TERMINATED] if judgement.overall(SUCCESS) is not None else []  # of episodes that ended so
    if metric not in later:
        near = did_you_mean(metric, [*judgement.metrics(), *later])
        raise ConfigError(f"stage.evaluation.metric: no figure `{metric}` is measured. {near}")


class _Judge:
    """Evaluates checkpoints one after the other in the same envs, opened for the first of them."""

    def __init__(self, run: Run, config: Config, sim: str, criterion: Criterion | None, stack: ExitStack) -> None:
        """Open nothing yet.

        Args:
            run: of the training.
            config: of the evaluation, in the simulator `sim`.
            sim: its name.
            criterion: by which the best checkpoint is chosen; None where another simulator decides.
            stack: closes the envs.
        """
        self._run, self._config, self._sim, self._criterion, self._stack = run, config, sim, criterion, stack
        self._env: VecEnv | None = None
        self._events = EventFiles(run.dir / "tb" / f"evaluation_{sim}")

    def judge(self, path: Path) -> None:
        """Evaluate a checkpoint, unless its row exists already; record it, and remove it from those that wait."""
        if not any(row.step == waiting.step_of(path) for row in judgements.read(self._run.dir, self._sim)):
            judgement = self._evaluate(path)
            if self._criterion is not None:
                require_figure(judgement, self._criterion.metric)
            self._write_events(judgement)  # first: after a kill in between they are written twice, and the row once
            judgements.append(self._run.dir, judgement)
        self._point_to_best(path)
        path.unlink()

    def _evaluate(self, path: Path) -> Judgement:
        from regimen.agents.policy_file import load_bundle
        from regimen.stages.evaluate import Evaluate
        from regimen.stages.evaluation.config import EvaluateCfg
        from regimen.stages.evaluation.metrics import command_label, compute_all_metrics, print_table
        from regimen.stages.playback.rollout import opened_env
        from regimen.system.seeding import seed_all

        started, cpu = time.perf_counter(), time.process_time()
        cfg: AlongsideCfg = self._config.stage.evaluation
        evaluate: Evaluate = Evaluate(
            EvaluateCfg(
                envs_per_command=cfg.envs_per_command, episode_length_s=cfg.episode_length_s, bootstrap=cfg.bootstrap
            )
        )
        config = evaluate.prepare(self._config)
        config.policy = str(path)
        seed_all(config.seed)
        if self._env is None:
            import torch

            torch.set_num_threads(1)  # as stage=evaluate
            self._env = self._stack.enter_context(opened_env(config))
        episodes, _ = evaluate.roll_out(self._run, config, self._env, load_bundle(str(path)))
        grid = config.env.evaluation.grid or [[]]
        overall, by_command = compute_all_metrics(episodes, grid, cfg.bootstrap, config.seed)
        figures = {f"{ALL}/{name}": figure for name, figure in overall.figures.items()}
        for metrics in by_command if config.env.evaluation.grid else []:
            label = command_label(metrics.command).replace(", ", ",")
            figures |= {f"{label}/{name}": figure for name, figure in metrics.figures.items()}
        print(f"step {waiting.step_of(path)}")
        print_table(overall, by_command)
        sys.stdout.flush()
        times = (time.perf_counter() - started, time.process_time() - cpu)
        return Judgement(waiting.step_of(path), self._sim, files.sha256(path), figures, *times)

    def _write_events(self, judgement: Judgement) -> None:
        scalars: dict[str, float] = {}
        for name, figure in judgement.figures.items():
            tag = f"{judgements.PREFIX}{name}"
            scalars |= {tag: figure.value, f"{tag}/low": figure.low, f"{tag}/high": figure.high}
        self._events.write(judgement.step, scalars)

    def _point_to_best(self, path: Path) -> None:
        """Point `best_judged.pt` to the evaluated checkpoint if it is the best so far."""
        if self._criterion is not None:
            best = self._criterion.best(judgements.read(self._run.dir, self._sim))
            if best is not None and best.step == waiting.step_of(path):
                waiting.point_to(self._run, path)


if __name__ == "__main__":
    distributed.exit_process(main())
