"""Isaac Lab's names, versions and fields, without importing it."""

from __future__ import annotations

from regimen.envs.foreign.library import Library, TaskMemory

ISAAC_LAB = Library(
    name="isaaclab",
    title="Isaac Lab",
    settings="isaac",
    reader="regimen.envs.isaaclab.reader",
    needed={
        "isaaclab": "3.0",
        "newton": "1.6",
        "warp-lang": "1.17",
        "mujoco-warp": "3.12",
        "usd-exchange": "3.0",
        "torch": "2",
        "gymnasium": "1",
    },
    versions=("isaaclab", "newton", "warp-lang", "mujoco-warp", "regimen"),
    elsewhere={
        "scene.num_envs": "env.num_envs",
        "episode_length_s": "env.episode_length_s",
        "seed": "seed",
        "sim.device": "hardware.device",
        "compute_final_obs": None,
        "sim.visualizer_cfgs": "video=true",
        "video_recorders": "video=true",
    },
    memory=TaskMemory(
        base=965 * 2**20,
        env=172 * 2**10,
        row=110,
        rows="sim.physics.solver_cfg.njmax",
        usual_rows=100,
        ground=80_000,
    ),
)
