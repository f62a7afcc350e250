"""Everything that is claimed for a GPU, measured in one call of at most 12 minutes: `make bench-gpu`.

    python benchmarks/gpu.py                 # on a GPU
    python benchmarks/gpu.py --cpu --tiny    # small sizes on a CPU: whether the script works, in under 3 minutes

Parts run in the order of their importance, each in processes of its own and within its share of the time. One whose
library or device is absent is listed with the reason, and one that the time does not suffice for as `not run`. Results
go to `results/gpu.json`, `results/gpu.md` and `results/gpu.png` after each part, so that a stop loses nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from measure import RESULTS, ROOT, machine

from regimen.system import gpu
from regimen.system.host import made_interpreter

TOTAL_S, TINY_S = 720.0, 170.0
LEAST_S = 20.0
"""Time below which nothing is started any more, in a call of the usual time."""

WALKS = {"Train/return": 100.0, "Train/episode_length": 900.0}
"""A Go2 walks: means over the last episodes of a training of go2_flat. The pretrained walker has 130 and 970."""

MJLAB_TASK, ISAACLAB_TASK = "Mjlab-Velocity-Flat-Unitree-Go1", "Isaac-Velocity-Flat-H1"
GIB = 2**30


class NotMeasured(Exception):
    """A figure could not be measured; the message says why."""


@dataclass
class Row:
    """One figure.

    Attributes:
        part: what it belongs to.
        label: what was measured.
        value: the figure, None where it was not measured.
        unit: its unit.
        note: why it was not measured, or what to read beside it.
    """

    part: str
    label: str
    value: float | None
    unit: str
    note: str = ""


@dataclass
class Bench:
    """One call of the benchmark.

    Attributes:
        device: `cuda` or `cpu`.
        tiny: whether small sizes are tried.
        sim: simulator of the trainings.
        total_s: time for all parts.
        rows: figures so far.
        deadline: clock at which the present part ends.
    """

    device: str
    tiny: bool
    sim: str
    total_s: float
    rows: list[Row] = field(default_factory=list)
    deadline: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds that are left of all."""
        return self.total_s - (time.monotonic() - self.started)

    def least(self) -> float:
        """Return the seconds below which nothing is started any more."""
        return min(LEAST_S, self.total_s / 30)

    def left_of_part(self) -> float:
        """Seconds that are left of the present part."""
        return min(self.left(), self.deadline - time.monotonic())

    def hardware(self) -> str:
        """Return the argument that chooses the device."""
        return "hardware=gpu" if self.device.startswith("cuda") else "hardware=cpu"

    def work(self, name: str, python: str = sys.executable, **arguments: object) -> float:
        """Return the rate that a process of `gpu_peer.py` measures.

        Raises:
            NotMeasured: it failed, or the time of the part is over.
        """
        script = str(Path(__file__).with_name("gpu_peer.py"))
        given = json.dumps({**arguments, "device": self.device})
        out = self.process([python, "-W", "ignore", script, name, given], Path.cwd())
        return float(json.loads(out.splitlines()[-1])["rate"])

    def process(self, command: list[str], folder: Path) -> str:
        """Return what a process prints; it and its children end with the part.

        Raises:
            NotMeasured: see `work`.
        """
        if self.left_of_part() < self.least():
            raise NotMeasured("not run: no time left")
        child = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            out, err = child.communicate(timeout=max(1.0, self.left_of_part()))
        except subprocess.TimeoutExpired:
            stop(child)
            raise NotMeasured("stopped: no time left") from None
        if child.returncode != 0:
            lines = [line for line in (err + out).splitlines() if line.strip()] or ["no message"]
            raise NotMeasured(f"failed: {lines[-1][:200]}")
        return out


def stop(child: subprocess.Popen[str]) -> None:
    """End a process and its children: gently, then at once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with suppress(subprocess.TimeoutExpired):
            child.communicate(timeout=10)
            return


def of_training(bench: Bench) -> Iterator[Row]:
    """Yield samples a second of PPO, and the memory of that run: estimate against peak."""
    envs, steps, iterations = (64, 8, 4) if bench.tiny else (4096, 24, 12)
    for task in ("go2_flat",) if bench.tiny else ("go2_flat", "h1_flat"):
        label, settings = f"{task}, {envs} envs", [f"env.num_envs={envs}", f"agent.num_steps_per_env={steps}"]
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "launch.py"), f"task={task}", f"sim={bench.sim}", "agent=rsl_rl_ppo"]
            command += [*settings, f"agent.max_iterations={iterations}", bench.hardware()]
            try:
                bench.process(command, Path(folder))
            except NotMeasured as error:
                yield Row("training", f"PPO, {label}", None, "samples/s", str(error))
                continue
            run = next(Path(folder).glob("outputs/*"))
            yield Row("training", f"PPO, {label}", median_rate(run), "samples/s")
            record = json.loads((run / "run.json").read_text())
            estimate = record["estimated_memory"]
            peaks = {"main": record["peak_memory_gib"], "gpu": record.get("peak_gpu_gib")}
            for place, peak in peaks.items():
                if peak:
                    ratio = sum(estimate[place].values()) / GIB / peak
                    yield Row("memory", f"{place}, {label}: estimate / peak", ratio, "1", f"peak {peak:.2f} GiB")


def median_rate(run: Path) -> float:
    """Return the median rate of the iterations of a run after the first two."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(row["Perf/samples_per_s"] for row in rows[2:] if "Perf/samples_per_s" in row)


def of_steps(bench: Bench) -> Iterator[Row]:
    """Yield env steps a second of sim=mujoco_warp, and of the physics in them alone."""
    if not (ROOT / "conf" / "sim" / "mujoco_warp.yaml").exists():
        yield Row("steps", "sim=mujoco_warp", None, "env steps/s", "skipped: there is no sim=mujoco_warp")
        return
    if find_spec("mujoco_warp") is None:
        yield Row("steps", "sim=mujoco_warp", None, "env steps/s", "skipped: mujoco-warp is not installed")
        return
    seconds = 1.0 if bench.tiny else 5.0
    for task in ("go2_flat",) if bench.tiny else ("go2_flat", "h1_flat"):
        for envs in (4,) if bench.tiny else (1024, 4096, 8192):
            for name, work, more in (
                ("Regimen", "env_steps", {"sim": "mujoco_warp"}),
                ("physics alone", "raw_steps", {}),
            ):
                yield from measured(
                    "steps", f"{name}, {task}, {envs} envs", "env steps/s",
                    lambda w=work, t=task, e=envs, m=more: bench.work(w, task=t, envs=e, seconds=seconds, **m),
                )  # fmt: skip


def measured(part: str, label: str, unit: str, figure: Callable[[], float]) -> Iterator[Row]:
    """Yield the row of a figure, or why it was not measured."""
    try:
        yield Row(part, label, figure(), unit)
    except NotMeasured as error:
        yield Row(part, label, None, unit, str(error))


def of_peers(bench: Bench) -> Iterator[Row]:
    """Yield samples a second of the trainings of mjlab and Isaac Lab, and of the same task and settings here."""
    from regimen.envs.isaaclab.library import ISAAC_LAB

    envs, iterations = (4, 2) if bench.tiny else (4096, 10)
    tasks = {"mjlab": MJLAB_TASK, "isaaclab": ISAACLAB_TASK}
    for library, task in tasks.items():
        python = made_interpreter(library)
        if python is None:
            yield Row("peers", f"{library}'s own training", None, "samples/s", f"skipped: no make {library} here")
            continue
        more: dict[str, object] = {}
        if library == "isaaclab":
            from regimen.envs.isaaclab.assets import own_folder

            more = {"assets": str(own_folder()), "kernels": str(ISAAC_LAB.cache.expanduser() / "warp")}
        own = f"{library}'s own training, {task}, {envs} envs"
        yield from measured(
            "peers", own, "samples/s",
            lambda p=python, n=library, t=task, m=more: bench.work(
                f"{n}_training", p, task=t, envs=envs, iterations=iterations, **m
            ),
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(ROOT / "launch.py"), f"task={library}", f"env.id={task}", bench.hardware()]
            command += ["agent=rsl_rl_ppo", "agent.from_task=true", f"env.num_envs={envs}"]
            command += [f"agent.max_iterations={iterations + 2}"]

            def here(command: list[str] = command, folder: str = folder) -> float:
                bench.process(command, Path(folder))
                return median_rate(next(Path(folder).glob("outputs/*")))

            yield from measured("peers", f"Regimen, {task}, {envs} envs", "samples/s", here)


def of_walking(bench: Bench) -> Iterator[Row]:
    """Yield the minutes until a Go2 walks."""
    envs = 16 if bench.tiny else 4096
    goals = {"Train/return": -1e9, "Train/episode_length": 0.0} if bench.tiny else WALKS
    label = f"go2_flat until it walks, {envs} envs, the start of the processes included"
    if bench.left_of_part() < bench.least():
        yield Row("walking", label, None, "min", "not run: no time left")
        return
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "launch.py"), "task=go2_flat", f"sim={bench.sim}", "agent=rsl_rl_ppo"]
        command += [f"env.num_envs={envs}", "agent.max_iterations=2000", bench.hardware()]
        begin = time.monotonic()
        child = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
        reached, last = None, {}
        while reached is None and child.poll() is None and bench.left_of_part() > 0:
            time.sleep(0.5)
            for file in Path(folder).glob("outputs/*/metrics.jsonl"):
                last = newest(file) or last
            if last and all(last.get(name, -1e18) >= goal for name, goal in goals.items()):
                reached = time.monotonic() - begin
        stop(child)
    if reached is not None:
        yield Row("walking", label, reached / 60, "min")
    else:
        seen = ", ".join(f"{name} {last[name]:.0f}" for name in goals if name in last) or "no iteration"
        yield Row("walking", label, None, "min", f"not reached in {(time.monotonic() - begin) / 60:.1f} min: {seen}")


def newest(file: Path) -> dict[str, float]:
    """Return the last whole row of a file of metrics, empty without one."""
    with suppress(OSError, ValueError, IndexError):
        return dict(json.loads(file.read_text().splitlines()[-1]))
    return {}


def of_fast_sac(bench: Bench) -> Iterator[Row]:
    """Yield updates a second of FastSAC's learner at the sizes of the original."""
    size = "cpu" if bench.tiny else "original"
    seconds = 1.0 if bench.tiny else 10.0
    label = f"FastSAC, sizes `{size}` of benchmarks/fast_sac.py"
    yield from measured("fast_sac", label, "updates/s", lambda: bench.work("updates", size=size, seconds=seconds))


def of_vintix(bench: Bench) -> Iterator[Row]:
    """Yield tokens a second of Vintix while it acts."""
    size, seconds = ("small", 1.0) if bench.tiny else ("standard", 5.0)
    for envs in (1,) if bench.tiny else (1, 64, 1024):
        label = f"Vintix acts, sizes `{size}`, {envs} robots"
        yield from measured(
            "vintix", label, "tokens/s", lambda e=envs: bench.work("decoding", size=size, envs=e, seconds=seconds)
        )


PARTS: dict[str, tuple[float, Callable[[Bench], Iterator[Row]]]] = {
    "training": (120.0, of_training),
    "steps": (120.0, of_steps),
    "walking": (240.0, of_walking),
    "peers": (170.0, of_peers),
    "fast_sac": (50.0, of_fast_sac),
    "vintix": (50.0, of_vintix),
}
"""Name -> weight of its share of the time, and what yields the rows; the most important first."""


def write(bench: Bench, folder: Path) -> None:
    """Write all rows as JSON, as a page and as a picture."""
    folder.mkdir(parents=True, exist_ok=True)
    device = [{"total_gib": one.total / GIB, "driver": one.driver} for one in gpu.gpus()]
    took = time.monotonic() - bench.started
    data = {"machine": machine(), "gpus": device, "device": bench.device, "tiny": bench.tiny, "took_s": round(took, 1)}
    data["rows"] = [asdict(row) for row in bench.rows]
    (folder / "gpu.json").write_text(json.dumps(data, indent=1) + "\n")
    head = f"# Measured on `{bench.device}`{' with tiny sizes, which say nothing' * bench.tiny}"
    lines = [head, "", f"`make bench-gpu`, {took:.0f} s.", "", "| part | what | figure | note |", "|---|---|---|---|"]
    for row in bench.rows:
        figure = "–" if row.value is None else f"{row.value:,.4g} {'' if row.unit == '1' else row.unit}".strip()
        lines.append(f"| {row.part} | {row.label} | {figure} | {row.note} |")
    (folder / "gpu.md").write_text("\n".join([*lines, "", "![rates](gpu.png)", ""]))
    draw([row for row in bench.rows if row.value is not None and row.unit.endswith("/s")], folder / "gpu.png")


def draw(rows: list[Row], path: Path) -> None:
    """Draw rates as bars with a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 1.2 + 0.3 * len(rows)))
    if rows:
        axis.barh([f"{row.label} ({row.unit})" for row in rows][::-1], [row.value or 0 for row in rows][::-1])
        axis.set_xscale("log")
    figure.tight_layout()
    figure.savefig(path)
    plt.close(figure)


def main() -> int:
    """Measure, print, write; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true", help="on a CPU")
    parser.add_argument("--tiny", action="store_true", help="small sizes, whose figures mean nothing")
    parser.add_argument("--sim", help="simulator of the trainings; by default mujoco_warp, with --cpu mujoco")
    parser.add_argument("--seconds", type=float, help="for all parts; by default 720, with --tiny 170")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=list(PARTS), help="parts to measure")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    args = parser.parse_args()
    if not args.cpu and not gpu.gpus():
        print("gpu: not measured, nvidia-smi lists no GPU here. To try the script: --cpu --tiny")
        return 0
    sim = args.sim or ("mujoco" if args.cpu else "mujoco_warp")
    total = args.seconds or (TINY_S if args.tiny else TOTAL_S)
    bench = Bench("cpu" if args.cpu else "cuda", args.tiny, sim, total)
    chosen = {name: part for name, part in PARTS.items() if name in args.only}
    whole = sum(budget for budget, _ in chosen.values())
    for name, (budget, part) in chosen.items():
        scaled = max(0.0, bench.left()) * budget / whole  # what earlier parts left is shared by the later ones
        whole -= budget
        bench.deadline = time.monotonic() + scaled
        print(f"{name}: at most {min(scaled, bench.left()):.0f} s", flush=True)
        if bench.left() < bench.least():
            bench.rows.append(Row(name, name, None, "", "not run: no time left"))
            continue
        for row in part(bench):
            bench.rows.append(row)
            figure = "–" if row.value is None else f"{row.value:,.4g} {row.unit}"
            print(f"  {row.label:68}{figure:>24}  {row.note}", flush=True)
            write(bench, args.out)
    write(bench, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
