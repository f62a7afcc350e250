"""The data card as Markdown."""

from __future__ import annotations

from typing import Any

from regimen.data.episodes import quality_checks


def text(card: dict[str, Any]) -> str:
    """Return a card (`card.make`) as Markdown, the quality checks first."""
    return "\n".join([*_verdict(card), *_files(card), *_classes(card), *_episodes(card), *_channels(card)]) + "\n"


def _verdict(card: dict[str, Any]) -> list[str]:
    problems = quality_checks.check(card)
    if not card["classes"]:
        return ["# Data card", "", "No joint fails in this task."]
    if not problems:
        return ["# Data card", "", "Fit for training a failure detector."]
    return ["# Data card", "", "Not fit for training a failure detector:", "", *[f"- {line}" for line in problems]]


def _files(card: dict[str, Any]) -> list[str]:
    lines = ["", "| file | run | task | steps | envs | seed |", "|---|---|---|---|---|---|"]
    for file in card["files"]:
        known = [str(file.get(name, "")) for name in ("path", "run", "task", "steps", "num_envs", "seed")]
        lines.append(f"| {' | '.join(known)} |")
    reasons = [gate["accept"] for f in card["files"] if (gate := f.get("gate") or {}).get("short")]
    lines += [f"\nThe policy did not pass the task's gate; accepted: {reason}." for reason in reasons]
    return lines


def _classes(card: dict[str, Any]) -> list[str]:
    if not card["classes"]:
        return []
    splits = card["by_split"] or {}
    head = "".join(f" {name} episodes | {name} frames |" for name in ("all", *splits))
    lines = ["", "## Classes", "", f"| class |{head}", "|---|" + "---|---|" * (1 + len(splits))]
    for name in ("healthy", *card["classes"]):
        parts = [(card["episodes_by_class"][name], card["frames_by_class"][name])]
        parts += [(part["episodes"][name], part["frames"][name]) for part in splits.values()]
        lines.append(f"| {name} |" + "".join(f" {episodes} | {frames} |" for episodes, frames in parts))
    lines += [
        "",
        f"Every frame is counted once; {card['healthy_share']:.1%} are healthy. An episode counts for the joint",
    ]
    lines += ["that failed in it, as healthy if none did while it was recorded. Splits are by env."]
    return lines


def _episodes(card: dict[str, Any]) -> list[str]:
    found, dt = card["episodes"], card["step_dt"]
    length = found["length"]
    lines = ["", "## Episodes", ""]
    shortest, middle, longest = (length[name] * dt for name in ("min", "median", "max"))
    lines.append(
        f"{found['count']} episodes, {card['rows']} frames: {found['terminated']} fell, {found['truncated']} ended by "
        f"time, {found['cut']} are cut by the end of the file. Length {shortest:.2f} … {longest:.2f} s, median "
        f"{middle:.2f} s."
    )
    resets, copies = card["resets"], card["duplicates"]
    lines.append(
        f"{resets['count']} resets in {resets['distinct_steps']} different steps, {resets['synchronised_share']:.1%} "
        f"synchronised. {copies['episodes']} duplicate episodes, {copies['same_beginning']} that begin as another, "
        f"{copies['leaking']} in several splits."
    )
    onsets = card["onsets"]
    if onsets["count"]:
        first, last = (step * dt for step in onsets["range"])
        lines.append(
            f"{onsets['count']} onsets, expected uniform over {first:.2f} … {last:.2f} s: distance "
            f"{onsets['deviation']:.3f}, at most {onsets['limit']:.3f}."
        )
    return lines


def _channels(card: dict[str, Any]) -> list[str]:
    constant, broken = card["channels"]["constant"], card["channels"]["broken"]
    lines = ["", "## Channels", "", f"Constant: {', '.join(constant) or 'none'}."]
    told = ", ".join(f"{name} ({count})" for name, count in broken.items())
    return [*lines, f"Not finite: {told or 'none'}."]
