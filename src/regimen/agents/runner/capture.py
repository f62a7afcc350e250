"""The state of any object as plain data: what a training needs to continue exactly, whatever its agent holds.

A checkpoint of rl_games lacks the generators, the adaptive learning rate, meters, replay rings and permutations. Here
the attributes of the agent are walked instead, so that agents of users are saved as well. Modules, optimisers and
objects with `state_dict` give that and their other attributes; numbers, text, tensors, arrays, generators and
containers are copied; members of enumerations give their names; other objects give their attributes. Functions,
classes and devices are no state.
"""

from __future__ import annotations

import copy
import enum
import random
import types
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch
from torch import nn

from regimen.system.errors import CheckpointError

SCALARS = (bool, int, float, str, bytes, type(None))
CONSTANT = (
    torch.device, torch.dtype, torch.Size, np.dtype, type, range, types.ModuleType, types.FunctionType,
    types.BuiltinFunctionType, types.MethodType, types.BuiltinMethodType,
)  # fmt: skip
CONTAINERS: dict[str, Any] = {"list": list, "tuple": tuple, "deque": deque, "set": set}
MODULE_INTERNALS = set(vars(nn.Module()))
Saved = tuple[Any, ...]
"""Kind of a value and its content."""


class Capture:
    """The state of one object.

    Attributes:
        omitted: dotted names of attributes that could not be saved.
    """

    def __init__(
        self,
        skip: Collection[str],
        external: Collection[object],
        skip_in: Collection[str] = (),
        library: str = "",
    ) -> None:
        """Prepare a walk.

        Args:
            skip: names of attributes that are no state, at any depth.
            external: objects that are saved elsewhere, such as the environment.
            skip_in: names of attributes that are no state in objects of classes of `library`, their subclasses
                included; in others, attributes of these names are saved.
            library: name of a package.
        """
        self._skip_in, self._library = set(skip_in), library
        self.skip, self.omitted = set(skip), list[str]()
        self._tolerates_absent = False
        self._external = {id(item) for item in external}
        self._seen: dict[int, object] = {}

    def save(self, holder: object) -> dict[str, Saved]:
        """Return the attributes of an object: name -> saved value."""
        self.omitted.clear()
        self._seen = {id(holder): holder}
        for name in self._no_state(holder):  # nor are they where another object holds them
            if not isinstance(value := getattr(holder, name, None), (*SCALARS, tuple)):
                self._seen[id(value)] = value
        return self._attributes(holder, type(holder).__name__)

    def load(self, holder: object, saved: dict[str, Saved], tolerate_absent: bool = False) -> None:
        """Restore `save` into an object that was constructed in the same way.

        Tensors of the same shape, modules, optimisers and objects keep their identity.

        Args:
            holder: the object.
            saved: its state.
            tolerate_absent: whether objects that `holder` does not have are left out, as in an agent that only plays,
                whose `init_tensors` was not called.

        Raises:
            CheckpointError: naming an attribute that the object does not have, or whose type differs.
        """
        self._tolerates_absent = tolerate_absent
        self._load(holder, saved)

    def _load(self, holder: object, saved: dict[str, Saved]) -> None:
        for name, value in saved.items():
            where = f"{type(holder).__name__}.{name}"
            _assign(holder, name, self._restored(getattr(holder, name, None), value, where))

    def _no_state(self, holder: object) -> set[str]:
        """Return the names of attributes of an object that are no state."""
        tops = {kind.__module__.partition(".")[0] for kind in type(holder).__mro__}
        return self.skip | self._skip_in if self._library in tops else self.skip

    def _attributes(self, holder: object, where: str, names: Collection[str] | None = None) -> dict[str, Saved]:
        saved: dict[str, Saved] = {}
        held = {name: getattr(holder, name) for name in _names(holder) if hasattr(holder, name)}
        no_state = self._no_state(holder)
        for name, value in held.items():
            if name in no_state or (names is not None and name not in names):
                continue
            part = self._saved(value, f"{where}.{name}")
            if part is not None:
                saved[name] = part
        return saved

    def _saved(self, value: Any, where: str) -> Saved | None:
        """Return a value as plain data, None for what is no state or is saved elsewhere."""
        if isinstance(value, enum.Flag):
            return ("flag", value.value)
        if isinstance(value, enum.Enum):
            return ("enum", value.name)
        if isinstance(value, SCALARS) and type(value).__module__ != "numpy":
            return ("value", value)
        if isinstance(value, torch.Tensor):
            return ("tensor", value.detach().clone())
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, where)
        if isinstance(value, CONSTANT) or id(value) in self._external:
            return None
        if _is_frozen(value):
            return ("frozen", self._attributes(value, where)) if id(value) not in self._seen else None
        if not isinstance(value, tuple):
            if id(value) in self._seen:
                return None
            self._seen[id(value)] = value
        for kind, container in CONTAINERS.items():
            if isinstance(value, container):
                items = sorted(value, key=repr) if kind == "set" else value
                return (kind, [self._saved(item, f"{where}[{index}]") for index, item in enumerate(items)])
        if isinstance(value, dict):
            if not all(map(_plain, value)):
                self.omitted.append(f"{where} (keys)")
            pairs = [(key, item) for key, item in value.items() if _plain(key)]
            return ("mapping", [[key, self._saved(item, f"{where}[{key}]")] for key, item in pairs])
        if isinstance(value, torch.Generator):
            return ("tensor", value.get_state())
        if isinstance(value, np.random.Generator):
            return ("value", value.bit_generator.state)
        if type(value) is random.Random:
            return ("random", value.getstate())
        if isinstance(value, nn.Module):
            return self._module(value, where)
        if callable(getattr(value, "state_dict", None)) and callable(getattr(value, "load_state_dict", None)):
            return ("state", value.state_dict())
        if _names(value) and not hasattr(value, "__next__"):
            return ("object", self._attributes(value, where))
        if not callable(value):  # an iterator, or an object of C whose state is not visible
            self.omitted.append(where)
        return None

    def _array(self, value: np.ndarray | np.generic, where: str) -> Saved | None:
        try:
            return ("array", torch.tensor(value))
        except TypeError:  # text or objects
            self.omitted.append(where)
            return None

    def _module(self, module: nn.Module, where: str) -> Saved:
        """Return parameters and buffers, and the other attributes of each submodule."""
        others: dict[str, dict[str, Saved]] = {}
        for name, part in module.named_modules():
            self._seen[id(part)] = part
            others[name] = {"training": ("value", part.training)}
            if not isinstance(part, torch.jit.ScriptModule):
                own = set(vars(part)) - MODULE_INTERNALS
                others[name] |= self._attributes(part, f"{where}.{name}", own)
        state = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}
        return ("module", state, others)

    def _restored(self, present: Any, saved: Saved | None, where: str) -> Any:
        """Return the value to assign: `present` itself with the saved content, or a new one."""
        if saved is None:
            return present
        kind, content = saved[0], saved[1]
        if kind == "value":
            if isinstance(present, np.random.Generator):
                present.bit_generator.state = content
                return present
            return content
        if kind == "tensor":
            return _tensor(present, content)
        if kind == "array":
            return content.numpy().copy()[()] if content.ndim == 0 else content.numpy().copy()
        if kind in CONTAINERS:
            return self._items(present, kind, content, where)
        if kind in ("mapping", "dict"):
            return self._dict(present, content, where, _plain if kind == "mapping" else _is_scalar)
        if not _has_kind(present, kind):
            if self._tolerates_absent:
                return present
            raise CheckpointError(
                f"{where} holds an object in the checkpoint, and none in a new agent: create it in `__init__` or in "
                "`init_tensors`, so that a resumed training has it."
            )
        if kind in ("enum", "flag"):
            return _member(type(present), content, where)
        if kind == "random":
            present.setstate(content)
        elif kind == "frozen":
            return self._frozen(present, content, where)
        elif kind == "state":
            present.load_state_dict(content)
        elif kind == "module":
            self._load_module(present, content, saved[2], where)
        else:
            self._load(present, content)
        return present

    def _load_module(self, module: nn.Module, state: dict[str, Any], others: dict[str, Any], where: str) -> None:
        buffers = dict(module.named_buffers())
        for name, tensor in state.items():  # a meter grows a dimension with its first value
            if name in buffers and buffers[name].shape != tensor.shape:
                holder = module.get_submodule(name.rpartition(".")[0])
                setattr(holder, name.rpartition(".")[2], tensor.to(buffers[name].device, copy=True))
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{where} has another architecture than in the checkpoint. {error}") from error
        for name, attributes in others.items():
            part = module.get_submodule(name)
            part.training = attributes["training"][1]
            self._load(part, {key: value for key, value in attributes.items() if key != "training"})

    def _items(self, present: Any, kind: str, content: list[Saved | None], where: str) -> Any:
        same = isinstance(present, list | tuple | deque) and len(present) == len(content)
        before = list(present) if same else [None] * len(content)
        pairs = enumerate(zip(before, content, strict=True))
        items = [self._restored(old, new, f"{where}[{index}]") for index, (old, new) in pairs]
        if isinstance(present, list | deque) and isinstance(present, CONTAINERS[kind]):
            present.clear()
            present.extend(items)
            return present
        if isinstance(present, CONTAINERS[kind]):
            return type(present)(*items) if hasattr(present, "_fields") else type(present)(items)
        return CONTAINERS[kind](items)

    def _frozen(self, present: Any, content: dict[str, Saved], where: str) -> Any:
        """Return a copy of `present` with the saved fields, `present` itself where they are equal."""
        changed: dict[str, Any] = {}
        for name, saved in content.items():
            before = getattr(present, name, None)
            if saved[0] == "tensor" and isinstance(before, torch.Tensor):
                if before.shape == saved[1].shape and torch.equal(before, saved[1].to(before.device)):
                    continue
                changed[name] = saved[1].to(before.device, copy=True)  # others may hold the tensor of `present`
                continue
            value = self._restored(before, saved, f"{where}.{name}")
            if value is not before and not (isinstance(value, SCALARS) and value == before):
                changed[name] = value
        if not changed:
            return present
        made = copy.copy(present)
        for name, value in changed.items():
            object.__setattr__(made, name, value)
        return made

    def _dict(self, present: Any, content: list[Any], where: str, savable: Callable[[object], bool]) -> Any:
        before = present if isinstance(present, dict) else {}
        restored = {key: self._restored(before.get(key), value, f"{where}[{key}]") for key, value in content}
        if not isinstance(present, dict):
            return restored
        for key in [key for key in present if savable(key)]:
            del present[key]
        present.update(restored)
        return present


def _names(holder: object) -> list[str]:
    slots = [name for kind in type(holder).__mro__ for name in getattr(kind, "__slots__", ())]
    return [*getattr(holder, "__dict__", {}), *(s for s in slots if isinstance(s, str) and not s.startswith("__"))]


def _is_frozen(value: object) -> bool:
    """Whether an object is a dataclass whose fields cannot change: settings, not state."""
    return bool(getattr(getattr(type(value), "__dataclass_params__", None), "frozen", False))


def _is_scalar(key: object) -> bool:
    return isinstance(key, SCALARS)


def _plain(key: object) -> bool:
    """Whether a key is saved: numbers, text, and tuples of them."""
    return all(map(_plain, key)) if type(key) is tuple else isinstance(key, SCALARS) and not isinstance(key, enum.Enum)


def _has_kind(present: object, kind: str) -> bool:
    """Whether a value can take the content that was saved of another one."""
    expected: dict[str, type] = {"enum": enum.Enum, "flag": enum.Flag, "random": random.Random}
    if kind in expected:
        return isinstance(present, expected[kind])
    return _is_frozen(present) if kind == "frozen" else present is not None and not isinstance(present, SCALARS)


def _member(kind: Any, saved: Any, where: str) -> Any:
    try:
        return kind(saved) if issubclass(kind, enum.Flag) else kind[saved]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{where} is {saved} in the checkpoint, which {kind.__name__} does not have.") from error


def _assign(holder: object, name: str, value: Any) -> None:
    if getattr(holder, name, None) is not value:
        setattr(holder, name, value)


def _tensor(present: Any, saved: torch.Tensor) -> Any:
    if isinstance(present, torch.Generator):
        present.set_state(saved.cpu())
        return present
    if not isinstance(present, torch.Tensor):
        return saved.clone()
    if present.shape == saved.shape and present.dtype == saved.dtype:
        with torch.no_grad():
            present.copy_(saved)
        return present
    return saved.to(present.device, copy=True).requires_grad_(present.requires_grad and saved.is_floating_point())
