"""Jobs of a sweep: all combinations of the lists, in which those written `zip(...)` advance together.

Hydra compares values with the annotations of `zip_values`, so those of this module are not postponed.
"""

import itertools
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from regimen.config.hydra_adapter import quoted, raw_value, value_text
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


def make_parser(loader: ConfigLoader | None) -> OverridesParser:
    """Return Hydra's parser of arguments with the function `zip` added."""
    functions = create_functions()
    functions.register(name="zip", func=zip_values)
    return OverridesParser(functions, loader)


def jobs(parsed: list[Override]) -> list[list[str]]:
    """Return the arguments of every job, each combination once.

    Args:
        parsed: the arguments; of several for one key the last one counts.

    Raises:
        ConfigError: `zip(...)` lists differ in length, or a range needs a sweeper.
    """
    raise_if_any([_not_discrete(o) for o in parsed if o.is_sweep_override() and not o.is_discrete_sweep()])
    written = {o.get_key_element(): o for o in parsed}
    lists = {key: _texts(key, override) for key, override in written.items()}
    raise_if_any(
        [f"argument `{written[key].input_line}`: there is no value that fits." for key in lists if not lists[key]]
    )
    zips = {key: override for key, override in written.items() if is_zip(override)}
    raise_if_any(_unequal({key: (zips[key].input_line or "", len(lists[key])) for key in zips}))
    axes: list[list[dict[str, str]]] = []
    for key, texts in lists.items():
        if key not in zips:
            axes.append([{key: text} for text in texts])
        elif key == next(iter(zips)):
            axes.append([{k: lists[k][i] for k in zips} for i in range(len(texts))])
    points = [dict(itertools.chain.from_iterable(p.items() for p in parts)) for parts in itertools.product(*axes)]
    unique = dict.fromkeys(tuple(point[key] for key in lists) for point in points)
    return [list(job) for job in unique]


def is_zip(override: Override) -> bool:
    """Return whether an argument was written `key=zip(...)`."""
    return isinstance(raw_value(override), Zip)


def size(parsed: list[Override]) -> int:
    """Return the number of combinations, duplicates included."""
    written = {o.get_key_element(): o for o in parsed}
    lengths = {key: len(_texts(key, override)) for key, override in written.items()}
    zips = [key for key, override in written.items() if is_zip(override)]
    count = lengths[zips[0]] if zips else 1
    for key, length in lengths.items():
        count *= 1 if key in zips else length
    return count


def _texts(key: str, override: Override) -> list[str]:
    """Return the argument of each value."""
    if override.is_sweep_override():
        return [f"{key}={text}" for text in override.sweep_iterator(transformer=_as_argument)]
    return [f"{key}={override.get_value_element_as_str()}"]


def _as_argument(value: Any) -> str:
    """Return a value as it is written in one argument.

    Hydra removes the quotes in `choice(...)`: '1' becomes a number, and an apostrophe is a syntax error.
    """
    text = value_text(value)
    if isinstance(value, str) and _read(text) != value:
        return quoted(value)
    return text


def _read(text: str) -> Any:
    try:
        return OverridesParser.create().parse_override(f"k={text}").value()
    except HydraException:
        return None


def _unequal(lists: dict[str, tuple[str, int]]) -> list[str]:
    """Return a line that names every list and its length, unless all are equally long.

    Args:
        lists: key -> argument as typed, and how many values it has.
    """
    if len({count for _, count in lists.values()}) < 2:
        return []
    lengths = ", ".join(f"`{text}` has {count}" for text, count in lists.values())
    return [f"lists written zip(...) advance together and must be equally long, but {lengths}."]


def _not_discrete(override: Override) -> str:
    what = f"argument `{override.input_line}`: a range of real numbers has no end of values."
    return f"{what} List some (a,b,c), or have a sweeper choose them: hydra/sweeper=optuna."
