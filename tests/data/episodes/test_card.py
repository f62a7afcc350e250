"""The data card: every number recounted by hand on small sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.episode_files import balanced, columns, end_at, write
from helpers.messages import assert_names, raises_naming
from regimen.cli.main import main
from regimen.data.episodes import card
from regimen.data.episodes.card import channel_names
from regimen.data.episodes.reader import EpisodeFile
from regimen.system.errors import DatasetError


def test_every_frame_is_counted_once_by_class_and_split(tmp_path: Path) -> None:
    table = balanced()
    made = card.make([write(tmp_path / "episodes.h5", table)])
    fault = table["labels/fault_joint"]
    assert made.frames_by_class == {
        "healthy": int((fault < 0).sum()), "hip": int((fault == 0).sum()), "knee": int((fault == 1).sum()),
        "ankle": 0, "wrist": 0,
    }  # fmt: skip
    assert made.healthy_share == pytest.approx((fault < 0).mean())
    for kind in ("frames", "episodes"):
        for name, count in getattr(made, f"{kind}_by_class").items():
            assert sum(getattr(part, kind)[name] for part in made.by_split.values()) == count
    assert sum(part.envs for part in made.by_split.values()) == 64
    train = made.splits.envs["train"][0]
    assert made.by_split["train"].frames["knee"] == int((fault[:, train] == 1).sum())


def test_episodes_and_onsets_are_found_across_chunks(tmp_path: Path) -> None:
    table = columns(3, 200)
    table["labels/fault_joint"][130:150, 0] = 1
    table["labels/fault_joint"][10:60, 1] = 0
    end_at(table, {0: [99, 149], 1: [59]})
    end_at(table, {2: [199]}, "truncated")
    made = card.make([write(tmp_path / "episodes.h5", table, max_episode_length=200)])
    assert made.episodes_by_class == {"healthy": 4, "hip": 1, "knee": 1, "ankle": 0, "wrist": 0}
    assert {n: getattr(made.episodes, n) for n in ("count", "terminated", "truncated", "cut")} == {
        "count": 6, "terminated": 3, "truncated": 1, "cut": 2,
    }  # fmt: skip
    assert (made.onsets.least, made.onsets.most) == (10, 30)
    assert made.onsets.range == [10, 50], "from the event's own 0.2 to 1.0 s"
    assert made.resets.to_dict() == {"count": 4, "distinct_steps": 4, "synchronised_share": 0.0}


def test_episodes_whose_clock_was_put_forward_tell_nothing_of_onsets(tmp_path: Path) -> None:
    table = columns(3, 100)
    table["labels/fault_joint"][5:, 0] = 1
    end_at(table, {})
    assert card.make([write(tmp_path / "a.h5", table)]).onsets.count == 1
    assert card.make([write(tmp_path / "b.h5", table, staggered=True)]).onsets.count == 0


def test_constant_and_broken_channels_are_named(tmp_path: Path) -> None:
    table = columns(4, 50)
    table["obs/discriminator"][:, :, 4] = 7.0
    table["obs/policy"][20, 1, 2] = np.nan
    table["action"][3, 0, 0] = np.inf
    made = card.make([write(tmp_path / "episodes.h5", table)])
    assert made.channels.to_dict() == {
        "constant": ["discriminator.torque[knee]"], "broken": {"policy.goal[0]": 1, "action[hip]": 1},
    }  # fmt: skip


def test_healthy_statistics_leave_faulty_rows_out_and_are_kept_in_the_file(tmp_path: Path) -> None:
    table = balanced(8, 2)
    table["obs/discriminator"][table["labels/fault_joint"] >= 0] += 100.0
    path = write(tmp_path / "episodes.h5", table)
    made = card.make([path])
    healthy = table["obs/discriminator"][table["labels/fault_joint"] < 0].astype(np.float64)
    np.testing.assert_allclose(made.healthy["obs/discriminator"].mean, healthy.mean(0), atol=1e-9)
    np.testing.assert_allclose(made.healthy["obs/discriminator"].std, healthy.std(0), atol=1e-9)
    card.keep_healthy(path, made)
    with EpisodeFile(path) as file:
        assert file.attributes.healthy == made.to_dict()["healthy"]


def test_copies_are_found_within_a_file_and_between_runs(tmp_path: Path) -> None:
    table = columns(12, 80)
    one = write(tmp_path / "a.h5", table)
    assert card.make([one]).duplicates.to_dict() == {"episodes": 0, "same_beginning": 0, "leaking": 0}
    for name in ("obs/policy", "obs/discriminator", "action"):
        table[name][:, 3] = table[name][:, 7]
    copied = card.make([write(tmp_path / "b.h5", table)]).duplicates
    assert (copied.episodes, copied.same_beginning) == (1, 1)
    shorter = {name: value[:60] for name, value in columns(12, 80).items()}
    cut = card.make([one, write(tmp_path / "c.h5", shorter)]).duplicates
    assert (cut.episodes, cut.same_beginning) == (0, 12), "the same seed, collected for less long"
    assert cut.leaking > 0


@pytest.mark.parametrize(("num_envs", "share"), [(64, 1.0), (2, 1.0)])
def test_resets_together_are_told_from_chance(tmp_path: Path, num_envs: int, share: float) -> None:
    table = columns(num_envs, 300)
    end_at(table, {env: [99, 199] for env in range(num_envs)}, "truncated")
    assert card.make([write(tmp_path / "a.h5", table)]).resets.synchronised_share == share
    rng = np.random.default_rng(0)
    table = columns(num_envs, 300)
    end_at(table, {env: sorted(rng.choice(300, 3, replace=False)) for env in range(num_envs)})
    assert card.make([write(tmp_path / "b.h5", table)]).resets.synchronised_share == 0.0


def test_one_env_has_a_card_without_splits(tmp_path: Path) -> None:
    made = card.make([write(tmp_path / "episodes.h5", columns(1, 30))])
    assert made.by_split is None and made.rows == 30


def test_the_verb_writes_the_card_beside_the_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "data" / "episodes.h5", balanced(), staggered=True)
    assert main(["card", str(path)]) == 0
    out, shown = capsys.readouterr().out, (path.parent / "card.md").read_text()
    assert out.strip() == shown.strip()
    assert not [line for line in shown.splitlines() if line.startswith("- ")], "no gate stands against this set"
    assert json.loads((path.parent / "card.json").read_text())["rows"] == 64 * 400
    assert "| knee |" in shown
    pictures = {p.name for p in path.parent.glob("*.png")}
    assert pictures == {"card_balance.png", "card_onsets.png", "card_lengths.png"}


def test_a_file_without_rows_is_refused_by_name(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{steps}.h5", columns(3, steps)) for steps in (0, 5)]
    with raises_naming(DatasetError, files[0], "resume"):
        card.make(files)


def test_what_is_no_dataset_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.h5").write_text("no")
    assert main(["card", str(tmp_path / "a.h5")]) != 0
    assert_names(capsys.readouterr().err, tmp_path / "a.h5", "HDF5")


def test_channels_are_named_by_term_and_joint(tmp_path: Path) -> None:
    with EpisodeFile(write(tmp_path / "a.h5", columns(1, 3))) as file:
        names = channel_names(file, "obs/discriminator")
    assert names[:4] == [
        "discriminator.position[0]", "discriminator.position[1]", "discriminator.goal[0]", "discriminator.torque[hip]",
    ]  # fmt: skip
