"""Order of the test files: those that take long start first, so that none of them is left over at the end."""

from __future__ import annotations

SECONDS = {
    "tests/end_to_end/test_isaaclab.py": 1070,
    "tests/orchestration/slurm/": 1000,
    "tests/end_to_end/test_mjlab.py": 740,
    "tests/envs/sims/test_genesis.py": 710,
    "tests/end_to_end/test_isaaclab_world.py": 530,
    "tests/end_to_end/test_genesis.py": 350,
    "tests/envs/sims/test_mujoco_warp.py": 60,
    "tests/envs/sims/test_mujoco_warp_on_ground.py": 60,
    "tests/end_to_end/test_mujoco_warp.py": 40,
    "tests/end_to_end/test_isaaclab_adopt.py": 300,
    "tests/agents/rl_games/test_training.py": 270,
    "tests/ui/test_browser.py": 260,
    "tests/docs/test_guides.py": 240,
    "tests/orchestration/pipeline/test_in_context.py": 220,
    "tests/end_to_end/test_actor_learner.py": 210,
    "tests/orchestration/pipeline/test_h1_failure.py": 180,
    "tests/envs/assembly/test_env.py": 180,
    "tests/runs/test_runs_0_1.py": 140,
    "tests/docs/test_history_views.py": 140,
    "tests/end_to_end/test_resume.py": 140,
    "tests/orchestration/pipeline/test_amp_study.py": 130,
    "tests/agents/fast_sac/test_agent.py": 120,
    "tests/end_to_end/test_kill_resume.py": 105,
    "tests/stages/playback/test_browser_viewer.py": 104,
    "tests/orchestration/pipeline/test_gear_pictures.py": 100,
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
