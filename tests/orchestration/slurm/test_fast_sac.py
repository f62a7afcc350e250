"""FastSAC on two machines of a real Slurm: stopped and requeued, it learns what two processes of one machine learn."""

from __future__ import annotations

import subprocess

import pytest

from agents.test_skrl_ppo import assert_equal
from orchestration.slurm.cluster import SMALL, Cluster, wait_for
from regimen.runs import checkpoint

pytestmark = pytest.mark.slow
TRAINING = [
    *("task=reach", "agent=fast_sac", "env.num_envs=8", "hardware.threads=1", "agent.num_learning_iterations=300"),
    *("agent.logging_interval=12", "agent.learning_starts=2", "agent.buffer_size=64", "agent.batch_size=32"),
    *("agent.num_updates=2", "agent.actor_hidden_dim=16", "agent.critic_hidden_dim=16", "agent.num_atoms=21"),
]


def test_two_machines_learn_what_two_processes_learn_even_if_stopped_between(cluster: Cluster) -> None:
    if not cluster.slurm.named:
        pytest.skip("the nodes have no names of their own here (needs CAP_SYS_ADMIN)")
    cluster.launch(*TRAINING, "hardware=slurm", *SMALL, "hardware.submitit.mem_gb=2", "hardware.nodes=2")
    (away,) = [file.parent for file in cluster.folder.glob("outputs/*/run.json")]
    wait_for(lambda: (away / "metrics.jsonl").exists(), "a first iteration", said=lambda: cluster.logs(away.name))
    job = cluster.info(away.name)["queue"]["job"]
    subprocess.run(["scancel", "--signal=USR2", job], env=cluster.slurm.env, check=True)
    info = cluster.wait_status(away.name, "finished", "failed", patience_s=600)
    assert info["status"] == "finished" and len(info["resumed"]) == 1, cluster.logs(away.name)

    cluster.launch(*TRAINING, "hardware=multi", "hardware.processes=2")
    (here,) = [file.parent for file in cluster.folder.glob("outputs/*/run.json") if file.parent != away]
    one, other = (checkpoint.load(run / "checkpoints" / "last.pt") for run in (away, here))
    assert len(one["training"]["workers"]) == 1
    assert_equal({**one, "run": ""}, {**other, "run": ""})
