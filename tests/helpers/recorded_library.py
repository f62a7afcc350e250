"""An interpreter that has a library by its metadata only, and whose reader returns recorded documents."""

from __future__ import annotations

from pathlib import Path

from regimen.envs.foreign.library import Library

SCRIPT = """#!/bin/sh
echo "$5 $6" >> {log}
case "$5" in
index) cat {recorded}/index.json ;;
config) cat "{recorded}/$6.json" ;;
agent) cat "{recorded}/$6@$7.json" ;;
esac
"""


def recorded_interpreter(folder: Path, library: Library, recorded: Path) -> Path:
    """Write the interpreter into `folder`; return its path. `asked` beside it has a line for each question."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(SCRIPT.format(log=folder / "asked", recorded=recorded))
    python.chmod(0o755)
    (folder / "pyvenv.cfg").write_text("")
    packages = folder / "lib" / "python3.11" / "site-packages"
    for name, begin in library.needed.items():
        (packages / f"{name.replace('-', '_')}-{begin}.0.dist-info").mkdir(parents=True)
    return python


def asked(folder: Path) -> list[str]:
    """Return the questions of an interpreter of `recorded_interpreter`, such as `config <id>`."""
    log = folder / "asked"
    return [line.strip() for line in log.read_text().splitlines()] if log.exists() else []
