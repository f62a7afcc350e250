"""Names and classes of components: what is refused before anything starts, read from source text."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from helpers.messages import assert_names
from regimen.agents.runner import components
from regimen.agents.runner.components import ComponentsCfg, name_problem, unknown_name
from regimen.cli import main

needs_library = pytest.mark.skipif(importlib.util.find_spec("rl_games") is None, reason="make rl_games")


def test_names_of_rl_games_and_names_that_are_taken_are_refused():
    assert_names(str(name_problem("network", "actor_critic")), "actor_critic", "network", "my_actor_critic")
    assert_names(str(name_problem("algo", "mine", {"mine": 0})), "mine", "algo", "mine_2")
    assert name_problem("algo", "mine", {}) is None
    assert name_problem("model", "a2c_continuous") is None, "of another kind"


def test_an_unknown_name_is_refused_with_the_nearest_ones():
    assert_names(str(unknown_name("algo", "a2c_continous", {})), "algo", "a2c_continuous")
    assert_names(str(unknown_name("player", "patiant", {"patient": 0})), "patient")
    assert unknown_name("player", "patient", {"patient": 0}) is None


MODULE = '''
from rl_games.algos_torch import a2c_continuous, models as m
import rl_games.algos_torch.network_builder as nb
import rl_games.common.player
from abc import ABC

class Agent(ABC, a2c_continuous.A2CAgent):
    """Learns smoothly.

    More."""
class Indirect(Agent): pass
class Model(m.ModelA2C): pass
class Network(nb.A2CBuilder): pass
class Player(rl_games.common.player.BasePlayer): pass
class Nothing: pass
def function(): pass
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "parts_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "parts_of_mine"


@needs_library
def test_subclasses_of_the_library_are_accepted_however_they_name_it(mine):
    good = ComponentsCfg(
        algo={"x": f"{mine}:Agent", "y": f"{mine}:Indirect"},
        model={"x": f"{mine}:Model"},
        network={"x": f"{mine}:Network"},
        player={"x": f"{mine}:Player"},
    )
    assert list(components.problems(good)) == []
    assert mine not in sys.modules, "read, not imported"


@needs_library
@pytest.mark.parametrize(
    ("kind", "name", "target", "names"),
    [
        ("algo", "x", "{}:Agnet", ("components.algo.x", "Agent")),
        ("algo", "x", "{}s:Agent", ("components.algo.x", "parts_of_mines")),
        ("algo", "x", "Agent", ("components.algo.x", "pkg.mod:function")),
        ("algo", "x", "{}:Nothing", ("rl_games.interfaces.base_algorithm.BaseAlgorithm",)),
        ("algo", "x", "{}:function", ("class", "BaseAlgorithm")),
        ("algo", "x", "{}:Player", ("BaseAlgorithm", "components.player")),
        ("network", "x", "{}:Model", ("NetworkBuilder", "components.model")),
        ("network", "actor_critic", "{}:Network", ("components.network.actor_critic", "my_actor_critic")),
    ],
)
def test_what_is_no_component_is_refused(mine, kind, name, target, names):
    [line] = components.problems(ComponentsCfg(**{kind: {name: target.format(mine)}}))
    shown = line.replace(f"{mine}s", "parts_of_mines")
    missing = [n for n in names if n not in shown]
    assert not missing, line


@needs_library
def test_all_components_are_listed_with_one_line_each(mine, tmp_path, capsys):
    (tmp_path / "agent").mkdir()
    (tmp_path / "agent" / "smooth.yaml").write_text(f"components: {{algo: {{smooth: '{mine}:Agent'}}}}\n")
    assert main.main(["list", "components", "--config-dir", str(tmp_path)]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    named = {(kind, name): text for kind, name, text in rows}
    builtin = {(kind, name) for kind, entries in components.BUILT_IN.items() for name in entries}
    assert builtin <= named.keys() and ("algo", "amp_continuous") in named
    assert_names(named["algo", "smooth"], "Learns smoothly", f"{mine}:Agent", "smooth")


def test_listing_imports_no_torch():
    code = (
        "import sys; from regimen.cli.main import main; main(['list', 'components']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
