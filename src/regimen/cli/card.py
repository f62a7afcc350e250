"""`regimen card`: write and print the card of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from regimen.data.episodes.card import make, write
from regimen.data.histories.reader import INDEX
from regimen.runs import references


def _of_histories(paths: list[Path], out: Path | None) -> int:
    """Write and print the card of each dataset of learning histories."""
    from regimen.data.histories import card as history_card
    from regimen.data.histories.reader import open_histories

    for path in paths:
        card, run = history_card.make(open_histories(path)), path.parents[2]
        in_run = out is None and (run / "run.json").is_file()
        folder = out or path.parent
        history_card.write(card, folder, run / "figures" if in_run else folder)
        print(history_card.text(card))
    return 0


def card_verb(argv: list[str]) -> int:
    """Write and print the card of a dataset: `regimen card <dataset run or file>`.

    Args:
        argv: the arguments after the verb.
    """
    from regimen.data.episodes import card_pages

    parser = argparse.ArgumentParser(prog="regimen card", description=card_verb.__doc__)
    parser.add_argument("datasets", nargs="+", help="dataset runs, files or folders, taken together")
    parser.add_argument("--seed", type=int, default=0, help="of the splits")
    parser.add_argument("--out", type=Path, help="folder to write to (default: folder of the first dataset)")
    args = parser.parse_args(argv)
    paths = [references.resolve_data(reference) for reference in args.datasets]
    if any(path.name == INDEX for path in paths):
        return _of_histories(paths, args.out)
    card = make(paths, args.seed)
    data = args.out or (paths[0] if paths[0].is_dir() else paths[0].parent)
    in_run = args.out is None and (data.parent / "run.json").is_file()
    write(card, data, data.parent / "figures" if in_run else data)
    print(card_pages.text(card))
    return 0
