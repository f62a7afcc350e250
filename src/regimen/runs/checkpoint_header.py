"""Plain values of a checkpoint, read without torch.

A checkpoint is a zip whose pickle holds the plain values and only refers to the tensors: the plain values can be read
alone.
"""

from __future__ import annotations

import collections
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, TypedDict, cast

from regimen.system.errors import CheckpointError
from regimen.system.file_kinds import ZIP, this_is
from regimen.system.files import open_regular

BEST_JUDGED = "best_judged.pt"
"""Name of the checkpoint that was judged best, of a training with `stage.evaluation.every`."""

StateDict = dict[str, Any]
"""Tensors and plain values by name, nested in dicts, lists and tuples: all that a checkpoint can hold."""


class PolicyBundle(TypedDict, total=False):
    """Content of a checkpoint with a policy, an estimator or an encoder; each agent writes the parts that it has.

    Attributes:
        format: version of the file format.
        run: id of the run.
        step: env steps of each env, optimiser steps or batches.
        metric: by which `best.pt` is chosen; higher is better.
        samples: env steps of all envs of a training.
        agent: plain section of the agent; its `_target_` names the class that loads the policy.
        io: `IOSpec.to_dict` of the policy.
        ios: the same for each group of tasks of a model of several.
        faults: joints that failed in the training.
        ground: kinds of uneven ground in the training.
        policy: weights, in the keys of the agent.
        detector: `classes`, `group` and `network` of a failure detector.
        encoder: `EncoderDescription` and `network` of an image encoder.
        training: all else that a resumed training needs.
        adopted: origin of a policy that `regimen adopt` made of a library's checkpoint.
    """

    format: int
    run: str | None
    step: int | None
    metric: float | None
    samples: int
    agent: StateDict
    io: StateDict
    ios: list[StateDict]
    faults: list[str]
    ground: list[str]
    policy: StateDict
    detector: StateDict
    encoder: StateDict
    training: StateDict
    adopted: StateDict


LIBRARIES = {"rsl_rl": "rsl_rl_ppo", "skrl": "skrl_ppo", "rl_games": "rl_games"}
"""Library whose checkpoints become policies by `regimen adopt` -> the agent to type for it."""

OF_RSL_RL = {"model_state_dict", "actor_state_dict"}
OF_RL_GAMES = {"epoch", "frame", "last_mean_rewards", "env_state", "critic_target"}
OF_SKRL = {"value", "optimizer", "policy_optimizer", "critic_1", "target_policy", "observation_preprocessor"}
"""Keys of what a library saves: each of rsl_rl's; of rl_games beside `model` or `actor`; of skrl beside `policy`."""


class ForeignError(CheckpointError):
    """A checkpoint that a library itself wrote.

    Attributes:
        library: one of `LIBRARIES`.
    """

    def __init__(self, message: str, library: str) -> None:
        super().__init__(message)
        self.library = library


class _Absent:
    """Placeholder of a tensor."""

    def __init__(self, *args: Any) -> None:
        pass


class _Opaque(_Absent):
    """Placeholder of any object: its state and its items are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _PlainReader(pickle.Unpickler):
    """Reads the plain values of a checkpoint; every class of torch becomes `_Absent`, any other is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module.split(".")[0] == "torch":
            return _Absent
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a checkpoint")

    def persistent_load(self, pid: Any) -> Any:
        return _Absent()


class _KeysReader(_PlainReader):
    """Reads the keys of a checkpoint; every class becomes `_Opaque`, so that nothing of the file runs."""

    def find_class(self, module: str, name: str) -> Any:
        return collections.OrderedDict if (module, name) == ("collections", "OrderedDict") else _Opaque


def read_plain(path: Path) -> PolicyBundle:
    """Return a checkpoint's plain values, its tensors left out.

    Args:
        path: file written by `regimen.runs.checkpoint.save`.

    Raises:
        CheckpointError: the file is not such a checkpoint.
    """
    bundle = _read(path)
    require_regimen_checkpoint(path, bundle)
    if not isinstance(bundle, dict) or "io" not in bundle:
        raise CheckpointError(f"{path} is not a checkpoint of this launcher: it does not say what its policy reads.")
    return cast(PolicyBundle, bundle)


def restores_envs(path: Path) -> bool:
    """Return whether a checkpoint holds the complete state of its envs; True for one without envs.

    Args:
        path: checkpoint of a run that is to be resumed.

    Raises:
        CheckpointError: the file is not a checkpoint, or damaged.
    """
    bundle = _read(path)
    part = (bundle.get("training") or bundle.get("collect")) if isinstance(bundle, dict) else None
    if not isinstance(part, dict):
        return True
    envs = part.get("env")  # a checkpoint of version 0.1 has no `restores_envs`
    return bool(part.get("restores_envs", not (isinstance(envs, dict) and envs.get("envs", True) is None)))


def _read(path: Path) -> Any:
    """Return the plain content of a checkpoint."""
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            name = next(n for n in archive.namelist() if n.endswith("/data.pkl"))
            return _PlainReader(io.BytesIO(archive.read(name))).load()
    except Exception as error:  # of a damaged pickle: anything
        if library := library_of_file(path):  # one that keeps other objects beside its tensors
            raise _foreign(path, library) from error
        kind = this_is(path, ZIP) or f"{error or 'It has no data'}."
        raise CheckpointError(f"{path} is not a checkpoint of this launcher. {kind.strip()}") from error


def library_of(content: Any) -> str | None:
    """Return which of `LIBRARIES` wrote a checkpoint, by its keys; None if it was none of them.

    Args:
        content: of the file, its tensors left out or not.
    """
    keys = set(content) if isinstance(content, dict) else set()
    if "format" in keys:  # a checkpoint of Regimen
        return None
    if keys & OF_RSL_RL:
        return "rsl_rl"
    if keys & {"model", "actor"} and keys & OF_RL_GAMES:
        return "rl_games"
    return "skrl" if isinstance(content, dict) and "policy" in keys and keys & OF_SKRL else None


def library_of_file(path: Path) -> str | None:
    """Return which of `LIBRARIES` wrote a file, without running what is in it; None if that cannot be seen.

    Args:
        path: any file.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            return library_of(_KeysReader(io.BytesIO(archive.read(name))).load())
    except Exception:  # of a damaged pickle: anything
        return None


def require_regimen_checkpoint(path: Path, bundle: Any) -> None:
    """Raise if a file was saved by one of `LIBRARIES`.

    Raises:
        ForeignError: with the command that makes a policy of it.
    """
    if library := library_of(bundle):
        raise _foreign(path, library)


def _foreign(path: Path, library: str) -> ForeignError:
    agent = LIBRARIES[library]
    raw = f" To evaluate it as it is: agent={agent} stage.joints=[task], or in their order"
    return ForeignError(
        f"{path} is a checkpoint of {library} itself, which does not say what it reads and which joints it moves. "
        f"Make a policy of it once: regimen adopt {path} --joints <their order, or task> agent={agent} task=<task>."
        + (raw if library == "rsl_rl" else ""),
        library,
    )
