"""No record keeps passwords and keys."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from helpers.messages import raises_naming
from regimen.config.compose import compose
from regimen.system.errors import ConfigError
from regimen.system.git import repository_state
from regimen.system.secrets import is_secret_value, redacted

CONF = Path(__file__).resolve().parents[2] / "conf"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "one"], cwd=tmp_path, check=True)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", "WANDB_API_KEY=canary"),
        (".env.local.py", "KEY = 'canary'"),
        ("credentials.json", '{"user": "canary"}'),
        ("id_ed25519", "canary"),
        ("conf/my_secrets.yaml", "canary: 1"),
        ("notes.txt", "canary\n-----BEGIN OPENSSH PRIVATE KEY-----\n"),
        ("cloud.py", "KEY = 'AKIAIOSFODNN7EXAMPLE'  # canary"),
    ],
)
def test_an_untracked_secret_is_left_out_and_named(repository: Path, name: str, content: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text(content)
    (repository / "mine.py").write_text("x = 1\n")
    patch = repository_state(repository).patch
    assert "x = 1" in patch and "canary" not in patch
    assert name in patch.splitlines()[0]


def test_a_file_that_only_its_owner_reads_is_left_out(repository: Path) -> None:
    (repository / "mine.py").write_text("x = 1\n")
    (repository / "mine.py").chmod(0o600)
    patch = repository_state(repository).patch
    assert "x = 1" not in patch and "mine.py" in patch


def commit(repository: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (repository / name).write_text(content)
    subprocess.run(["git", "add", "-A"], cwd=repository, check=True)
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "two"]
    subprocess.run(command, cwd=repository, check=True)


def test_a_secret_in_a_tracked_or_staged_file_is_left_out_and_named(repository: Path) -> None:
    token = "hf_" + "canary" * 6
    commit(repository, {"mine.py": "x = 0\n", "a [b].key": "", "old.py": f"t = '{token}'\n", "new.py": "t = ''\n"})
    (repository / "mine.py").write_text("x = 1\n")
    (repository / "a [b].key").write_text("canary")
    (repository / "old.py").write_text("t = ''\n")
    (repository / "new.py").write_text(f"t = '{token}'\n")
    (repository / ".env").write_text("canary")
    subprocess.run(["git", "add", "-f", ".env"], cwd=repository, check=True)
    patch = repository_state(repository).patch
    assert "x = 1" in patch and "canary" not in patch
    assert all(name in patch.splitlines()[0] for name in (".env", "a [b].key", "old.py", "new.py"))


def test_the_patch_is_still_one(repository: Path) -> None:
    (repository / ".env").write_text("canary")
    (repository / "mine.py").write_text("x = 1\n")
    patch = repository_state(repository).patch
    (repository / "mine.py").unlink()
    subprocess.run(["git", "apply"], cwd=repository, input=patch.encode(), check=True)
    assert (repository / "mine.py").read_text() == "x = 1\n"


@pytest.mark.parametrize(
    "text",
    [
        "logger.mlflow.uri=http://me:canary@host:5000",
        "hydra.sweeper.storage=postgresql+psycopg://me:canary@host/db",
        "+logger.mine.api_key=canary",
        "logger.mine.password=canary",
        "+logger.mine={api_key:canary,project:x}",
        "+logger.mine={'api_key':canary}",
        "+logger.mine.api_token=canary",
        "+logger.mine.secret_key=canary",
        "hydra.job.env_set.PGPASSWORD=canary",
        "hydra.job.env_set.S3_SECRET_KEY=canary",
        "hardware.submitit.setup=['export WANDB_API_KEY=canary']",
        f"name=hf_{'canary' * 6}",
        f"name=ghp_{'canary' * 6}",
        "name=-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    ],
)
def test_passwords_and_keys_are_hidden_in_arguments(text: str) -> None:
    assert "canary" not in redacted(text) and "***" in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "agent.num_tokens=4",
        "name=token",
        "uri=http://host:5000/a@b",
        "a=b:c@d",
        "setup=['export WANDB_API_KEY=$(cat ~/.wandb)']",
        "setup=['export WANDB_API_KEY=\"$MY_KEY\"']",
    ],
)
def test_other_arguments_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text


def test_a_password_in_the_configuration_is_refused_by_key() -> None:
    with raises_naming(ConfigError, "logger.mlflow.uri", "MLFLOW_TRACKING_PASSWORD") as caught:
        compose(["task=reach", "logger=mlflow", "logger.mlflow.uri=http://me:canary@host:5000"], [CONF])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("argument", "key"),
    [
        ("logger.mine.password=4711", "logger.mine.password"),
        ("logger.mine.api_token=canary", "logger.mine.api_token"),
        ("logger.mine.secret_key=[canary]", "logger.mine.secret_key"),
        ("logger.mine.setup=['export WANDB_API_KEY=canary']", "logger.mine.setup"),
        ("logger.mine.hosts=[['http://u:canary@h']]", "logger.mine.hosts"),
        (f"logger.mine.text=hf_{'canary' * 6}", "logger.mine.text"),
    ],
)
def test_a_secret_value_is_found_at_any_place(argument: str, key: str) -> None:
    value = yaml.safe_load(argument.partition("=")[2])
    assert is_secret_value(key, value)
    assert not is_secret_value("logger.mine.plain", [None, 4711, True, "$WANDB_API_KEY", ["text"]])


def test_a_key_in_a_list_of_the_configuration_is_refused() -> None:
    setup = "hardware.submitit.setup=['export WANDB_API_KEY=canary']"
    with raises_naming(ConfigError, "hardware.submitit.setup") as caught:
        compose(["task=reach", "hardware=submitit_local", setup], [CONF])
    assert "canary" not in str(caught.value)
