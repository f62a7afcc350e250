"""Published policies: small, loadable, and still telling which run made them."""

from __future__ import annotations

import json
import shutil

import pytest

from helpers.messages import raises_naming
from helpers.trainings import new_run, train, training_config
from regimen.cli.publish import publish
from regimen.runs import checkpoint
from regimen.runs.record import read_record
from regimen.runs.references import resolve_policy
from regimen.runs.run import Run
from regimen.system.errors import ConfigError
from regimen.system.files import data_folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = training_config("reach", timesteps=24, num_envs=4)
    run = new_run(tmp_path_factory.mktemp("outputs"), config)
    train(run, config)
    return run


def test_the_policy_stays_and_the_training_goes(run, tmp_path):
    path = publish(str(run.dir), "arm", tmp_path)
    bundle = checkpoint.load(path)
    assert bundle.keys() >= {"agent", "io", "policy", "run"}
    assert "training" not in bundle
    assert path.stat().st_size < (run.checkpoints / "last.pt").stat().st_size
    text = (path.parent / "run.json").read_text()
    assert json.loads(text)["id"] == run.id == bundle["run"]
    assert str(run.dir.parent) not in text and "python" not in json.loads(text)["host"]
    assert (path.parent / "config.yaml").read_text() == run.config_path.read_text()
    assert resolve_policy("pretrained:arm", pretrained=[tmp_path]) == path


def test_records_are_published_without_folders_hosts_and_processes(run, tmp_path):
    made = tmp_path / "outputs" / run.id
    shutil.copytree(run.dir, made, symlinks=True)
    elsewhere = "/home/alice/secret project"
    policy = f"{elsewhere}/outputs/2026-x/checkpoints/best.pt"
    data = json.loads((made / "run.json").read_text())
    process = {"host": "node17", "pid": 4711, "start": 1}
    data |= {
        "argv": ["launch.py", f"policy={policy}"],
        "overrides": [f"policy={policy}"],
        "inputs": {
            "policy": {"path": policy, "sha256": "ab", "run": "2026-x", "ref": policy},
            "env.actuators.legs.params.network_file": {"path": f"{elsewhere}/nets/leg.pt"},
        },
        "code": f"{elsewhere}/outputs/.code/abc",
        "queue": {
            "kind": "slurm",
            "job": "12",
            "folder": f"{elsewhere}/jobs",
            "log": "/logs/alice",
            "starter": process,
        },
        "warnings": [f"slow: {elsewhere}/outputs/.code/abc/mine.py:3", f"{policy} is old"],
        "error": {"type": "OSError", "message": f"cannot write {made / 'logs'}"},
    }
    (made / "run.json").write_text(json.dumps(data))
    config = made / "config.yaml"
    config.write_text(config.read_text().replace("policy: null", f"policy: {policy}"))
    assert policy in config.read_text()
    target = publish(str(made), "arm", tmp_path / "pretrained").parent
    for text in ((target / "run.json").read_text(), (target / "config.yaml").read_text()):
        assert not any(word in text for word in ("alice", "secret project", "node17", "4711", str(tmp_path)))
    record = read_record(target)
    assert record.inputs["policy"].path == record.inputs["policy"].ref == "2026-x/checkpoints/best.pt"
    assert record.inputs["env.actuators.legs.params.network_file"].path == "leg.pt"
    assert record.warnings == ["slow: mine.py:3", "2026-x/checkpoints/best.pt is old"]
    assert record.queue is None and record.code is None
    assert Run(target).config["policy"] == "2026-x/checkpoints/best.pt"


def test_a_name_is_taken_once_and_is_plain(run, tmp_path):
    publish(str(run.dir), "arm", tmp_path)
    with raises_naming(ConfigError, tmp_path / "arm"):
        publish(str(run.dir), "arm", tmp_path)
    with raises_naming(ConfigError, "../arm"):
        publish(str(run.dir), "../arm", tmp_path)


def test_a_file_without_a_run_is_refused(run, tmp_path):
    loose = tmp_path / "a" / "b"
    loose.mkdir(parents=True)
    (loose / "x.pt").write_bytes((run.checkpoints / "last.pt").read_bytes())
    with raises_naming(ConfigError, loose / "x.pt"):
        publish(str(loose / "x.pt"), "arm", tmp_path)


@pytest.mark.parametrize("name", ["go2_flat", "h1_flat"])
def test_the_repository_ships_a_policy_that_fits_its_task(name):
    from helpers.tasks import make_env
    from regimen.envs.vec_env import IOSpec

    bundle = checkpoint.load(resolve_policy(f"pretrained:{name}"))
    IOSpec.from_dict(bundle["io"]).require_fits(make_env(name, 1).io)
    made_by = json.loads((data_folder("pretrained") / name / "run.json").read_text())
    assert made_by["id"] == bundle["run"] and made_by["status"] == "finished"


def test_shipped_policies_are_small():
    assert sum(f.stat().st_size for f in data_folder("pretrained").rglob("*") if f.is_file()) < 2_000_000
