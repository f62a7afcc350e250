"""An actor of a run: `python -m regimen.agents.actor_learner.actor <run directory> <name> <url> [<access>]`.

Its learner starts it, reads `logs/<actor>.json` where it failed, and ends it by closing its stdin, which happens as
well when the learner is killed. On another node of a Slurm job it reads token and certificate from the folder `access`.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from regimen.agents.actor_learner.actor_group import END_GRACE_S, account_of, log_name
from regimen.agents.actor_learner.http_channel import LearnerClient
from regimen.agents.actor_learner.request_channel import RequestChannel
from regimen.runs import worker
from regimen.runs.run import Run
from regimen.system import distributed, files, listening, signals

TOKEN_VARIABLE = "REGIMEN_CHANNEL_TOKEN"
ANSWER_S, RECONNECT_S = 60.0, 5.0
"""Longest wait for an answer of the learner, and for a connection in place of a lost or silent one."""


def main() -> int:
    """Act for the learner of a run; return the exit code."""
    faulthandler.enable()
    folder, name, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    access = Path(sys.argv[4]) if len(sys.argv) > 4 else None
    token = os.environ.pop(TOKEN_VARIABLE) if access is None else listening.read_token(access / "token", "token")
    certificate = None if access is None else access / "certificate.pem"
    for number in signals.FORWARDED:  # a scheduler sends them to all processes; the learner decides when its actors end
        signal.signal(number, signal.SIG_IGN)
    ended = threading.Event()
    threading.Thread(target=_watch_learner, args=(ended,), daemon=True).start()
    run = Run.open(folder)
    try:
        _act(run, name, LearnerClient(url, token, ANSWER_S, RECONNECT_S, certificate), ended)
    except Exception as error:
        if ended.is_set():
            return 0  # the learner is gone: this is no failure of the actor
        files.write_json(run.logs / f"{log_name(name)}.json", account_of(error, name, run), run.reserve)
        return 1
    return 0


def _act(run: Run, name: str, client: LearnerClient, ended: threading.Event) -> None:
    worker.set_threads((run.config.get("hardware") or {}).get("threads"))
    from regimen.agents.actor_learner.acting import act
    from regimen.config.structured import load_config

    config = load_config(run.config_path)
    if getattr(config.sim, "MUJOCO", False):
        worker.keep_mujoco_log(run.logs / f"{log_name(name)}.mujoco.txt")
    print(f"{name} acts for the learner at {client.url} on {socket.gethostname()}", flush=True)
    steps = act(config, RequestChannel(client, name), name, ended.is_set)
    print(f"{name} ends after {steps} steps", flush=True)


def _watch_learner(ended: threading.Event) -> None:
    """Wait for the end of stdin; end this process by force where it does not end by itself."""
    with suppress(OSError):
        while os.read(0, 1):
            pass
    ended.set()
    time.sleep(END_GRACE_S)
    os._exit(1)


if __name__ == "__main__":
    distributed.exit_process(main())
