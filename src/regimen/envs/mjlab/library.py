"""mjlab's names, versions and fields, without importing it."""

from __future__ import annotations

from regimen.envs.foreign.library import Library, TaskMemory

MJLAB = Library(
    name="mjlab",
    title="mjlab",
    settings="mjlab",
    reader="regimen.envs.mjlab.reader",
    needed={
        "mjlab": "1.6",
        "mujoco": "3.11",
        "mujoco-warp": "3.11",
        "warp-lang": "1",
        "torch": "2",
        "rsl-rl-lib": "5",
    },
    versions=("mjlab", "mujoco", "mujoco-warp", "warp-lang", "regimen"),
    elsewhere={
        "scene.num_envs": "env.num_envs",
        "episode_length_s": "env.episode_length_s",
        "seed": "seed",
        "auto_reset": None,
        "scene.terrain.num_envs": "env.num_envs",
        "scene.terrain.env_spacing": "env.mjlab.scene.env_spacing",
        "viewer.width": "env.render_size=[<width>,<height>]",
        "viewer.height": "env.render_size=[<width>,<height>]",
    },
    memory=TaskMemory(
        base=495 * 2**20,
        env=46 * 2**10,
        row=110,
        rows="sim.njmax",
        usual_rows=300,
        ground=0,
    ),
)
