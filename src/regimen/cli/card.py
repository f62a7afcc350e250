"""`regimen card`: write and print the card of a dataset."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from regimen.data.episodes.card import make, write
from regimen.data.histories.reader import INDEX
from regimen.runs import references
from regimen.system.errors import DatasetError


def _of_histories(paths: list[Path], out: Path | None) -> int:
    """Write and print the card of each dataset of learning histories, in `out` each of several in its own folder.

    Raises:
        DatasetError: two datasets would have the same folder.
    """
    from regimen.data.histories import card as history_card
    from regimen.data.histories.reader import open_histories

    names = [path.parents[2].name if _run_of(path.parents[1]) else path.parent.name for path in paths]
    if out is not None and len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise DatasetError(f"Two of the datasets are called {double}; write their cards into {out} one by one.")
    for name, path in zip(names, paths, strict=True):
        card, run = history_card.make(open_histories(path)), _run_of(path.parents[1])
        folder = path.parent if out is None else out if len(paths) == 1 else out / name
        history_card.write(card, folder, run / "figures" if run and out is None else folder)
        print(history_card.text(card))
    return 0


def _run_of(data: Path) -> Path | None:
    """Return the run whose folder of data this is, None if it is another folder."""
    return data.parent if data.name == "data" and (data.parent / "run.json").is_file() else None


def card_verb(argv: list[str]) -> int:
    """Write and print the card of a dataset: `regimen card <dataset run or file>`.

    Args:
        argv: the arguments after the verb.
    """
    from regimen.data.episodes import card_pages

    parser = argparse.ArgumentParser(prog="regimen card", description=card_verb.__doc__)
    parser.add_argument("datasets", nargs="+", help="dataset runs, files or folders, taken together")
    parser.add_argument("--seed", type=int, help="of the splits (default: that of the recording)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: that of the dataset; of several, none)")
    args = parser.parse_args(argv)
    paths = [references.resolve_data(reference) for reference in args.datasets]
    if any(path.name == INDEX for path in paths):
        return _of_histories(paths, args.out)
    card = make(paths, args.seed)
    own = paths[0] if paths[0].is_dir() else paths[0].parent
    run = _run_of(own)
    print(card_pages.text(card))
    if args.out is not None:
        write(card, args.out, args.out)
    elif len(paths) > 1 or (run and args.seed is not None):
        print("This card is not that of one recording, and is not written: --out <folder> writes it.", file=sys.stderr)
    else:
        write(card, own, run / "figures" if run else own)
    return 0
