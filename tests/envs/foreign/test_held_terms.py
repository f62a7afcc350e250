"""Commands and events that an evaluation holds, on managers as Isaac Lab and mjlab have them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from helpers.messages import raises_naming
from regimen.envs.foreign.held_terms import HeldTerms
from regimen.system.errors import ConfigError


class Velocity:
    """A command that is drawn anew at every step."""

    def __init__(self):
        self.command = torch.zeros(3, 2)

    def _resample_command(self, env_ids):
        self.command[env_ids] = torch.rand(len(env_ids), 2)

    def _update_command(self):
        self.command += 1.0


class Failure:
    """An event that can be held."""

    def __init__(self):
        self.joint = torch.full((3,), -1)

    def fix(self, joint):
        self.joint = joint.clone()


class Env(HeldTerms):
    """Three envs with one command and two events."""

    def __init__(self):
        self.velocity, self.failure = Velocity(), Failure()
        terms = {"failure": self.failure, "push": lambda: None}
        commands = SimpleNamespace(active_terms=["velocity"], get_term=lambda _: self.velocity)
        events = SimpleNamespace(
            active_terms={"reset": list(terms)}, get_term_cfg=lambda name: SimpleNamespace(func=terms[name])
        )
        self.inner = SimpleNamespace(command_manager=commands, event_manager=events)
        self.cfg, self.device = SimpleNamespace(id="A-Task"), torch.device("cpu")
        self._held, self._held_events = {}, {}


def test_a_held_command_stays_whatever_the_task_draws():
    env, wanted = Env(), torch.tensor([[0.5, 0.0], [1.0, 0.0], [0.0, 1.0]])
    env.fix_command("velocity", wanted)
    env.velocity._resample_command(torch.tensor([0, 2]))
    env.velocity._update_command()
    assert torch.equal(env.velocity.command, wanted)
    env.fix_command("velocity", 2 * wanted)
    env.velocity._update_command()
    assert torch.equal(env.velocity.command, 2 * wanted)


def test_a_held_event_is_held_again_after_its_state_was_restored():
    env, joints = Env(), torch.tensor([3, -1, 5])
    env.fix_event("failure", joint=joints)
    env.failure.joint.fill_(-1)  # the state from before it was held
    env.hold_events_again()
    assert torch.equal(env.failure.joint, joints)


@pytest.mark.parametrize(
    ("hold", "named"),
    [
        (lambda env: env.fix_command("velocty", torch.zeros(3, 2)), ("velocty", "velocity", "A-Task")),
        (lambda env: env.fix_command("velocity", torch.zeros(3, 3)), ("velocity", "(3, 3)", "(3, 2)")),
        (lambda env: env.fix_event("failur", joint=torch.zeros(3)), ("failur", "failure")),
        (lambda env: env.fix_event("push", joint=torch.zeros(3)), ("push", "fix")),
    ],
)
def test_what_cannot_be_held_is_refused_by_its_name(hold, named):
    with raises_naming(ConfigError, *named):
        hold(Env())
