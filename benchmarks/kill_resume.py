"""Signals at random moments of short trainings, then resume: `python benchmarks/kill_resume.py --rounds 100`.

Each round starts `launch.py` and interrupts it one to three times (so a resumed process too): kill -9 of its worker,
its supervisor or both, SIGTERM, SIGINT or SIGUSR2 to the supervisor, or a worker that is stopped (SIGSTOP) when its
supervisor is killed. It resumes until the run has finished, and compares it with the same training uninterrupted: last
checkpoint, metrics and TensorBoard curves must be equal bit for bit, every file readable after each interruption, and
the record must name the signal. `--agent` selects the agent, `--interruptions` the kinds.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measure import RESULTS, ROOT, machine

SETTINGS = ["stage.checkpoint_interval=24", "stage.keep_checkpoints=2", "hardware.threads=1"]
REACH = ["task=reach", "env.num_envs=16"]
AGENTS = {
    "skrl_ppo": [*REACH, "agent.trainer.timesteps=960"],
    "rsl_rl_ppo": [*REACH, "agent.max_iterations=40", "agent.num_steps_per_env=24"],
    "fast_sac": [*REACH, "agent.num_learning_iterations=960", "agent.num_updates=1", "agent.logging_interval=24"],
    "rlpd": ["task=gear_assembly", "agent.max_steps=480", "agent.log_period=24", "agent.demonstrations.episodes=5"],
}
"""Agent -> settings of a training of 960 steps of `reach`, and of 480 of gear assembly."""
SIGNALS = {"SIGTERM": "killed", "SIGINT": "killed", "SIGUSR2": "preempted"}
"""Signal to the supervisor -> status of the run that it ends."""
KINDS = ("worker", "supervisor", "both", *SIGNALS, "SIGSTOP")
STOPPED_S = 1.0
"""How long a worker is stopped before its supervisor is killed and it continues."""
MOMENTS = ("any", "any", "any", "checkpoint", "finish")
"""When a kill comes: at a random time of the process's life, while a checkpoint is written, or after its result."""
STILL_RUNNING = ("running still", "running already")
PATIENCE_S = 120.0
MISSED = "ended before"


@dataclass
class Kill:
    """One interruption.

    Attributes:
        victim: one of `KINDS`.
        moment: see `MOMENTS`.
        after_s: seconds the process had lived.
        phase: how far the run was.
        cut: temporary files the kill left: what was being written.
    """

    victim: str
    moment: str
    after_s: float = 0.0
    phase: str = MISSED
    cut: list[str] = field(default_factory=list)


@dataclass
class Round:
    """What a round did and found; `wrong` is empty when the run equals the uninterrupted one.

    Attributes:
        kills: in order.
        launches: processes it took, retries while an orphan was saving included.
        wrong: unreadable files and differences.
        leftovers: temporary files that nobody removed.
    """

    number: int
    kills: list[Kill] = field(default_factory=list)
    launches: int = 0
    wrong: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    wall_s: float = 0.0


def launch(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start launch.py of this checkout in `folder`; what it prints is appended to screen.txt there."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    with (folder / "screen.txt").open("ab") as screen:
        command = [sys.executable, str(ROOT / "launch.py"), *arguments]
        return subprocess.Popen(command, cwd=folder, stdout=screen, stderr=screen, env=env)


def worker_of(launcher: int) -> int | None:
    """Return the number of the worker process that a launcher has started, if it has."""
    with suppress(OSError):
        for child in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
            with suppress(OSError):
                if b"regimen.runs.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
    return None


def the_run(folder: Path) -> Path | None:
    """Return the run directory made in `folder`, if there is a whole one."""
    return next((p.parent for p in folder.glob("outputs/*/run.json")), None)


def phase(folder: Path) -> str:
    """Return how far the run is."""
    run = the_run(folder)
    if run is None:
        return "no run yet"
    if (run / "result.json").exists():
        return "result written"
    progress = run / "progress.json"
    return "training" if progress.exists() else "worker starting"


def wait_until(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    """Wait for `condition`, at most until the process ends."""
    while process.poll() is None and not condition():
        time.sleep(0.002)


def kill(process: subprocess.Popen[bytes], folder: Path, plan: Kill, life_s: float, rng: random.Random) -> None:
    """Interrupt as `plan` says, when it says; what it met is noted in `plan`."""
    started = time.monotonic()
    if plan.victim not in ("supervisor", "both") or plan.moment != "any":
        wait_until(process, lambda: worker_of(process.pid) is not None)
        life_s *= 0.8
    wait_s = rng.uniform(0.0, life_s)
    if plan.moment == "checkpoint":
        later = started + wait_s  # any of its checkpoints, not always the first
        wait_until(process, lambda: time.monotonic() > later and any(folder.glob("outputs/*/checkpoints/.*.tmp")))
        wait_s = rng.uniform(0.0, 0.005)
    elif plan.moment == "finish":
        wait_s = rng.uniform(0.0, 0.4)
        wait_until(process, lambda: phase(folder) == "result written")
    end = time.monotonic() + wait_s
    wait_until(process, lambda: time.monotonic() >= end)
    if process.poll() is None:
        plan.phase = phase(folder)
        interrupt(process, plan.victim)
        plan.cut = sorted(p.name for p in folder.glob("outputs/**/*.tmp"))
    plan.after_s = round(time.monotonic() - started, 3)
    process.wait()


def interrupt(process: subprocess.Popen[bytes], kind: str) -> None:
    """Send the signals of one of `KINDS` to a supervisor and its worker."""
    worker, kill = worker_of(process.pid), signal.SIGKILL
    sent = {"worker": [(worker, kill)], "supervisor": [(process.pid, kill)]}
    sent["both"] = [*sent["supervisor"], *sent["worker"]]
    sent |= {name: [(process.pid, signal.Signals[name])] for name in SIGNALS}
    sent["SIGSTOP"] = [(worker, signal.SIGSTOP), (process.pid, kill), (worker, signal.SIGCONT)]
    for pid, number in sent[kind]:
        if number == kill and kind == "SIGSTOP":
            time.sleep(STOPPED_S)
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def unreadable(run: Path, cut_lines: int) -> list[str]:
    """Return which files of a run cannot be read.

    Args:
        run: its directory.
        cut_lines: lines that may be cut short at the end of metrics.jsonl: 1 after a kill, 0 in a finished run.
    """
    from regimen.runs import checkpoint

    files = (run / "run.json", run / "result.json", run / "progress.json", run / "logs" / "error.json")
    wrong = [f"{file.name} is not JSON" for file in files if file.exists() and not _is_json(file.read_text())]
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    if not all(map(_is_json, lines[: len(lines) - cut_lines])):
        wrong.append("metrics.jsonl has a line that is not JSON")
    for file in run.glob("checkpoints/*.pt"):
        try:
            checkpoint.load(file)
        except Exception as error:
            if file.exists():  # an orphaned worker saves once more, and removes an old one
                wrong.append(f"{file.name}: {error}")
    try:
        curves(run)
    except Exception as error:
        wrong.append(f"tb: {type(error).__name__}: {error}")
    return wrong


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _is_whole(picture: Path) -> bool:
    return picture.read_bytes().endswith(b"IEND\xaeB`\x82")


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard shows of a run: tag -> (step, value), without throughput."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of every rewind
    if not (run / "tb").exists():
        return {}
    seen = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in seen.Tags()["scalars"] if not _is_time(tag)]
    return {tag: [(event.step, event.value) for event in seen.Scalars(tag)] for tag in tags}


def _is_time(name: str) -> bool:
    return name == "time_s" or any(part in name for part in ("Perf/", "(ms)", "timer/")) or "timer/" in name


def content(run: Path) -> dict[str, Any]:
    """Return what must not depend on kills: the last checkpoint, the metrics, the curves, the headline, file names."""
    from regimen.runs import checkpoint

    bundle = checkpoint.load(run / "checkpoints" / "last.pt")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "last.pt": {k: v for k, v in bundle.items() if k != "run"},
        "best.pt": checkpoint.load(run / "checkpoints" / "best.pt")["step"],
        "metrics.jsonl": [{k: v for k, v in row.items() if not _is_time(k)} for row in rows],
        "tb": curves(run),
        "headline": json.loads((run / "result.json").read_text())["headline"],
        "checkpoints": sorted(p.name for p in run.glob("checkpoints/step_*.pt")),
    }


def differences(a: Any, b: Any, where: str = "") -> list[str]:
    """Return the places where two trees of tensors and plain values are not the same bit for bit."""
    import torch

    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [line for key in a for line in differences(a[key], b[key], f"{where}/{key}")]
    if isinstance(a, list | tuple) and isinstance(b, list | tuple) and len(a) == len(b):
        return [line for k, (x, y) in enumerate(zip(a, b, strict=True)) for line in differences(x, y, f"{where}/{k}")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a.nan_to_num(), b.nan_to_num()) else [where]
    same = type(a) is type(b) and not isinstance(a, dict | list | tuple) and (a == b or (a != a and b != b))
    return [] if same else [where]


def wrong_at_end(run: Path, expected: dict[str, Any]) -> list[str]:
    """Return what is wrong with a finished run."""
    from regimen.system.files import sha256

    info = json.loads((run / "run.json").read_text())
    wrong = unreadable(run, cut_lines=0) + [f"{p.name} is cut" for p in run.glob("figures/*.png") if not _is_whole(p)]
    if info["status"] != "finished" or not info["headline"]:
        wrong.append(f"run.json: {info['status']}, headline {info['headline']}")
    if not info["artifacts"] or any(sha256(run / row["path"]) != row["sha256"] for row in info["artifacts"]):
        wrong.append("run.json: artifacts are not those on disk")
    return wrong + [f"differs: {place}" for place in differences(expected, content(run))[:5]]


def play(
    number: int, seed: int, settings: list[str], kinds: list[str], expected: dict[str, Any], life_s: float
) -> Round:
    """Start, interrupt, resume until finished, judge; once more where the first interruption came too late."""
    rng = random.Random(f"{seed}/{number}")
    while True:
        plans = [Kill(kinds[(number + k) % len(kinds)], rng.choice(MOMENTS)) for k in range(rng.choice([1, 1, 2, 3]))]
        result = _attempt(Round(number), settings, plans, rng, expected, life_s)
        if result.wrong or result.kills[0].phase != MISSED:
            result.kills = [kill for kill in result.kills if kill.phase != MISSED]
            return result


def _attempt(
    result: Round, settings: list[str], plans: list[Kill], rng: random.Random, expected: dict[str, Any], life_s: float
) -> Round:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while not result.wrong:
            run = the_run(folder)
            process = launch(folder, *([f"resume={run}"] if run else settings))
            result.launches += 1
            if plans:
                result.kills.append(plans.pop(0))
                kill(process, folder, result.kills[-1], life_s, rng)
                run = the_run(folder)
                result.wrong += unreadable(run, cut_lines=1) if run else []
                result.wrong += wrong_ending(run, result.kills[-1]) if run else []
                continue
            code, run = process.wait(), the_run(folder)
            if code == 0 and run:
                result.wrong += wrong_at_end(run, expected)
                result.leftovers = sorted(p.name for p in run.rglob("*.tmp"))
                break
            screen = (folder / "screen.txt").read_text()
            if time.monotonic() - began > PATIENCE_S or not any(s in _last_line(screen) for s in STILL_RUNNING):
                result.wrong.append(f"launch {result.launches} ended with {code}: {screen[-2000:]}")
            time.sleep(0.3)
    result.wall_s = round(time.monotonic() - began, 1)
    return result


def wrong_ending(run: Path, plan: Kill) -> list[str]:
    """Return what is wrong with the recorded end of a run whose supervisor got a signal that it can handle."""
    info = json.loads((run / "run.json").read_text())
    expected = SIGNALS.get(plan.victim)
    if expected is None or plan.phase not in ("worker starting", "training") or info["status"] == "finished":
        return []
    ended = (info["status"], plan.victim in (info["reason"] or ""))
    return [] if ended == (expected, True) else [f"after {plan.victim}: {info['status']}, {info['reason']}"]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


def uninterrupted(settings: list[str]) -> tuple[dict[str, Any], float]:
    """Return the content of the uninterrupted run, and how many seconds it took."""
    with tempfile.TemporaryDirectory() as name:
        started = time.monotonic()
        process = launch(Path(name), *settings)
        run = the_run(Path(name)) if process.wait() == 0 else None
        if run is None:
            sys.exit(f"the uninterrupted training failed:\n{(Path(name) / 'screen.txt').read_text()}")
        return content(run), time.monotonic() - started


def report(rounds: list[Round], life_s: float, output: Path) -> int:
    """Print the table, write the JSON; return how many rounds were wrong."""
    bad = [r for r in rounds if r.wrong]
    kills = [k for r in rounds for k in r.kills]
    print(f"{len(rounds) - len(bad)} of {len(rounds)} equal to the uninterrupted run (which takes {life_s:.1f} s)")
    for title, names in (("interrupted", [k.victim for k in kills]), ("when", [k.phase for k in kills])):
        print(f"  {title}: " + ", ".join(f"{name} {n}" for name, n in Counter(names).most_common()))
    print(f"  kills that cut a file being written: {sum(bool(k.cut) for k in kills)} of {len(kills)}")
    print(f"  temporary files left over at the end: {sum(len(r.leftovers) for r in rounds)}")
    for r in bad:
        print(f"  round {r.number}: {r.wrong}\n    {[asdict(k) for k in r.kills]}")
    data = {"machine": machine(), "equal": len(rounds) - len(bad), "of": len(rounds), "uninterrupted_s": life_s}
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({**data, "rounds": [asdict(r) for r in rounds]}, indent=1) + "\n")
    return len(bad)


def main() -> int:
    """Play the rounds; the exit code is 1 if any was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--agent", choices=AGENTS, default="skrl_ppo")
    parser.add_argument(
        "--interruptions", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to repeat one")
    parser.add_argument("--jobs", type=int, default=2, help="rounds at once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "kill_resume.json")
    args = parser.parse_args()
    settings, kinds = [*SETTINGS, f"agent={args.agent}", *AGENTS[args.agent]], list(args.interruptions)
    expected, life_s = uninterrupted(settings)
    numbers = range(args.first, args.first + args.rounds)
    rounds = []
    with ThreadPoolExecutor(args.jobs) as pool:
        for result in pool.map(lambda n: play(n, args.seed, settings, kinds, expected, life_s), numbers):
            rounds.append(result)
            print(f"round {result.number}: {result.wrong or 'equal'} ({result.wall_s} s)", file=sys.stderr, flush=True)
    return int(report(rounds, round(life_s, 2), args.output) > 0)


if __name__ == "__main__":
    sys.exit(main())
