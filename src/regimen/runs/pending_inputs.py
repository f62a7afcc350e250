"""Before the start of a run: resolve inputs that waited for other runs, verify the checksums of all."""

from __future__ import annotations

from regimen.runs import create
from regimen.runs.inputs import agent_follows_policy, agent_of, changed, put, read, resolve
from regimen.runs.record import RunRecord
from regimen.runs.run import Run
from regimen.system.errors import RunReferenceError


def resolve_pending(run: Run) -> None:
    """Resolve pending references to files; update config.yaml and run.json.

    Args:
        run: about to start; its parents have finished.

    Raises:
        RunReferenceError: a parent did not leave what is needed.
    """
    pending = run.record.pending
    if not pending:
        return
    config = run.config
    paths = {name: resolve(name, reference) for name, reference in pending.items()}
    for name, path in paths.items():
        put(config, name, path)
    entries = read(paths, pending)
    made_by = agent_of(paths["policy"]) if "policy" in paths and agent_follows_policy(config) else None
    if made_by is not None:
        config["choices"]["agent"], config["agent"] = made_by
    create.freeze(run.dir, config)

    def alter(record: RunRecord) -> None:
        record.inputs |= entries
        record.choices = config["choices"]
        record.pending = {}
        record.signature = create.sign(config, record.inputs, {}, record.code)

    run.change(alter)


def require_unchanged(run: Run, except_for: tuple[str, ...] = ()) -> None:
    """Verify that inputs are the files that the record names.

    Args:
        run: about to start or to continue.
        except_for: inputs that are not read again.

    Raises:
        RunReferenceError: naming each input that changed since.
    """
    inputs = run.record.inputs
    states = {name: state for name, state in changed(inputs).items() if name not in except_for}
    if lines := [f"{name} ({inputs[name].path}): {state}" for name, state in states.items()]:
        raise RunReferenceError(
            f"Inputs of {run.id} are not what they were when it was created: {'; '.join(lines)}. "
            "Launch a new run to use the present files."
        )
