"""What happens when torch is loaded, and that its compiler is loaded where it is used only."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAIN = """
import sys
{before}
import torch
model = torch.nn.Linear(3, 1)
optimizer = torch.optim.Adam(model.parameters())
for _ in range(3):
    optimizer.zero_grad()
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo.eval_frame" in sys.modules)
print(float(sum(p.sum() for p in model.parameters())))
doubled = torch.compile(lambda x: 2 * x, backend="eager")
print(doubled(torch.ones(1)).item(), "torch._dynamo.eval_frame" in sys.modules)
print(torch._dynamo.config.suppress_errors, sys.modules["torch._dynamo"] is torch._dynamo)
import torch._dynamo.testing
print(torch._dynamo.testing.__name__)
"""
SETUP = """
from regimen.system.seeding import seed_all
from regimen.system.torch_import import postpone_compiler
{first}
postpone_compiler()
seed_all(3)
"""


def printed(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.slow  # it compiles a network
def test_an_optimizer_works_without_the_compiler_which_is_there_when_it_is_used() -> None:
    before = printed(TRAIN.format(before=SETUP.format(first="")))
    after = printed(TRAIN.format(before=SETUP.format(first="import torch")))
    plain = printed(TRAIN.format(before="import torch; torch.manual_seed(3)"))
    assert plain[0] == "True", "torch loads it; if it does not any more, this module has no use"
    assert before[0] == after[0] == "False"
    assert before[1:] == after[1:] == plain[1:]
    assert plain[2:] == ["2.0 True", "False True", "torch._dynamo.testing"]
