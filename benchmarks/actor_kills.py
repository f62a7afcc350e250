"""Kill -9 of learner and actors at random moments: no row may be lost or doubled.

    python benchmarks/actor_kills.py --rounds 30 --folder DIR
    python benchmarks/actor_kills.py --rounds 30 --folder DIR --ray    # the actors and their mailbox are those of Ray

One training with two actors, continued by `resume=` whenever its learner was killed. Its task writes the number of the
step and a number of its process into each observation, so that the final buffer, which holds all rows, shows for each
actor process that ever was whether its steps are there from the first to the last that the checkpoint names, once each.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]

TASK = '''
"""A task whose observation is a number of its process and the number of its step."""
from __future__ import annotations
from dataclasses import dataclass
import time
import torch
from regimen.envs.vec_env import ActionSpec, IOSpec

LENGTH = 7

@dataclass
class NumberedEnvCfg:
    _target_: str = "numbered.NumberedEnv"
    num_envs: int = 1
    pause_s: float = 0.0
    nan_at: int = 0  # step of a process at which its observation is not finite

class NumberedEnv:
    num_envs, max_episode_length, step_dt, device = 1, LENGTH, 0.1, torch.device("cpu")
    io = IOSpec({"policy": {"process": 1, "step": 1}}, ActionSpec(["x"], [1.0], [0.0], 1.0), 0.1)

    @classmethod
    def open(cls, config):
        env = cls()
        env.pause_s, env.nan_at, env.tag, env.count = config.env.pause_s, config.env.nan_at, 0, 0
        return env

    def observe(self):
        broken = 0 < self.nan_at <= self.count
        return {"policy": torch.tensor([[float("nan") if broken else float(self.tag), float(self.count)]])}

    def reset(self, seed=None):
        self.tag = self.tag if seed is None else seed % 2**20
        return self.observe()

    def stagger(self): ...

    def step(self, action):
        time.sleep(self.pause_s)
        self.count += 1
        ended, never = torch.tensor([self.count % LENGTH == 0]), torch.tensor([False])
        info = {"final_obs": self.observe(), "log": {}, "labels": {}, "metrics": {}}
        return self.observe(), torch.zeros(1), never, ended, info

    def state_dict(self):
        return {"tag": self.tag, "count": self.count}

    def load_state_dict(self, state):
        self.tag, self.count = state["tag"], state["count"]

    def close(self): ...
'''

SETTINGS = [
    *("task=numbered", "agent=rlpd", "hardware=actor_learner", "hardware.actors=2", "stage.checkpoint_interval=20"),
    *("agent.demonstrations.episodes=0", "agent.interventions.enabled=false", "agent.log_period=20", "agent.utd=1"),
    *("agent.hidden=[8,8]", "agent.ensemble_size=2", "agent.batch_size=8", "agent.target_entropy=null"),
]
KINDS = ("learner", "actor", "both")
RAY_KINDS = ("actor", "mailbox", "actor and mailbox", "mailbox", "learner")
RAY = ("hardware.channel.transport=ray", "hardware.channel.ray.num_cpus=0.5")


def prepare(folder: Path) -> None:
    """Write the task into a folder of runs."""
    (folder / "conf" / "task").mkdir(parents=True, exist_ok=True)
    (folder / "numbered.py").write_text(TASK)
    text = "# @package env\n_target_: numbered.NumberedEnv\nnum_envs: 1\npause_s: 0.0\nnan_at: 0\n"
    (folder / "conf" / "task" / "numbered.yaml").write_text(text)


def launch(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    """Start a run, its output in a file of the folder."""
    command = [sys.executable, str(ROOT / "launch.py"), *arguments]
    with (folder / "screen.log").open("a") as log:
        return subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", **env}
        )


def children(pid: int) -> list[int]:
    """Return the numbers of the processes that a process started."""
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def processes(run: Path) -> tuple[int | None, list[int]]:
    """Return the numbers of learner and actors of a run, as far as they are there."""
    supervisor = (json.loads((run / "run.json").read_text()).get("supervisor") or {}).get("pid")
    workers = children(supervisor) if supervisor else []
    return (workers[0], children(workers[0])) if workers else (None, [])


def of_ray(learner: int, kind: str) -> list[int]:
    """Return the numbers of the processes of a class in the Ray that a learner started, which share its session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
            if session == learner and (folder / "cmdline").read_bytes().startswith(f"ray::{kind}".encode()):
                found.append(int(folder.name))
    return sorted(found)


def newest_step(run: Path) -> int:
    """Return the step of the newest line of metrics."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"])
    return -1


def check(run: Path, total: int) -> dict[str, Any]:
    """Return how many rows of a finished run are lost or doubled, by its last checkpoint."""
    sys.path.insert(0, str(ROOT / "src"))
    from regimen.agents.actor_learner.agreement import seed_of

    training = torch.load(run / "checkpoints" / "last.pt", weights_only=True)["training"]
    last_ids = training["actors"]["last_ids"]
    rows = training["agent"]["online"]["rows"]
    found = Counter((int(tag), int(step)) for tag, step in rows[:, :2].tolist())
    seed = int(json.loads((run / "run.json").read_text()).get("seed") or 0)
    expected = {(seed_of(seed, name) % 2**20, k) for name, last in last_ids.items() for k in range(last + 1)}
    return {
        "rows": len(rows),
        "of": total,
        "lost": len(expected - found.keys()),
        "foreign": len(found.keys() - expected),
        "doubled": sum(count - 1 for count in found.values()),
        "processes": sum(last >= 0 for last in last_ids.values()),
    }


def work(
    folder: Path,
    rounds: int,
    seed: int,
    total: int | None = None,
    actors: int = 2,
    on_kill: Any = print,
    ray: bool = False,
) -> dict[str, Any]:
    """Train with `rounds` kills, and return what was found.

    Args:
        folder: empty, for the run.
        rounds: kills.
        seed: of kinds and moments.
        total: env steps; by default enough for all kills.
        actors: number of actors.
        on_kill: called with a line for each kill.
        ray: whether the actors are those of Ray.
    """
    prepare(folder)
    rng, total, kills = random.Random(seed), total or 400 * (rounds + 2), Counter[str]()
    settings = [*SETTINGS, f"agent.max_steps={total}", "env.pause_s=0.004", f"seed={seed}", f"hardware.actors={actors}"]
    settings, kinds = [*settings, *(RAY if ray else ())], RAY_KINDS if ray else KINDS
    process, run, launches = launch(folder, "--config-dir", "conf", *settings), None, 1
    for number in range(rounds):
        kind = kinds[number % len(kinds)]
        end, begun = time.monotonic() + 300, None
        while time.monotonic() < end:
            run = next(folder.glob("outputs/2*"), None)
            if run is not None and (run / "checkpoints" / "last.pt").exists():
                learner, acting = processes(run)
                acting = of_ray(learner, "ActingActor.act") if ray and learner else acting
                begun = newest_step(run) if begun is None and learner else begun
                if begun is not None and len(acting) == actors and newest_step(run) >= begun + 20:
                    break
            if process.poll() is not None:
                return {"error": f"the run ended with {process.returncode} before kill {number}"}
            time.sleep(0.02)
        assert run is not None
        time.sleep(rng.uniform(0.0, 0.5))
        learner, acting = processes(run)
        if ray and learner:
            acting = of_ray(learner, "ActingActor.act")
        rng.shuffle(acting)
        victims = [learner] if kind in ("learner", "both") else []
        victims += acting[:1] if "actor" in kind or kind == "both" else []
        victims += of_ray(learner or 0, "MailboxActor") if "mailbox" in kind else []
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim or 0, signal.SIGKILL) if victim else None
        kills[kind] += 1
        on_kill(f"kill {number + 1} of {rounds}: {kind} at step {newest_step(run)}")
        if learner in victims:
            process.wait()
            process, launches = launch(folder, f"resume={run.name}"), launches + 1
    code = process.wait()
    assert run is not None
    found = check(run, total)
    good = code == 0 and not found["lost"] + found["foreign"] + found["doubled"] and found["rows"] == total
    return {"good": good, "rounds": rounds, "exit_code": code, "kills": dict(kills), "launches": launches, **found}


def main() -> int:
    """Kill, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="empty folder for the run")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results" / "actor_kills.json")
    parser.add_argument("--ray", action="store_true", help="actors of Ray")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    found = work(args.folder, args.rounds, args.seed, ray=args.ray)
    print(json.dumps(found, indent=1))
    args.output.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if found.get("good") else 1


if __name__ == "__main__":
    sys.exit(main())
