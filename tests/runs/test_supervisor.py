"""However a worker ends, run.json, the exit code and the last line on the screen say the same, and the truth."""

from __future__ import annotations

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from helpers.interpreters import other_python
from helpers.messages import assert_names
from helpers.recorded_runs import change, recorded
from helpers.subprocesses import PATIENCE_S, said
from helpers.supervised_runs import ENV, ended, make_run, start, started_and_stopped, wait_for, worker_pid
from helpers.user_folder import make_lab
from regimen.cli import main
from regimen.cli.launch import launch
from regimen.display import console
from regimen.display.console import Screen
from regimen.runs import lock, outcome
from regimen.runs import supervisor as supervise
from regimen.runs.status import Status
from regimen.system import files, host, signals

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_normal_end(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"], info["error"]) == ("finished", 0, None)
    assert info["headline"] == {"return": 12.5}
    [artifact] = info["artifacts"]
    assert (artifact["path"], artifact["kind"], len(artifact["sha256"])) == ("figure.txt", "figure", 64)
    assert info["cpu_s"] > 0 and info["peak_memory_gib"] > 0.005
    assert "working\n" in screen and (run.logs / "worker.log").read_text() == "working\n"
    assert not run.reserve.exists()


def test_an_evaluation_that_failed_beside_a_training_is_in_the_last_line(tmp_path: Path) -> None:
    run = make_run(tmp_path, "judge_in_vain")
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("finished", 0)
    assert_names(screen.strip().splitlines()[-1], "finished", "return 1", "mars", "dust")


def test_exception_is_told_with_its_last_lines(tmp_path: Path) -> None:
    run = make_run(tmp_path, "fail")
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 1)
    assert info["reason"] == "ValueError: the gripper is upside down"
    assert any('raise ValueError("the gripper' in line for line in info["error"]["last_lines"])
    assert "Traceback" in screen and screen.strip().endswith(f"python launch.py resume={run.id}")


def test_message_for_the_user_comes_without_traceback(tmp_path: Path) -> None:
    run = make_run(tmp_path, "bad_input")
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 2)
    assert "\n  joint knee: only the policy has it\n" in screen and "Traceback" not in screen
    assert_names(info["reason"], "joint knee")


@pytest.mark.parametrize("act", ["exit_0", "hard_exit_0"])
def test_exit_code_0_without_result_is_a_failure(tmp_path: Path, act: str) -> None:
    run = make_run(tmp_path, act)
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 1)
    assert_names(info["reason"], "exit code 0", "result")


@pytest.fixture
def hangup() -> Iterator[None]:
    """SIGHUP as on a terminal: below nohup all processes ignore it, and the supervisor keeps that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize(
    ("number", "status", "code"),
    [
        (signal.SIGINT, "killed", 130),
        (signal.SIGTERM, "killed", 143),
        (signal.SIGUSR2, "preempted", 75),
        (signal.SIGHUP, "killed", 129),
    ],
)
def test_signal_saves_a_checkpoint_and_stops(tmp_path: Path, number: int, status: str, code: int) -> None:
    run = make_run(tmp_path, "loop")
    info, screen = started_and_stopped(run, number)
    assert (info["status"], info["exit_code"], info["signal"]) == (status, code, number)
    step = int((run.checkpoints / "last.pt").read_text())
    assert_names(info["reason"], signal.Signals(number).name, "checkpoint", f"step {step}")
    assert screen.strip().endswith(f"python launch.py resume={run.id}")


def test_second_and_third_ctrl_c_insist(tmp_path: Path) -> None:
    run = make_run(tmp_path, "ignore_signals")
    process = start(run)
    wait_for((run.dir / "progress.json").exists)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)  # one SIGTERM is an insistence, too: the worker was asked already
    info, _ = ended(process, run)
    assert (info["status"], info["exit_code"]) == ("killed", 143)


@pytest.mark.linux
def test_sigkill_by_another_process_is_not_told_as_want_of_memory(tmp_path: Path) -> None:
    run = make_run(tmp_path, "kill_itself")
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"], info["signal"]) == ("killed", 137, 9)
    assert_names(info["reason"], "SIGKILL")
    assert "out of memory" not in info["reason"] and "GiB" not in info["reason"]
    assert info["peak_memory_gib"] > 0.08


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group of 300 MiB."""
    parent, version = next(host._groups())
    group = parent / f"regimen-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if version == 1 else "memory.max")).write_text(str(300 * 2**20))
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error}")
    yield group
    group.rmdir()


@pytest.mark.linux
@pytest.mark.slow
def test_want_of_memory_is_told_by_the_kernels_count(tmp_path: Path, small_group: Path) -> None:
    run = make_run(tmp_path, "take_memory")
    enter = partial((small_group / "cgroup.procs").write_text, "0")
    info, _ = ended(start(run, preexec_fn=enter), run)
    assert (info["status"], info["exit_code"]) == ("killed", 137)
    assert_names(info["reason"], "out of memory", "SIGKILL", "GiB")


def test_segfault_says_where(tmp_path: Path) -> None:
    run = make_run(tmp_path, "segfault")
    info, screen = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("killed", 139)
    assert_names(info["reason"], "SIGSEGV")
    assert re.search(r'File ".*", line \d+', info["reason"])
    assert "stages_for_tests.py" in screen


def test_diverged_names_the_tensor(tmp_path: Path) -> None:
    run = make_run(tmp_path, "diverge")
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("diverged", 3)
    assert_names(info["reason"], "net.0.weight")


def test_full_disk_is_told_by_name(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        run = make_run(disk, "fill_disk")
        info, _ = ended(start(run), run)
        assert (info["status"], info["exit_code"]) == ("failed", 1)
        assert_names(info["reason"], "space", disk)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_worker_ends_with_its_supervisor(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    process = start(run)
    pid = worker_pid(run)
    worker = host.process(pid)
    process.kill()
    process.communicate()
    wait_for(lambda: not host.is_alive(worker))
    assert run.status == "killed"
    assert_names(recorded(run)["reason"], "checkpoint", f"step {(run.checkpoints / 'last.pt').read_text()}")


def test_children_of_the_worker_do_not_outlive_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, "leave_child")
    ended(start(run), run)
    from regimen.system.files import read_json

    child = (read_json(run.dir / "result.json") or {})["child"]
    wait_for(lambda: not Path(f"/proc/{child}").exists() or host.process(child).start is None)


def test_resume_continues_in_place_and_refuses_company(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    first, _ = started_and_stopped(run)
    step = int((run.checkpoints / "last.pt").read_text())

    (run.dir / "progress.json").unlink()
    process = start(run)
    worker_pid(run)
    second = start(run)
    message = said(second)
    assert second.returncode == 2
    assert_names(message, run.id, f"kill {process.pid}")
    assert run.status == "running"
    process.send_signal(signal.SIGUSR2)
    info, _ = ended(process, run)
    assert info["status"] == "preempted"
    assert [r["previous_status"] for r in info["resumed"]] == ["killed"]
    assert info["resumed"][0]["versions"] == info["versions"] and info["resumed"][0]["git"] != info["git"]
    assert int((run.checkpoints / "last.pt").read_text()) > step
    assert info["wall_s"] > first["wall_s"]
    assert info["signature"] == first["signature"]


@pytest.mark.slow
def test_interpreter_and_packages_are_those_of_the_worker(tmp_path: Path) -> None:
    python = other_python(tmp_path, shared=True, mjlab="9.9")
    run = make_run(tmp_path, "loop", interpreters={"none": str(python)})
    for version in ("9.9", "9.10"):
        other_python(tmp_path, mjlab=version)
        info, screen = started_and_stopped(run)
        assert (info["status"], info["versions"]["mjlab"], info["host"]["python"]) == ("killed", "9.9", str(python))
        (run.dir / "progress.json").unlink()
    assert [row["versions"]["mjlab"] for row in info["resumed"]] == ["9.10"]
    assert_names(screen, "warning", "mjlab 9.9", "9.10")


@pytest.mark.slow
def test_a_run_that_goes_on_with_other_code_is_signed_by_neither(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    mine = recorded(run)["signature"]["code"]
    started_and_stopped(run)
    change(run.dir, signature={**recorded(run)["signature"], "code": "0" * 16})
    (run.dir / "progress.json").unlink()
    started_and_stopped(run)
    assert recorded(run)["signature"]["code"] not in ("0" * 16, mine)


def test_resuming_a_finished_run_does_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    ended(start(run), run)
    before = recorded(run)
    again = start(run)
    screen = said(again)
    assert again.returncode == 0
    assert_names(screen, "finished", run.id)
    assert recorded(run) == before


def test_interpreter_of_the_sim(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish", interpreters={"none": "/nowhere/python"})
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 2)
    assert_names(info["reason"], "/nowhere/python", "hardware.interpreters")


def test_progress_line_on_a_terminal(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    screen, terminal = pty.openpty()
    process = start(run, stdout=terminal, stderr=terminal)
    os.close(terminal)
    wait_for(lambda: "iteration" in os.read(screen, 4096).decode(errors="replace"))
    process.send_signal(signal.SIGINT)
    rest = b""
    while b"killed (exit code 130)" not in rest:
        rest += os.read(screen, 4096)
    assert process.wait(PATIENCE_S) == 130
    os.close(screen)


def test_a_signal_after_the_end_of_the_worker_does_not_hide_how_it_ended(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    with (tmp_path / "lock").open("w") as lock:
        supervisor = supervise._Supervisor(run, Screen(run.dir), lock)
        worker = supervisor.worker = subprocess.Popen(["true"])
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        supervisor._on_signal(signal.SIGTERM, None)
        assert supervisor._wait(worker) == 0


@pytest.mark.usefixtures("hangup")
def test_a_closed_terminal_stops_neither_run_nor_record(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    screen, terminal = pty.openpty()
    process = start(run, stdout=terminal, stderr=terminal)
    os.close(terminal)
    wait_for(lambda: "iteration" in os.read(screen, 4096).decode(errors="replace"))
    os.close(screen)
    wait_for(lambda: (run.dir / "progress.json").stat().st_mtime > (run.dir / "run.json").stat().st_mtime + 1)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE_S) == 129
    assert (run.status, recorded(run)["exit_code"]) == ("killed", 129)
    assert_names(recorded(run)["reason"], "SIGHUP", "checkpoint", f"step {(run.checkpoints / 'last.pt').read_text()}")


def test_no_second_worker_while_an_orphan_saves(tmp_path: Path) -> None:
    run = make_run(tmp_path, "save_slowly")
    process = start(run)
    worker_pid(run)
    killed = time.monotonic()
    process.kill()
    process.communicate()
    second = start(run)
    assert_names(said(second), run.id, "worker")
    assert second.returncode == 2
    saved_s = time.monotonic() - killed
    (run.dir / "enough").touch()
    wait_for(lambda: run.status == "killed" and recorded(run)["artifacts"])
    assert [a["path"] for a in recorded(run)["artifacts"]] == ["saved.txt"]
    assert recorded(run)["wall_s"] > saved_s
    assert_names(recorded(run)["reason"], "supervisor", "killed", "step")
    assert "SIGTERM" not in recorded(run)["reason"] and recorded(run)["signal"] is None


def test_a_crash_after_the_result_is_a_warning(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish_and_crash")
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"], info["headline"]) == ("finished", 0, {"return": 1.0})
    assert_names(info["reason"], "warning", "SIGSEGV")


def test_a_crash_after_a_stop_leaves_the_preemption_and_its_checkpoint(tmp_path: Path) -> None:
    run = make_run(tmp_path, "stop_and_crash")
    info, _ = started_and_stopped(run, signal.SIGUSR2)
    assert (info["status"], info["exit_code"], info["signal"]) == ("preempted", 75, signal.SIGUSR2)
    assert_names(info["reason"], "SIGUSR2", "checkpoint", "SIGSEGV")


def test_a_crash_after_an_error_leaves_that_error(tmp_path: Path) -> None:
    run = make_run(tmp_path, "diverge_and_crash")
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("diverged", 3)
    assert_names(info["reason"], "net.0.weight", "SIGSEGV")


def test_the_check_of_inputs_has_heartbeats_and_a_signal_ends_it_without_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path, "finish")
    read_on: list[bool] = []

    def read(*_: object, since: str | None = None, **__: object) -> None:
        if since is not None:  # for the advice at the end
            return
        os.utime(run.dir / ".supervisor", (0, 0))
        wait_for(lambda: lock.seconds_since_heartbeat(run.dir) < 60)
        os.kill(os.getpid(), signal.SIGTERM)
        read_on.append(True)

    monkeypatch.setattr(lock, "HEARTBEAT_S", 0.01)
    monkeypatch.setattr(supervise.inputs, "require_unchanged", read)
    assert supervise.supervise(run) == 143
    info = recorded(run)
    assert (info["status"], info["exit_code"], info["signal"]) == ("killed", 143, signal.SIGTERM)
    assert not read_on and not (run.logs / "worker.log").exists()


def test_a_queued_run_without_its_copy_of_the_code_is_refused_and_can_take_the_present_code(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", "finish")
    change(run.dir, status="queued", code=str(tmp_path / "gone"))
    info, _ = ended(start(run), run)
    assert (info["status"], info["exit_code"]) == ("failed", 2)
    assert_names(info["reason"], tmp_path / "gone")
    assert_names(info["error"]["message"], tmp_path / "gone", f"resume={run.id}")
    info, screen = ended(start(run), run)
    assert info["status"] == "finished", screen
    assert Path(info["code"]).is_relative_to(tmp_path / "runs")


def test_the_next_command_says_which_task_of_gymnasium(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "last.pt").touch()
    change(run.dir, choices={"task": "gym"})
    run.config_path.write_text("env: {id: Hopper-v5}\n")
    assert "stage=evaluate task=gym env.id=Hopper-v5 policy=" in outcome.next_command(run, Status.FINISHED, 0)
    run.config_path.write_text("env: {robot: k1}\n")
    assert "stage=evaluate task=gym policy=" in outcome.next_command(run, Status.FINISHED, 0)


def test_the_next_command_has_what_was_typed_about_the_task(tmp_path: Path) -> None:
    run = make_run(tmp_path, "finish")
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "last.pt").touch()
    task = [
        "env.id=Isaac-Ant",
        "env.physics=newton_mjwarp",
        "env.isaac.events.push=null",
        "hardware.interpreters.a=/b c",
    ]
    typed = ["task=isaaclab", *task, "env.num_envs=64", "agent=rsl_rl_ppo", "agent.max_iterations=2", "seed=3"]
    argv = ["launch.py", "--config-dir", "my_conf", *typed]
    change(run.dir, choices={"task": "isaaclab"}, overrides=typed, argv=argv)
    run.config_path.write_text("env: {id: Isaac-Ant}\n")
    words = shlex.split(outcome.next_command(run, Status.FINISHED, 0))
    assert words[:3] == ["python", "launch.py", "stage=evaluate"] and words[-1].startswith("policy=")
    assert words[3:5] == ["--config-dir", "my_conf"]
    assert sorted(words[5:-1]) == sorted(["task=isaaclab", *task])
    change(run.dir, overrides=["experiment=walk", "sim=isaaclab", "+env.more=1"], argv=["launch.py"])
    words = shlex.split(outcome.next_command(run, Status.FINISHED, 0))
    assert set(words[3:-1]) == {"experiment=walk", "task=isaaclab", "env.id=Isaac-Ant", "sim=isaaclab", "+env.more=1"}


@pytest.mark.parametrize(
    ("agent", "stage", "given"),
    [
        ("bc.Bc", "evaluate", "policy="),
        ("vintix.Vintix", "in_context", "policy="),
        ("failure_detector.FailureGru", "evaluate", "estimator="),
    ],
)
def test_the_next_command_after_a_distillation_is_what_its_agent_can_do(tmp_path, agent, stage, given):
    run = make_run(tmp_path, "finish")
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "last.pt").touch()
    change(run.dir, choices={"task": "reach"}, stage="distill")
    run.config_path.write_text(f"env: {{robot: k1}}\nagent: {{_target_: regimen.agents.{agent}}}\n")
    told = outcome.next_command(run, Status.FINISHED, 0)
    assert f"stage={stage} " in told and given in told


def test_signals_without_a_name_and_names_with_spaces(tmp_path: Path) -> None:
    run = make_run(tmp_path / "my runs", "finish")
    assert_names(outcome.judge(run, -40).reason, "signal 40")
    assert "/my runs/" in outcome.next_command(run, Status.KILLED, 143).split("resume=")[1].strip("'")
    assert outcome.next_command(run, Status.KILLED, 143).endswith("'")


def test_signals_ignored_on_purpose_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals.handled(signals.leave):
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGUSR2) is signals.leave
        assert signal.getsignal(signal.SIGUSR2) is not signals.leave
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_before_the_supervisor_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_lab(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(supervise, "supervise", lambda run: os.kill(os.getpid(), signal.SIGTERM))
    assert launch(["--config-dir", "conf", "task=idle", "sim=idle", "agent=idle", "stage=act"], CONF) == 143
    (run,) = (tmp_path / "outputs").iterdir()
    info = recorded(supervise.Run.open(run))
    assert (info["status"], info["exit_code"]) == ("killed", 143)
    assert_names(info["reason"], "SIGTERM", "started")


@pytest.mark.parametrize("kind", ["RunReferenceError", "ReferenceError_"])
def test_a_wrong_reference_is_bad_input_under_its_name_of_version_0_1_too(tmp_path: Path, kind: str) -> None:
    run = make_run(tmp_path, "finish")
    files.write_json(run.logs / "error.json", {"kind": kind, "message": "no such run"})
    assert outcome.judge(run, 1).exit_code == outcome.EXIT_BAD_INPUT


def test_the_end_is_told_though_the_directory_is_gone(tmp_path: Path) -> None:
    run = make_run(tmp_path, "loop")
    process = start(run)
    os.kill(worker_pid(run), signal.SIGSTOP)
    pid = worker_pid(run)
    shutil.rmtree(run.dir)
    os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out
    last = out.strip().splitlines()[-1]
    assert last.startswith("killed (exit code 137)") and process.returncode == 137
    assert_names(last, run.id, "directory")
    assert not run.dir.exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run.json", "config.yaml"])
@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
def test_the_record_is_written_anew_if_it_was_lost(tmp_path: Path, name: str, content: bytes | None) -> None:
    run = make_run(tmp_path, "loop")
    before = recorded(run)
    process = start(run)
    pid = worker_pid(run)
    (run.dir / name).unlink()
    if content is not None:
        (run.dir / name).write_bytes(content)
    os.kill(pid, signal.SIGKILL)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out and out.strip().splitlines()[-1].startswith("killed (exit code 137)")
    after = recorded(run)
    assert (after["status"], after["exit_code"]) == ("killed", 137)
    assert after["argv"] == before["argv"] and after["choices"] == before["choices"]


@pytest.mark.slow
def test_a_stuck_worker_is_killed_after_a_time_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sitecustomize.py").write_text("import regimen.runs.timeouts as t\nt.STUCK_S = 2.0\n")
    monkeypatch.setitem(ENV, "PYTHONPATH", os.pathsep.join([str(tmp_path), ENV["PYTHONPATH"]]))
    run = make_run(tmp_path / "outputs", "loop")
    process = start(run)
    os.kill(worker_pid(run), signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    out = said(process)
    assert_names(out.partition("killed (exit code")[0], "stopping", "2.0 s")
    assert_names(recorded(run)["reason"], "no sign of work", "SIGTERM", "SIGKILL")
    assert process.returncode == 137


@pytest.mark.slow
def test_the_supervisor_stays_small_whatever_the_worker_prints(tmp_path: Path) -> None:
    run = make_run(tmp_path, "flood")
    process, peak = start(run, stdout=subprocess.DEVNULL), 0
    status = Path("/proc", str(process.pid), "status")
    while process.poll() is None:
        with suppress(OSError, StopIteration):
            line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
            peak = int(line.split()[1])
        time.sleep(0.02)
    assert recorded(run)["status"] == "finished"
    assert (run.logs / "worker.log").stat().st_size > 400 * 2**20
    assert 0 < peak < 100 * 2**10, f"{peak} KiB"
    print(f"peak of the supervisor: {peak / 2**10:.0f} MiB")


def test_silence_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    run = make_run(Path("outputs"), "ignore_signals")
    process = start(run)
    progress = run.dir / "progress.json"
    wait_for(progress.exists)
    for age, shown in ((5, "ago"), (725, "no progress for 12 min")):
        os.utime(progress, (time.time() - age,) * 2)
        main.main(["show", run.id])
        assert shown in capsys.readouterr().out.splitlines()[1]
    main.main(["runs"])
    assert_names(capsys.readouterr().out, "no progress for 12 min")
    monkeypatch.setattr(console, "LIVE_INTERVAL_S", 0.0)
    console.Screen(run.dir).refresh()
    assert_names(capsys.readouterr().out, "no progress for 12 min")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
    said(process)
