from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.messages import raises_naming
from regimen.config import static_types
from regimen.config.compose import compose_config
from regimen.system.errors import ConfigError

MODULE = '''
from __future__ import annotations
import torch
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from regimen.config.task_schema import ActionCfg
from peeked_other import OtherCfg as NamedCfg

WIDTH = 7

def double(x): return 2 * x

@dataclass
class Inner:
    size: int = WIDTH

@dataclass
class NetCfg:
    """Docs."""
    _target_: str = "peeked.Net"
    inner: Inner = field(default_factory=Inner)
    action: ActionCfg = field(default_factory=ActionCfg)
    rate: float | None = None

    def memory_bytes(self, num_envs: int, observation: int, action: int) -> int:
        return double(num_envs)

class Net(torch.nn.Module):
    def __init__(self, cfg: NetCfg): ...

class Named: ...

@dataclass
class HeavyCfg:
    device: torch.device = torch.device("cpu")

class Heavy: ...

class Base:
    def __init__(self, env, scale: float, *, clip: float = 1.0) -> None: ...

class Term(Base): ...

def reward(env, std: float, command: str = "x", **rest): ...
'''


@pytest.fixture
def peeked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    other = "import torch\nfrom dataclasses import dataclass\n\n@dataclass\nclass OtherCfg:\n    x: int = 3\n"
    (tmp_path / "peeked_other.py").write_text(other)
    (tmp_path / "peeked.py").write_text(MODULE.replace("class Named: ...", "class Named: ...\nNamedCfg = NamedCfg"))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_dataclass_is_read_with_its_parts_and_light_imports(peeked: Path) -> None:
    kind = static_types.load_cfg_class("peeked.Net")
    assert kind().inner.size == 7
    assert kind().action.joints == [".*"]
    assert kind().memory_bytes(4, 0, 0) == 8
    assert "peeked" not in sys.modules


def test_a_dataclass_imported_by_name_is_followed(peeked: Path) -> None:
    (peeked / "importer.py").write_text("from peeked_other import OtherCfg as ThisCfg\n\nclass This: ...\n")
    assert static_types.load_cfg_class("importer.This")().x == 3


def test_an_imported_submodule_is_parsed_too(peeked: Path) -> None:
    package = peeked / "lab"
    package.mkdir()
    (package / "__init__.py").write_text("import torch\n")
    (package / "sizes.py").write_text("import torch\nWIDTH = 7\nHALF = WIDTH // 2\ndef gain(): return torch.ones(1)\n")
    (package / "base.py").write_text("class Term:\n    def __init__(self, env, std): ...\n    def a(self): ...\n")
    source = (
        "from dataclasses import dataclass\nfrom lab import base, sizes\nfrom . import sizes as own\n"
        "@dataclass\nclass NetCfg:\n    width: int = sizes.WIDTH\n    half: int = own.HALF\n"
        "class Net(base.Term):\n    def b(self): ...\n"
        "@dataclass\nclass WrongCfg:\n    width: int = sizes.WIDHT\nclass Wrong: ...\n"
    )
    (package / "net.py").write_text(source)
    config = static_types.load_cfg_class("lab.net.Net")()
    assert (config.width, config.half) == (7, 3)
    assert [p.name for p in static_types.parameters("lab.net:Net")] == ["env", "std"]
    assert static_types.methods("lab.net.Net") == {"__init__", "a", "b"}
    with raises_naming(ConfigError, "lab.net.WrongCfg", "lab.sizes", "WIDHT"):
        static_types.load_cfg_class("lab.net.Wrong")
    (package / "sizes.py").write_text("WIDTH = 8_000\nHALF = 4_000\n")
    assert static_types.load_cfg_class("lab.net.Net")().width == 8000
    assert "lab" not in sys.modules


def test_what_a_dataclass_declares_is_read_by_the_target_of_its_section(peeked: Path) -> None:
    source = (
        "from regimen.envs.sims.mujoco import MujocoWorldCfg\nfrom dataclasses import dataclass\nclass World: ...\n"
    )
    (peeked / "own_sim.py").write_text(source + "@dataclass\nclass WorldCfg(MujocoWorldCfg): ...\n")
    assert static_types.class_variable({"_target_": "own_sim.World"}, "MUJOCO") is True
    assert static_types.class_variable({"_target_": "own_sim.World"}, "MANAGER_BASED") is None
    assert static_types.class_variable({"_target_": "regimen.envs.manager_env.ManagerEnv"}, "MANAGER_BASED") is True
    for unreadable in ({"_target_": "no_such.World"}, {}):
        assert static_types.class_variable(unreadable, "MUJOCO") is None


def test_a_changed_file_is_read_again(peeked: Path) -> None:
    assert static_types.load_cfg_class("peeked.Net")().inner.size == 7
    (peeked / "peeked.py").write_text(MODULE.replace("WIDTH = 7", "WIDTH = 8_000"))
    assert static_types.load_cfg_class("peeked.Net")().inner.size == 8000


def test_a_changed_file_from_which_a_dataclass_is_imported_is_read_again(peeked: Path) -> None:
    (peeked / "importer.py").write_text(
        "from peeked_other import OtherCfg\n\nclass ThisCfg(OtherCfg): ...\n\nclass This: ...\n"
    )
    assert static_types.load_cfg_class("importer.This")().x == 3
    other = peeked / "peeked_other.py"
    other.write_text(other.read_text().replace("x: int = 3", "x: int = 40_000"))
    assert static_types.load_cfg_class("importer.This")().x == 40000


UNREADABLE = """
from __future__ import annotations
import numpy as np
import torch
from dataclasses import dataclass, field
from torch import nn

TABLE = {"half": torch.float16}
first, second = 1, 2

@dataclass
class TypeCfg:
    device: torch.device | None = None

@dataclass
class DefaultCfg:
    device: str = torch.device("cpu").type

@dataclass
class FactoryCfg:
    values: list[float] = field(default_factory=lambda: np.zeros(2).tolist())

@dataclass
class ConstantCfg:
    dtype: str = TABLE["half"]

@dataclass
class BaseCfg(nn.Module):
    width: int = 1

@dataclass
class PartCfg:
    part: TypeCfg | None = None

@dataclass
class UnpackedCfg:
    width: int = first

class PlainCfg:
    width: int = 1
"""


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("Type", ("torch",)),
        ("Default", ("torch",)),
        ("Factory", ("np",)),
        ("Constant", ("TABLE", "torch")),
        ("Base", ("nn", "torch")),
        ("Part", ("TypeCfg", "torch")),
        ("Unpacked", ("first",)),
        ("Plain", ("dataclass",)),
    ],
)
def test_a_dataclass_that_cannot_be_read_is_named_with_what_it_lacks(
    peeked: Path, name: str, named: tuple[str, ...]
) -> None:
    """docs/static_types.md lists these."""
    classes = "".join(f"class {kind}: ...\n" for kind in ("Type", "Default", "Factory", "Constant", "Base", "Part"))
    (peeked / "unreadable.py").write_text(UNREADABLE + classes + "class Unpacked: ...\nclass Plain: ...\n")
    with raises_naming(ConfigError, f"unreadable.{name}Cfg", *named):
        static_types.load_cfg_class(f"unreadable.{name}")
    assert "unreadable" not in sys.modules


def test_the_launcher_names_the_option_whose_dataclass_cannot_be_read(peeked: Path, tmp_path: Path) -> None:
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "heavy.yaml").write_text("# An agent\n_target_: peeked.Heavy\n")
    with raises_naming(ConfigError, "agent/heavy.yaml", "peeked.HeavyCfg", "torch"):
        compose_config(["task=reach", "agent=heavy"], [tmp_path])


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("peeked.Nett", ("peeked", "Nett", "Net")),
        ("peeked.Base", ("peeked", "BaseCfg")),
        ("regimen.envs.sims.mujco.World", ("regimen.envs.sims.mujco", "mujoco")),
        ("no_such_package.mod.X", ("no_such_package", "PYTHONPATH")),
        ("Net", ("Net", "pkg.mod:function", "pkg.mod.Class")),
    ],
)
def test_wrong_targets_name_the_near_ones(peeked: Path, target: str, named: tuple[str, ...]) -> None:
    with raises_naming(ConfigError, *named):
        static_types.load_cfg_class(target)


def test_a_syntax_error_names_file_and_line(peeked: Path) -> None:
    (peeked / "broken.py").write_text("x = 1\ndef f(:\n")
    with raises_naming(ConfigError, peeked / "broken.py", 2):
        static_types.load_cfg_class("broken.X")


def test_signatures(peeked: Path) -> None:
    params = static_types.parameters("peeked:reward")
    assert [(p.name, p.required) for p in params] == [
        ("env", True),
        ("std", True),
        ("command", False),
        ("**rest", False),
    ]
    assert [p.name for p in static_types.parameters("peeked:Term")] == ["env", "scale", "clip"]
    assert params[1].annotation == "float"


def test_methods_are_those_of_the_class_and_its_bases_as_far_as_these_have_a_file(peeked: Path) -> None:
    (peeked / "own_task.py").write_text("from abc import ABC\nclass Base(ABC):\n    def a(self): ...\n")
    (peeked / "own_env.py").write_text("from own_task import Base\nclass Env(Base):\n    def b(self): ...\n")
    assert static_types.methods("own_env.Env") == {"a", "b"}


def test_relative_imports_and_packages(peeked: Path) -> None:
    package = peeked / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import fn\n")
    (package / "inner.py").write_text("def fn(env, a: int): ...\n")
    assert [p.name for p in static_types.parameters("pack:fn")] == ["env", "a"]


def test_library_fields_come_with_those_of_the_bases() -> None:
    fields = static_types.library_fields("skrl.agents.torch.ppo.ppo_cfg:PPO_CFG")
    assert fields["rollouts"] == ("int", "skrl.agents.torch.ppo.ppo_cfg")
    assert fields["experiment"] == ("ExperimentCfg", "skrl.agents.torch.base")


def test_every_shipped_dataclass_is_readable_without_torch_or_a_simulator(repo_root: Path) -> None:
    code = (
        "import sys, yaml, pathlib; from regimen.config import static_types\n"
        "for f in sorted(pathlib.Path('conf').glob('*/*.yaml')):\n"
        "    t = (yaml.safe_load(f.read_text()) or {}).get('_target_')\n"
        "    t and static_types.load_cfg_class(t)()\n"
        "print(sorted({'torch', 'numpy', 'mujoco', 'skrl'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
