"""How often an agent's training would wait for a GPU: once a control step, and a known number of times an update."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from helpers.device_waits import as_on_a_gpu, counted_waits
from helpers.tasks import make_env
from regimen.agents.training_session import TrainingSession
from regimen.config.compose import compose_config
from regimen.config.targets import resolve
from regimen.envs import open_env

ENVS, ROLLOUT, ITERATIONS = 8, 10, 2
STEPS = ROLLOUT * ITERATIONS
A_STEP = {"regimen/envs/device_reads.py": 1}
"""Waits allowed in a control step: the read that all parts of the environment share."""

OF_A_SESSION = {"regimen/agents/training_session.py": 12}
"""Waits allowed in an iteration: episodes, logs and metrics, and whether the networks are finite."""

MINIBATCHES = 4
SETTINGS = {
    "skrl_ppo": f"""
        agent.trainer.timesteps={STEPS} agent.agent.rollouts={ROLLOUT} agent.agent.learning_epochs=1
        agent.agent.mini_batches={MINIBATCHES}""",
    "rsl_rl_ppo": f"""
        agent.max_iterations={ITERATIONS} agent.num_steps_per_env={ROLLOUT} agent.algorithm.num_learning_epochs=1
        agent.algorithm.num_mini_batches={MINIBATCHES}""",
    "fast_sac": f"""
        agent.num_learning_iterations={STEPS} agent.logging_interval={ROLLOUT} agent.learning_starts=2
        agent.batch_size=16 agent.buffer_size=20 agent.actor_hidden_dim=16 agent.critic_hidden_dim=16""",
}
IN_AN_ITERATION = {
    # losses and the divergence of each minibatch are read by the libraries
    "skrl_ppo": {"skrl/agents/torch/ppo/ppo.py": 3 * MINIBATCHES + 3},
    "rsl_rl_ppo": {
        "rsl_rl/algorithms/ppo.py": 6 * MINIBATCHES,
        "rsl_rl/modules/normalization.py": 2,
        "regimen/agents/rsl_rl/ppo.py": 1,
    },
    "fast_sac": {"regimen/agents/fast_sac/agent.py": 3, "regimen/envs/symmetry.py": 2},
}
"""Waits allowed in an iteration beside those of the session."""


class Unrecorded:
    """Stands for run and checkpoints."""

    stop_signal = None
    leads = True

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **fields: False


def waits_of(agent: str, task: str) -> Counter[str]:
    """The waits in a training, from its second control step on."""
    settings = [f"task={task}", f"agent={agent}", f"env.num_envs={ENVS}", "env.episode_length_s=0.1"]
    config = compose_config([*settings, "hardware.threads=1", *SETTINGS[agent].split()])
    with as_on_a_gpu():
        env, cpu = open_env(config), torch.device("cpu")
        learner = resolve(config.agent._target_)(config.agent, env.io, ENVS, cpu, 0)
        session = TrainingSession(Unrecorded(), Unrecorded(), ENVS, STEPS)  # type: ignore[arg-type]
        step = session.step
        with counted_waits() as waits:

            def first_step(*outcome: Any) -> None:
                session.step = step  # type: ignore[method-assign]
                step(*outcome)
                waits.counts.clear()

            session.step = first_step  # type: ignore[method-assign]
            learner.learn(env, session, None)
    assert session.iteration == ITERATIONS and session.returns, "no episode ended"
    return waits.counts


def too_many(counts: Counter[str], agent: str) -> list[str]:
    """Lines of the source that wait more often than allowed."""
    by_file: Counter[str] = Counter()
    for line, number in counts.items():
        by_file[line.split(":")[0]] += number
    iteration = OF_A_SESSION | IN_AN_ITERATION[agent]
    allowed = {file: STEPS * A_STEP.get(file, 0) + ITERATIONS * iteration.get(file, 0) for file in by_file}
    return [f"{line}: {n}" for line, n in counts.items() if by_file[line.split(":")[0]] > allowed[line.split(":")[0]]]


SLOW_TASKS = ("h1_failure", "go2_rough", "humanoid_track")


@pytest.mark.parametrize(
    "agent", ["skrl_ppo", *(pytest.param(a, marks=pytest.mark.slow) for a in SETTINGS if a != "skrl_ppo")]
)
def test_a_training_waits_for_the_device_once_a_control_step(agent):
    assert too_many(waits_of(agent, "go2_flat"), agent) == []


@pytest.mark.slow
@pytest.mark.parametrize("task", SLOW_TASKS)
def test_so_does_one_with_faults_uneven_ground_or_a_motion(task):
    assert too_many(waits_of("rsl_rl_ppo", task), "rsl_rl_ppo") == []


def test_a_term_that_reads_the_device_is_named():
    with as_on_a_gpu():
        env = make_env("reach", 2)
        env.reset(seed=0)

    def distance() -> torch.Tensor:
        return torch.full((2,), float(env.state.joint_pos.sum()))

    env.rewards.terms[next(iter(env.rewards.terms))] = distance
    with counted_waits() as waits:
        env.step(torch.zeros(2, env.io.num_actions))
    line = f"test_device_waits.py:{distance.__code__.co_firstlineno + 1} _local_scalar_dense"
    assert waits.counts == {line: 1, **{name: 1 for name in waits.counts if "device_reads" in name}}
