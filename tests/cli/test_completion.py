"""Completion as a shell does it: what is typed up to TAB leads to what the shell then offers."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import assert_names
from helpers.recorded_runs import record_run
from helpers.subprocesses import PATIENCE_S
from regimen.cli import completion_words, main

ROOT = Path(__file__).resolve().parents[2]
BREAKS = " \t\n\"'@><=;|&(:"
"""Bash's own COMP_WORDBREAKS."""


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    outputs = tmp_path / "outputs"
    record_run(outputs, "20260101-100000-reach-a", "best", "last", "step_000000480", name="walker", tags=["paper"])
    record_run(outputs, "20260102-100000-reach-b", name="walking", status="killed", headline={"falls": 1.0})
    record_run(outputs, "20260103-100000-reach-c", name="bad name; rm", status="failed")
    (outputs / "20260101-100000-reach-a" / "data").mkdir()
    (outputs / "20260101-100000-reach-a" / "data" / "episodes.h5").touch()
    record_run(tmp_path / "multirun" / "sweep1", "sweep1.000")
    (tmp_path / "multirun" / "sweep1" / "sweep.json").write_text("{}")
    (tmp_path / "launch.py").symlink_to(ROOT / "launch.py")
    return tmp_path


CASES = [
    ("regimen sh", ["show"]),
    ("regimen runs st", ["stage=", "status=", "step="]),
    ("regimen runs status=k", ["status=killed"]),
    ("regimen runs task=h1_failure,rea", ["task=h1_failure,reach"]),
    ("regimen runs name!=walke", ["name!=walker"]),
    ("regimen runs tag=", ["tag=paper"]),
    ("regimen clean sweep=", ["sweep=sweep1"]),
    ("regimen runs --sort -fa", ["-falls"]),
    ("regimen clean --y", ["--yes"]),
    ("regimen show walk", ["walker", "walking"]),
    ("regimen show bad", []),
    ("regimen gate walker --re", ["--require"]),
    ("regimen verify walker --r", ["--record"]),
    ("regimen compare --pa", ["--paired"]),
    ("regimen diff walker 20260102", ["20260102-100000-reach-b"]),
    ("regimen tag walker pa", ["paper"]),
    ("regimen list st", ["stages"]),
    ("regimen completion z", ["zsh"]),
    ("regimen publish walker@b", ["walker@best"]),
    ("python launch.py task=h1_f", ["task=h1_failure", "task=h1_flat"]),
    ("regimen launch task=h1_f", ["task=h1_failure", "task=h1_flat"]),
    ("regimen launch --config", ["--config-dir"]),
    ("./launch.py -m agent=skrl", ["agent=skrl_ppo"]),
    ("python launch.py policy=walker@", ["policy=walker@480", "policy=walker@best", "policy=walker@last"]),
    ("python launch.py policy=pretrained:h1", ["policy=pretrained:h1_flat", "policy=pretrained:h1_healthy"]),
    ("python launch.py resume=walk", ["resume=walking"]),
    ("python launch.py data=walk", ["data=walker"]),
    ("python launch.py data=[walker,wal", ["data=[walker,walker"]),
    ("python launch.py sweep=", ["sweep=multirun/sweep1"]),
    ("python launch.py dry", ["dry_run="]),
    ("python launch.py dry_run=", ["dry_run=false", "dry_run=true"]),
    ("OMP_NUM_THREADS=1 python -u launch.py task=rea", ["task=reach"]),
    ("python other.py task=", []),
]


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_candidates(line: str, expected: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("h1_flat", "h1_healthy"):
        (tmp_path / "shipped" / name).mkdir(parents=True)
        (tmp_path / "shipped" / name / "policy.pt").touch()
    monkeypatch.setattr(completion_words, "pretrained_folders", lambda: [tmp_path / "shipped"])
    assert completion_words.complete(line) == expected
    word = line.split(" ")[-1]
    cut = max(word.rfind("=") + 1, word.rfind(":") + 1, word.rfind("@"))
    assert completion_words.complete(line, BREAKS) == [word[cut:] for word in expected]


def in_bash(line: str, command: str) -> list[str]:
    """What bash offers after `line`, by calling the function it has for `command` as readline does."""
    script = f"""
        eval "$(regimen completion bash)"
        compopt() {{ :; }}  # readline's own, for the word being completed
        COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}; COMP_POINT={len(line)}
        read -ra COMP_WORDS <<< "$COMP_LINE"
        spec=$(complete -p {command})
        [[ $spec =~ -F\\ ([a-z_]+) ]] && "${{BASH_REMATCH[1]}}" {command}
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.split()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "command", "expected"),
    [
        ("regimen show walk", "regimen", ["walker", "walking"]),
        ("regimen runs status=ki", "regimen", ["killed"]),
        ("python launch.py task=rea", "python", ["reach"]),
        ("python3 ./launch.py policy=walker@be", "python3", ["@best"]),
        ("./launch.py resume=walki", "launch.py", ["walking"]),
        ("python script.py wal", "python", []),
    ],
)
def test_bash(line: str, command: str, expected: list[str]) -> None:
    assert in_bash(line, command) == expected


@pytest.mark.parametrize(
    ("typed", "becomes"),
    [
        ("regimen show walki", "regimen show walking "),
        pytest.param("regimen runs stat", "regimen runs status=", marks=pytest.mark.slow),
        pytest.param(
            *("python launch.py policy=walker@be", "python launch.py policy=walker@best "), marks=pytest.mark.slow
        ),
        pytest.param(
            *("python launch.py policy=pretrained:go2_f", "python launch.py policy=pretrained:go2_flat "),
            marks=pytest.mark.slow,
        ),
    ],
)
@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_tab_in_an_interactive_shell(shell: str, typed: str, becomes: str, tmp_path: Path) -> None:
    """A real shell on a terminal: TAB, then a key that makes it print its line."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not installed")
    line = tab(shell, typed, tmp_path)
    assert line == becomes


def tab(shell: str, typed: str, home: Path) -> str:
    """Return the line of an interactive shell after TAB."""
    import pty
    import select
    import time

    dump = {
        "bash": "dump() { printf '<%s>' \"$READLINE_LINE\"; }; bind -x '\"\\C-t\": dump'",
        "zsh": "dump() { print -rn -- \"<$BUFFER>\" }; zle -N dump; bindkey '^T' dump; bindkey '^I' complete-word",
    }[shell]
    start = f'{"autoload -Uz compinit; compinit -u; " if shell == "zsh" else ""}eval "$(regimen completion {shell})"'
    (home / ".zshrc").write_text("")
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "TERM": "dumb",
    }
    env |= {"ZDOTDIR": str(home), "PS1": "$ "}
    arguments = ["bash", "--norc", "-i"] if shell == "bash" else ["zsh", "-f", "-i"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(arguments[0], arguments, env)
    said = ""
    try:
        for keys, wait_for in ((f"{start}; {dump}; echo rea''dy\n", "ready\r"), (f"{typed}\t\x14", ">")):
            patience = time.monotonic() + PATIENCE_S
            os.write(terminal, keys.encode())
            seen = ""
            while time.monotonic() < patience and wait_for not in seen:
                if select.select([terminal], [], [], 0.1)[0]:
                    seen += os.read(terminal, 65536).decode(errors="replace")
            said += seen
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)
    found = re.findall(r"<([^<>]*)>", said)
    return found[-1] if found else said


def cpu_s(*arguments: str) -> float:
    """CPU seconds that a Python takes, in the best of three attempts."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def test_an_answer_takes_less_than_a_blink() -> None:
    """0.3 s where a Python that does nothing takes 0.01 s, and more where everything takes more."""
    assert cpu_s("-m", "regimen.cli.main", "completion", "words", "regimen show ") < 30 * cpu_s("-c", "pass")


def test_flags_are_those_of_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, flags in completion_words.FLAGS.items():
        if verb in main.VERBS:
            with pytest.raises(SystemExit):
                main.main([verb, "--help"])
            said = set(re.findall(r"(?<![\w-])--[a-z-]+", capsys.readouterr().out))
            assert said - {"--help"} == set(flags), verb


def test_scripts_and_mistakes(capsys: pytest.CaptureFixture[str]) -> None:
    for shell, registers in (("bash", "complete"), ("zsh", "compdef")):
        assert main.main(["completion", shell]) == 0
        assert_names(capsys.readouterr().out, registers, "regimen completion words", "launch.py")
    assert main.main(["completion", "zhs"]) == 2
    assert_names(capsys.readouterr().err, "zhs", "zsh")
    assert main.main(["completion", "words", "regimen list", ""]) == 0
