"""Work that is done as soon as torch is loaded: a stage that does not use torch does not wait for its import."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"


def when_loaded(call: Callable[[ModuleType], object]) -> None:
    """Call a function with torch: now, or at the end of its import.

    Args:
        call: given torch; of several, the first one given is called first.
    """
    if "torch" in sys.modules:
        call(sys.modules["torch"])
        return
    waiting = next((finder for finder in sys.meta_path if isinstance(finder, _TorchFinder)), None)
    if waiting is None:
        waiting = _TorchFinder()
        sys.meta_path.insert(0, waiting)
    waiting.calls.append(call)


def postpone_compiler() -> None:
    """Let torch load its compiler where it is used, and not with the first optimizer.

    `torch.optim` imports `torch._dynamo` for every optimizer, to call `disable` and `graph_break`, which do nothing
    outside of compiled code; that import takes as long as the one of torch.
    """
    when_loaded(lambda torch: sys.modules.setdefault(COMPILER, _PostponedCompiler(COMPILER)))


class _TorchFinder(MetaPathFinder):
    def __init__(self) -> None:
        self.calls: list[Callable[[ModuleType], object]] = []

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def load_and_call(module: ModuleType) -> None:
                load(module)
                for call in self.calls:
                    call(module)

            spec.loader.exec_module = load_and_call  # type: ignore[method-assign]
        return spec


class _PostponedCompiler(ModuleType):
    """Stands for the compiler until anything else of it is asked for; then the real module takes its place."""

    def graph_break(self, msg: str = "") -> None:
        """Do nothing: no code is being compiled."""

    def disable(self, fn: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Return the function itself, which is not compiled."""
        return fn if fn is not None else _compiler().disable(fn, *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(_compiler(), name)


def _compiler() -> ModuleType:
    """Return the real module, loaded where it was not."""
    if isinstance(sys.modules.get(COMPILER), _PostponedCompiler):
        del sys.modules[COMPILER]
    return importlib.import_module(COMPILER)
