"""Quality checks of a data card, before a failure detector is trained on its data."""

from __future__ import annotations

from typing import Any

LEAST_CLASS_SHARE = 0.05
MOST_CLASS_RATIO = 2.0
HEALTHY_SHARE = (0.3, 0.7)
MOST_SYNCHRONISED = 0.1


def check(card: dict[str, Any]) -> list[str]:
    """Return one line for each quality check that a card (`card.make`) fails."""
    if len(card["classes"]) < 2:
        named = ", ".join(card["classes"]) or "none"
        return [f"joints that may fail: {named}; a detector needs data of two or more (env.evaluation.faults)."]
    return [*_balance(card), *_healthy(card), *_onsets(card), *_resets(card), *_splits(card), *_channels(card)]


def _balance(card: dict[str, Any]) -> list[str]:
    counts = {joint: card["episodes_by_class"][joint] for joint in card["classes"]}
    others = {j: n for j, n in card["episodes_by_class"].items() if j not in counts and j != "healthy" and n}
    lines = [f"{joint}: {n} faulty episodes, but the task says that it cannot fail." for joint, n in others.items()]
    total = sum(counts.values())
    needed = f"needed {LEAST_CLASS_SHARE:.0%} or more"
    lines += [
        f"{joint}: {n} of {total} faulty episodes ({n / max(total, 1):.1%}), {needed}."
        for joint, n in counts.items()
        if n < LEAST_CLASS_SHARE * total or not n
    ]
    most, least = max(counts, key=lambda j: counts[j]), min(counts, key=lambda j: counts[j])
    if counts[most] > MOST_CLASS_RATIO * counts[least]:
        lines.append(
            f"{most} has {counts[most]} faulty episodes, {least} {counts[least]}: more than {MOST_CLASS_RATIO:g} times."
        )
    return lines


def _healthy(card: dict[str, Any]) -> list[str]:
    low, high = HEALTHY_SHARE
    if low <= card["healthy_share"] <= high:
        return []
    return [f"{card['healthy_share']:.1%} of the frames are healthy, needed {low:.0%} to {high:.0%}."]


def _onsets(card: dict[str, Any]) -> list[str]:
    onsets = card["onsets"]
    if onsets["count"] == 0:
        return ["no fault begins in an episode that was recorded from its begin."]
    first, last = onsets["range"]
    told = f"{onsets['count']} onsets between step {onsets['least']} and {onsets['most']}"
    if onsets["count"] > 5 and onsets["most"] - onsets["least"] < 0.1 * card["episodes"]["length"]["max"]:
        return [f"the faults begin nearly all at once: {told}."]
    if onsets["deviation"] > onsets["limit"]:
        return [
            f"the onsets are not uniform over steps {first} to {last}: {told}, distance {onsets['deviation']:.2f}, at "
            f"most {onsets['limit']:.2f}."
        ]
    return []


def _resets(card: dict[str, Any]) -> list[str]:
    share = card["resets"]["synchronised_share"]
    if share <= MOST_SYNCHRONISED:
        return []
    return [f"{share:.0%} of the resets come together with those of many other envs, at most {MOST_SYNCHRONISED:.0%}."]


def _splits(card: dict[str, Any]) -> list[str]:
    if card["by_split"] is None:
        return ["fewer than three envs: they cannot be split into train, val and test."]
    lines = [
        f"{joint}: no faulty episode in the split {name}."
        for name, part in card["by_split"].items()
        for joint in card["classes"]
        if not part["episodes"][joint] and card["episodes_by_class"][joint]
    ]
    if card["duplicates"]["leaking"]:
        lines.append(f"{card['duplicates']['leaking']} episodes are in several splits at once: they are duplicates.")
    return lines


def _channels(card: dict[str, Any]) -> list[str]:
    return [f"{name}: {count} values are not finite." for name, count in card["channels"]["broken"].items()]
