"""The picture of a graph."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from regimen.display.graph_figure import Arrow, Box, draw, place, short


def test_each_box_is_right_of_all_it_comes_from_near_their_height() -> None:
    arrows = [Arrow("a", "c"), Arrow("b", "d"), Arrow("c", "e"), Arrow("a", "e")]
    places = place(["a", "b", "d", "c", "e"], arrows)
    assert {name: x for name, (x, _) in places.items()} == {"a": 0.0, "b": 0.0, "c": 1.0, "d": 1.0, "e": 2.0}
    assert places["c"][1] == places["a"][1] and places["d"][1] == places["b"][1], "no arrow crosses another"
    assert len(set(places.values())) == 5


def test_a_circle_does_not_hang() -> None:
    places = place(["a", "b"], [Arrow("a", "b"), Arrow("b", "a"), Arrow("a", "a")])
    assert len(set(places.values())) == 2


def test_the_picture_is_as_large_as_the_graph(tmp_path: Path) -> None:
    small, large = tmp_path / "a/small.png", tmp_path / "large.png"
    draw(small, [Box("a", "walk", ["train"])], [])
    draw(large, [Box("a", "walk", chosen=True), Box("b", "judge", dashed=True)], [Arrow("a", "b", "policy")])
    with Image.open(small) as one, Image.open(large) as two:
        assert two.width > 2 * one.width and two.height == one.height


def test_long_words_lose_their_middle() -> None:
    assert short("20261121-033922-reach-skrl_ppo-665e", 20) == "202611…skrl_ppo-665e"
    assert short("walk", 20) == "walk"
