"""Before anything starts, `regimen ui` refuses what it cannot serve, and names what to type."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.messages import assert_names
from regimen.cli import main
from regimen.system.errors import ConfigError
from regimen.ui.address import Address, exposure, listen


def test_a_busy_port_names_a_free_one() -> None:
    with listen(Address(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError) as refusal:
            listen(Address(port=port))
    offered = int(str(refusal.value).rsplit("--port ", 1)[1])
    assert offered != port
    with listen(Address(port=offered)):
        pass


@pytest.mark.parametrize("address", [Address("256.1.1.1", 0), Address(port=70_000), Address("192.0.2.1", 0)])
def test_no_address_of_this_machine(address: Address) -> None:
    with pytest.raises(ConfigError):
        listen(address)


@pytest.fixture
def refused_before_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("orjson", reason="NiceGUI is not installed: make extras")
    monkeypatch.setattr("regimen.cli.ui.listen", lambda address: pytest.fail("it listens"))


@pytest.mark.usefixtures("refused_before_listening")
@pytest.mark.parametrize("password", ["", "short"])
def test_another_host_needs_a_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], password: str
) -> None:
    monkeypatch.setenv("REGIMEN_UI_PASSWORD", password)
    assert main.main(["ui", "--host", "0.0.0.0"]) == 2
    assert_names(
        capsys.readouterr().err, "password" if not password else "8", "REGIMEN_UI_PASSWORD" if not password else "5"
    )


@pytest.mark.usefixtures("refused_before_listening")
def test_a_certificate_needs_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["ui", "--tls-certificate", "cert.pem"]) == 2
    assert_names(capsys.readouterr().err, "--tls-key")
    assert main.main(["ui", "--tls-certificate", "cert.pem", "--tls-key", "key.pem"]) == 2
    assert_names(capsys.readouterr().err, "cert.pem")


def test_what_another_host_exposes_is_listed() -> None:
    open_lines = " ".join(exposure(Address("0.0.0.0")))
    assert_names(open_lines, "0.0.0.0", "logs", "rerun", "unencrypted")
    assert "unencrypted" not in " ".join(exposure(Address("0.0.0.0", tls_certificate=Path("c"), tls_key=Path("k"))))
