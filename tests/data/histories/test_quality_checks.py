"""The data card of learning histories, and what its gates refuse."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.history_files import made, write
from helpers.messages import assert_names, missing_names
from regimen.cli.card import card_verb
from regimen.data.histories import card as history_card
from regimen.data.histories.reader import open_histories

RISING = np.arange(40.0)
SHUFFLED = np.random.default_rng(0).permutation(RISING)


def problems(folder: Path, returns: np.ndarray, **about: object) -> list[str]:
    scores = {"random_score": 0.0, "expert_score": 39.0} | about
    return history_card.make(open_histories(write(folder, made([returns] * 2, 3), **scores))).problems()


def test_a_rising_set_passes_and_a_shuffled_one_does_not(tmp_path: Path) -> None:
    assert problems(tmp_path / "a", RISING) == []
    [line] = problems(tmp_path / "b", SHUFFLED)
    assert_names(line, "progress", 0.7)


def test_the_limit_is_where_it_is_said_to_be(tmp_path: Path) -> None:
    """Noise of growing size takes the correlation through 0.7."""
    noise = np.random.default_rng(1).normal(size=40)
    for size in np.arange(1.0, 40.0, 3.0):
        card = history_card.make(open_histories(write(tmp_path / f"{size}", made([RISING + size * noise], 3))))
        assert bool(card.problems()) == (card.spearman < 0.7)
    assert card.spearman < 0.7


def test_histories_that_mix_up_and_down_are_refused_together(tmp_path: Path) -> None:
    card = history_card.make(open_histories(write(tmp_path, made([RISING, RISING[::-1]], 3))))
    assert [row.spearman for row in card.histories] == pytest.approx([1.0, -1.0])
    [line] = card.problems()
    assert_names(line, "progress", 0.7)
    assert "-1.00 … 1.00" in history_card.text(card)


def test_the_expert_alone_and_an_expert_no_better_than_chance_are_refused(tmp_path: Path) -> None:
    [line] = problems(tmp_path / "a", RISING, mode="expert")
    assert_names(line, "mode=expert")
    [line] = problems(tmp_path / "b", RISING, random_score=5.0, expert_score=5.0)
    assert_names(line, "expert_score", "random_score", 5)


def test_histories_without_a_whole_episode_have_a_card_that_refuses_them(tmp_path: Path) -> None:
    table = {name: column[:2] for name, column in made([RISING, RISING], 3).items()}
    card = history_card.make(open_histories(write(tmp_path, table)))
    assert card.episodes.count == 0 and card.curve == [] and card.terminated_share == 0.0
    assert_names(card.problems()[0], "progress", 0.7)
    assert len(history_card.write(card, tmp_path, tmp_path)) == 3


def test_the_card_counts_what_is_there(tmp_path: Path) -> None:
    table = made([RISING, RISING], 3)
    table["proprio_observation"][..., 1] = 4.0
    table["terminated"][2::6], table["truncated"][2::6] = True, False
    card = history_card.make(open_histories(write(tmp_path, table, expert_score=39.0)))
    assert card.rows == 240 and card.episodes.to_dict() == {
        "count": 80,
        "length": {"min": 3, "median": 3.0, "mean": 3.0, "max": 3},
    }
    assert card.constant == ["position[1]"] and card.terminated_share == 0.5
    assert len(card.curve) == 20 and sum(row.episodes for row in card.curve) == 80
    means = [row.mean for row in card.curve]
    assert means == sorted(means) and means[0] == pytest.approx(0.5)
    text = history_card.text(card)
    assert card.problems() == [] and not [line for line in text.splitlines() if line.startswith("- ")]
    assert_names(text, "position[1]", 120)
    assert missing_names(text, "position[0]", "position[2]") == ["position[0]", "position[2]"]


def test_the_verb_makes_the_card_of_histories(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = write(tmp_path / "made", made([SHUFFLED], 3))
    assert card_verb([str(index.parent), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    assert out.strip() == (tmp_path / "out" / "card.md").read_text().strip()
    [line] = [line for line in out.splitlines() if line.startswith("- ")]
    assert_names(line, "progress", 0.7)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"card.json", "card.md", "histories.png"}
    assert json.loads((tmp_path / "out" / "card.json").read_text())["kind"] == "histories"
    with Image.open(tmp_path / "out" / "histories.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    assert (np.abs(picture - [0x3B, 0x6F, 0xB6]).sum(-1) < 12).any(), "the curves are drawn"
