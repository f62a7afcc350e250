"""Order of the test files: those that take long start first, so that none of them is left over at the end."""

from __future__ import annotations

SECONDS = {
    "tests/orchestration/slurm/": 750,
    "tests/end_to_end/test_isaaclab.py": 680,
    "tests/end_to_end/test_mjlab.py": 490,
    "tests/end_to_end/test_isaaclab_world.py": 350,
    "tests/end_to_end/test_mujoco_warp.py": 250,
    "tests/envs/sims/test_mujoco_warp": 250,
    "tests/docs/test_guides.py": 250,
    "tests/agents/fast_sac/test_agent.py": 240,
    "tests/agents/test_ppo_workers.py": 220,
    "tests/end_to_end/test_actor_learner.py": 220,
    "tests/agents/rl_games/test_training.py": 180,
    "tests/orchestration/pipeline/test_in_context.py": 180,
    "tests/end_to_end/test_resume.py": 170,
    "tests/envs/sims/test_genesis.py": 160,
    "tests/runs/loggers/test_mlflow_run.py": 160,
    "tests/end_to_end/test_isaaclab_adopt.py": 150,
    "tests/agents/rlpd/test_pixels.py": 140,
    "tests/ui/test_browser.py": 140,
    "tests/orchestration/pipeline/test_h1_failure.py": 130,
    "tests/runs/test_runs_0_1.py": 130,
    "tests/end_to_end/test_genesis.py": 120,
    "tests/orchestration/pipeline/test_end_to_end.py": 120,
    "tests/orchestration/pipeline/test_local.py": 110,
    "tests/docs/test_history_views.py": 110,
    "tests/envs/test_manager_env.py": 110,
    "tests/orchestration/pipeline/test_amp_study.py": 110,
    "tests/envs/assembly/test_env.py": 100,
    "tests/runs/test_worker_group.py": 100,
    "tests/agents/rsl_rl/test_ppo.py": 90,
    "tests/agents/image_encoder/test_agent.py": 90,
    "tests/end_to_end/test_kill_resume.py": 85,
    "tests/stages/alongside/test_companions.py": 85,
    "tests/orchestration/pipeline/test_gear_pictures.py": 80,
    "tests/orchestration/test_auto_size.py": 80,
    "tests/stages/playback/test_browser_viewer.py": 80,
    "tests/agents/deployment/test_closed_loop.py": 80,
    "tests/stages/test_distill.py": 75,
    "tests/runs/loggers/test_training.py": 75,
    "tests/agents/vintix/test_trainer.py": 70,
}
"""Duration of the slow tests of a file or folder beside two others on two cores; about is enough."""

PER_TEST = 0.1
"""Assumed of any other file, for each of its tests."""


def duration(file: str, tests: int) -> float:
    """Return about how long a file takes, in s.

    Args:
        file: its path from the root of the checkout.
        tests: number of its tests that run.
    """
    known = (seconds for prefix, seconds in SECONDS.items() if file.startswith(prefix))
    return max(known, default=PER_TEST * tests)
