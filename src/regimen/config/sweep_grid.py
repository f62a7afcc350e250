"""Jobs of a sweep: all combinations of the lists, in which those written `zip(...)` advance together.

Hydra compares values with the annotations of `zip_values`, so those of this module are not postponed.
"""

import itertools
import math
from collections.abc import Iterator
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from regimen.config.groups import GROUPS, MULTI_GROUPS
from regimen.config.hydra_adapter import WrittenText, quoted, raw_value, text_override, value_text
from regimen.config.yaml_io import flatten
from regimen.system.errors import raise_if_any


class Zip(ChoiceSweep):
    """The values of a key that advance together with those of the other `zip(...)` lists."""


def zip_values(*args: Any) -> Zip:
    """Return the values of `zip(a,b,c)` on the command line, written as in `choice(...)`.

    Raises:
        ValueError: there are no values, or a sweep other than a range.
    """
    if len(args) == 1 and isinstance(args[0], RangeSweep):
        return Zip(list=list(args[0].range()))
    if not args or any(isinstance(value, ChoiceSweep | RangeSweep) for value in args):
        raise ValueError("zip() takes plain values or one range()")
    return Zip(list=list(args))


FUNCTIONS = create_functions()
FUNCTIONS.register(name="zip", func=zip_values)
"""Functions in values of arguments: those of Hydra, and `zip`."""


def make_parser(loader: ConfigLoader | None) -> OverridesParser:
    """Return Hydra's parser of arguments with the function `zip` added."""
    return OverridesParser(FUNCTIONS, loader)


def jobs(parsed: list[Override]) -> list[list[str]]:
    """Return the arguments of every job, each combination once.

    Args:
        parsed: the arguments; mappings for one key are merged, in this order.

    Raises:
        ConfigError: a key is set twice, `zip(...)` lists differ in length, or a range needs a sweeper.
    """
    raise_if_any([_not_discrete(o) for o in parsed if o.is_sweep_override() and not o.is_discrete_sweep()])
    raise_if_any(conflicts(parsed))
    written = _different(parsed)
    lists = [value_arguments(o) for o in written]
    raise_if_any(
        [
            f"argument `{o.input_line}`: there is no value that fits."
            for o, texts in zip(written, lists, strict=True)
            if not texts
        ]
    )
    zips = [i for i, o in enumerate(written) if is_zip(o)]
    raise_if_any(_unequal([(written[i].input_line or "", len(lists[i])) for i in zips]))
    axes: list[list[dict[int, str]]] = []
    for i, texts in enumerate(lists):
        if i not in zips:
            axes.append([{i: text} for text in texts])
        elif i == zips[0]:
            axes.append([{k: lists[k][row] for k in zips} for row in range(len(texts))])
    points = [dict(itertools.chain.from_iterable(p.items() for p in parts)) for parts in itertools.product(*axes)]
    unique = dict.fromkeys(tuple(point[i] for i in range(len(lists))) for point in points)
    return [list(job) for job in unique]


def conflicts(parsed: list[Override]) -> list[str]:
    """Return a line for each two arguments of a sweep that set one key: a job has only one value of it."""
    written = _different(parsed)
    leaves = [set(_leaves(o)) for o in written]
    lines = []
    for (i, first), (k, second) in itertools.combinations(enumerate(written), 2):
        both = [a for a in leaves[i] for b in leaves[k] if f"{a}.".startswith(f"{b}.") or f"{b}.".startswith(f"{a}.")]
        if both:
            key = min(both, key=len).rstrip("/")
            advice = f"write all its values in one argument, `{key}=a,b,c`, or remove one of the two."
            lines.append(f"arguments `{first.input_line}` and `{second.input_line}` both set `{key}`: {advice}")
    return lines


def _different(parsed: list[Override]) -> list[Override]:
    """Return the arguments without exact repetitions."""
    return list({o.input_line: o for o in parsed}.values())


def _leaves(override: Override) -> Iterator[str]:
    """Yield the dotted keys that an argument sets, those of all its values; `task/` for a choice of an option."""
    value: Any = override.value()
    values: list[Any] = value.list if isinstance(value, ChoiceSweep) else [value]
    for value in values:
        if override.key_or_group in (*GROUPS, *MULTI_GROUPS) and not isinstance(value, dict):
            yield f"{override.key_or_group}/"
            continue
        yield from (leaf for leaf, _ in flatten(value, override.key_or_group))


def is_zip(override: Override) -> bool:
    """Return whether an argument was written `key=zip(...)`."""
    return isinstance(raw_value(override), Zip)


def size(parsed: list[Override]) -> int:
    """Return the number of combinations, duplicates included."""
    written = _different(parsed)
    zips = [o for o in written if is_zip(o)]
    return math.prod(len(value_arguments(o)) for o in written if o not in zips[1:])


def value_arguments(override: Override) -> list[str]:
    """Return the argument of each value, with numbers as they were written."""
    key = override.get_key_element()
    written = text_override(override.input_line or "", FUNCTIONS)
    written.config_loader = override.config_loader
    if override.is_sweep_override():
        return [f"{key}={text}" for text in written.sweep_iterator(transformer=_as_argument)]
    return [f"{key}={written.get_value_element_as_str()}"]


def _as_argument(value: Any) -> str:
    """Return a value as it is written in one argument.

    Hydra removes the quotes in `choice(...)`: '1' becomes a number, and an apostrophe is a syntax error.
    """
    text = value_text(value)
    if isinstance(value, str) and not isinstance(value, WrittenText) and _read(text) != value:
        return quoted(value)
    return text


def _read(text: str) -> Any:
    try:
        return OverridesParser.create().parse_override(f"k={text}").value()
    except HydraException:
        return None


def _unequal(lists: list[tuple[str, int]]) -> list[str]:
    """Return a line that names every list and its length, unless all are equally long.

    Args:
        lists: argument as typed, and how many values it has.
    """
    if len({count for _, count in lists}) < 2:
        return []
    lengths = ", ".join(f"`{text}` has {count}" for text, count in lists)
    return [f"lists written zip(...) advance together and must be equally long, but {lengths}."]


def _not_discrete(override: Override) -> str:
    what = f"argument `{override.input_line}`: a range of real numbers has no end of values."
    return f"{what} List some (a,b,c), or have a sweeper choose them: hydra/sweeper=optuna."
