"""Before the start of a run: resolve inputs that waited for other runs, verify the checksums of all."""

from __future__ import annotations

import yaml

from regimen.runs import create
from regimen.runs.inputs import changed, put, read, resolve
from regimen.runs.run import Run
from regimen.system.errors import RunReferenceError


def resolve_pending(run: Run) -> None:
    """Resolve pending references to files; update config.yaml and run.json.

    Args:
        run: about to start; its parents have finished.

    Raises:
        RunReferenceError: a parent did not leave what is needed.
    """
    pending = run.info.get("pending") or {}
    if not pending:
        return
    config = yaml.safe_load(run.config_path.read_text())
    found = {name: resolve(name, reference) for name, reference in pending.items()}
    for name, path in found.items():
        put(config, name, path)
    info = run.info
    rows = info["inputs"] | read(found, pending)
    create.freeze(run.dir, config)
    signed = create.sign(config, {**info, "inputs": rows, "pending": {}})
    run.update(inputs=rows, pending={}, signature=signed)


def require_unchanged(run: Run, except_for: tuple[str, ...] = ()) -> None:
    """Verify that inputs are the files that the record names.

    Args:
        run: about to start or to go on.
        except_for: inputs that are not read again.

    Raises:
        RunReferenceError: naming each input that changed since.
    """
    rows = run.info.get("inputs") or {}
    if lines := [
        f"{name} ({rows[name]['path']}): {what}" for name, what in changed(run.info).items() if name not in except_for
    ]:
        raise RunReferenceError(
            f"Inputs of {run.id} are not what they were when it was created: {'; '.join(lines)}. "
            "Launch it anew to use them as they are."
        )
