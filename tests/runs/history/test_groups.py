"""Runs that differ in nothing but their seed are one group, named by what tells it from the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.run_directories import add, add_file
from regimen.runs.history.groups import grouped, same_seeds
from regimen.runs.history.run_view import RunView, open_view_dir


def learner(outputs: Path, run_id: str, rate: float, **more: Any) -> RunView:
    return open_view_dir(add(outputs, run_id, None, {"agent": {"agent": {"learning_rate": rate}}}, **more))


def sizes(runs: list[RunView]) -> dict[str, int]:
    return {label: len(members) for label, members in grouped(runs).items()}


def test_seeds_names_and_threads_are_one_group(tmp_path: Path) -> None:
    runs = [
        open_view_dir(add(tmp_path, f"{i}", None, {"hardware": {"threads": i}}, seed=i, name=f"n{i}")) for i in (1, 2)
    ]
    assert sizes(runs) == {"all": 2}
    assert sizes([*runs, open_view_dir(add(tmp_path, "gpu", None, {"hardware": {"device": "cuda"}}))]) == {
        "device=cpu": 2,
        "device=cuda": 1,
    }


def test_trainings_with_another_number_of_actors_are_other_groups(tmp_path: Path) -> None:
    def by_actors(name: str, actors: int, **more: object) -> RunView:
        channel = {"ahead": 50, "port": None, **more}
        return open_view_dir(add(tmp_path, name, None, {"hardware": {"actors": actors, "channel": channel}}))

    runs = [by_actors("a", 1), by_actors("b", 1, port=5588), by_actors("c", 8), by_actors("d", 8, ahead=5000)]
    assert sizes(runs) == {"actors=1 ahead=50": 2, "actors=8 ahead=50": 1, "actors=8 ahead=5000": 1}


def test_a_label_is_as_short_as_it_can_be(tmp_path: Path) -> None:
    runs = [learner(tmp_path, f"{seed}-{rate}", rate, seed=seed) for rate in (0.001, 0.01) for seed in (0, 1, 2)]
    assert sizes(runs) == {"learning_rate=0.001": 3, "learning_rate=0.01": 3}
    other = {"env": {"learning_rate": 1}, "agent": {"agent": {"learning_rate": 0.1}}}
    labels = sizes([*runs, open_view_dir(add(tmp_path, "other", None, other))])
    assert labels["agent.learning_rate=0.1 env.learning_rate=1"] == 1


def test_another_agent_is_named_without_all_its_settings(tmp_path: Path) -> None:
    choices = {"task": "reach", "sim": "mujoco", "hardware": "cpu", "stage": "train"}
    mine = {"agent": {"_target_": "my.Agent", "width": 3}}
    runs = [learner(tmp_path, f"a{rate}", rate) for rate in (0.001, 0.01)]
    runs.append(open_view_dir(add(tmp_path, "b", None, mine, choices={**choices, "agent": "mine"})))
    assert list(grouped(runs)) == [
        "agent=skrl_ppo learning_rate=0.001",
        "agent=skrl_ppo learning_rate=0.01",
        "agent=mine learning_rate=0.001",
    ]
    assert list(grouped(runs[1:])) == ["agent=skrl_ppo", "agent=mine"]


def test_an_evaluation_beside_a_training_makes_no_other_group_unless_it_may_end_it(tmp_path: Path) -> None:
    def followed(name: str, **evaluation: object) -> RunView:
        return open_view_dir(add(tmp_path, name, None, {"stage": {"evaluation": evaluation}}))

    runs = [followed("a", every=None), followed("b", every=480, patience=None), followed("c", every=480, patience=3)]
    assert list(map(len, grouped(runs).values())) == [2, 1]


def test_policies_of_several_seeds_are_one_kind(tmp_path: Path) -> None:
    judged = []
    for rate in (0.001, 0.01):
        for seed in (0, 1):
            trained = learner(tmp_path, f"t-{rate}-{seed}", rate, seed=seed)
            policy = add_file(trained.dir, "checkpoints/best.pt", f"{rate} {seed}")
            judged.append(open_view_dir(add(tmp_path, f"e-{rate}-{seed}", {"policy": policy}, stage="evaluate")))
    assert sizes(judged) == {"learning_rate=0.001": 2, "learning_rate=0.01": 2}
    assert same_seeds(judged[:2]) == [], "the seeds of the trainings differ"


def test_a_file_of_no_run_stands_for_its_content(tmp_path: Path) -> None:
    policies = [add_file(tmp_path, f"files/{name}.pt", name) for name in ("a", "b")]
    judged = [
        open_view_dir(add(tmp_path, f"e{i}", {"policy": policy})) for i, policy in enumerate([*policies, policies[0]])
    ]
    assert sorted(sizes(judged).values()) == [1, 2]


def test_a_seed_that_occurs_twice_is_found(tmp_path: Path) -> None:
    assert same_seeds([learner(tmp_path, f"{i}", 0.1, seed=seed) for i, seed in enumerate((0, 1, 1))]) == [1]


def chain(root: Path, name: str, rate: float, file: str = "best.pt", seed: int = 0) -> RunView:
    """An evaluation of a fine-tuned policy, whose teacher learned with the rate `rate`."""
    policy = {"policy": add_file(learner(root, f"{name}-teacher", rate, seed=seed).dir, "checkpoints/best.pt", name)}
    tuned = add(root, f"{name}-tuned", policy, seed=seed)
    return judged(root, name, add_file(tuned, f"checkpoints/{file}", name))


def judged(root: Path, name: str, policy: Path, **more: Any) -> RunView:
    return open_view_dir(add(root, name, {"policy": policy}, stage="evaluate", **more))


def test_policies_whose_teachers_differ_are_different_kinds(tmp_path: Path) -> None:
    runs = [chain(tmp_path, f"{rate}-{seed}", rate, seed=seed) for rate in (0.001, 0.01) for seed in (0, 1)]
    assert sizes(runs) == {"learning_rate=0.001": 2, "learning_rate=0.01": 2}
    assert same_seeds(runs[:2]) == [] and same_seeds([runs[0], runs[2]]) == [(0, 0, 0)]


def test_an_input_that_only_some_policies_had_is_named_without_all_its_settings(tmp_path: Path) -> None:
    detector = add_file(learner(tmp_path, "detector", 0.5, stage="distill").dir, "checkpoints/best.pt", "detector")
    runs = []
    for name, read in (("with", {"estimator": detector}), ("without", {})):
        runs.append(judged(tmp_path, name, add_file(add(tmp_path, f"t-{name}", read), "checkpoints/best.pt", name)))
    assert sizes(runs) == {"estimator=distill": 1, "estimator=null": 1}


def test_checkpoints_of_one_training_are_different_kinds_unless_all_files_count_alike(tmp_path: Path) -> None:
    runs = []
    for seed in (0, 1):
        trained = learner(tmp_path, f"t{seed}", 0.001, seed=seed)
        for file in ("best.pt", "last.pt"):
            policy = add_file(trained.dir, f"checkpoints/{file}", f"{seed} {file}")
            runs.append(judged(tmp_path, f"{seed}-{file}", policy))
    assert sizes(runs) == {"file=best.pt": 2, "file=last.pt": 2}
    assert {label: len(members) for label, members in grouped(runs, by_file=False).items()} == {"all": 4}
    assert sizes([runs[0], runs[3]]) == {"all": 2}, "of each training one"


def test_a_checkpoint_that_was_replaced_is_another_kind(tmp_path: Path) -> None:
    folder = learner(tmp_path, "t", 0.001).dir
    runs = [judged(tmp_path, name, add_file(folder, "checkpoints/best.pt", name)) for name in ("early", "late")]
    assert sorted(sizes(runs).values()) == [1, 1]


def test_a_run_that_several_inputs_come_from_is_followed_once(tmp_path: Path) -> None:
    runs = []
    for rate in (0.001, 0.01):
        data: dict[str, Path] = {}
        for number in range(14):  # each reads all before it, as in dataset aggregation: 2 ** 14 ways to the first one
            made = learner(tmp_path, f"{rate}-{number}", rate) if not number else None
            folder = made.dir if made else add(tmp_path, f"{rate}-{number}", dict(data), stage="collect")
            data[f"data.{number}"] = add_file(folder, "data/episodes.h5", f"{rate} {number}")
        runs.append(open_view_dir(add(tmp_path, f"{rate}-policy", data)))
    assert sizes(runs) == {"learning_rate=0.001": 1, "learning_rate=0.01": 1}
