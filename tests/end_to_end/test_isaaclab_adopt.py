"""Checkpoints of rsl_rl and skrl in Isaac Lab's own wrappers become policies that act alike and are evaluated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.launches import ROOT, environment, launch, record
from helpers.library_marks import needs
from helpers.messages import assert_names
from regimen.config.targets import resolve
from regimen.envs.isaaclab.library import ISAAC_LAB
from regimen.envs.vec_env import IOSpec
from regimen.runs import checkpoint
from regimen.system import host

PYTHON = host.made_interpreter("isaaclab")
TASK = ["task=isaaclab", "env.id=Isaac-Cartpole"]
SHORT = ["env.episode_length_s=0.8", "stage.envs_per_command=2"]

pytestmark = needs(ISAAC_LAB)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Folder of `isaaclab_trainings.py`."""
    folder = tmp_path_factory.mktemp("trained")
    command = [str(PYTHON), str(Path(__file__).with_name("isaaclab_trainings.py")), "Isaac-Cartpole", str(folder)]
    kernels = {"WARP_CACHE_PATH": str(ISAAC_LAB.cache.expanduser() / "warp")}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment() | kernels, check=False)
    assert (folder / "acted.pt").exists(), done.stdout[-2000:] + done.stderr[-4000:]
    return folder


def adopt(*arguments: str) -> str:
    command = [sys.executable, "-m", "regimen.cli", "adopt", *arguments, "--joints", "task", *TASK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(), check=False)
    return f"{done.stdout}{done.stderr}\nexit {done.returncode}"


@pytest.mark.parametrize(
    ("library", "file", "agent"),
    [("rsl_rl", "model_1.pt", "rsl_rl_ppo"), ("skrl", "agents/checkpoints/agent_32.pt", "skrl_ppo")],
)
def test_the_policy_acts_as_the_library_does_and_is_evaluated(trained, tmp_path, library, file, agent):
    told = adopt(str(trained / file), f"agent={agent}", "agent.from_task=true")
    assert_names(told, "joint_pos_rel 2", "slider_to_cart", "32-32", "elu", "exit 0")
    policy = (trained / file).with_suffix(".policy.pt")
    bundle, acted = checkpoint.load(policy), torch.load(trained / "acted.pt", weights_only=True)
    loaded = resolve(bundle["agent"]["_target_"]).load_policy(
        bundle, IOSpec.from_dict(bundle["io"]), torch.device("cpu")
    )
    actions, _ = loaded.act({"policy": acted["observations"]}, None)
    assert actions.abs().max() > 0 and torch.allclose(actions, acted[library], atol=1e-6)
    if library == "skrl":  # one is enough: a policy of rsl_rl is evaluated in test_isaaclab_world.py
        out = launch(tmp_path, "stage=evaluate", *TASK, *SHORT, f"policy={policy}", "name=judged")
        assert record(tmp_path, "judged")[1]["status"] == "finished", out


def test_a_file_of_another_library_is_refused_before_the_task_is_opened(trained):
    told = adopt(str(trained / "agents/checkpoints/agent_32.pt"))
    assert_names(told, "skrl", "agent=skrl_ppo", "exit 2")
