"""Our world and environment on sim=isaaclab against a bare loop of the same scene, in the Python of `make isaaclab`.

`.venv-isaaclab/bin/python benchmarks/isaaclab_world_overhead.py`

All step the same Go2s from the same states with the same targets, in turns. The bare loop is Isaac Lab's own: for each
physics step it writes the targets to the simulation, steps it, and updates the scene; it reads nothing. The world sets
targets, steps, and reads everything that terms get; the environment also computes actions, observations, rewards,
events and resets. The ratio is that of environment steps a second, in seconds of the processor.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from gait import walking
from measure import alternate, ratio, report

from regimen.config.compose import compose_config

CHUNK = 10


def works(num_envs: int) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the three kinds of work and what puts all at the same start; actions are made beforehand."""
    config = compose_config(["task=go2_flat", "sim=isaaclab", f"env.num_envs={num_envs}"])
    env, actions, start = walking(config, "go2_flat", CHUNK)
    world, substeps = env.world, config.env.decimation
    simulation, scene, robot = world.simulation, world.scene, world.articulation
    targets = [env.default_joint_pos + config.env.actions.scale * action for action in actions]

    def full() -> int:
        for action in actions:
            env.step(action)
        return CHUNK * num_envs

    def ours() -> int:
        for target in targets:
            world.set_joint_targets(target)
            world.step(substeps)
            world.read()
        return CHUNK * num_envs

    def bare() -> int:
        simulation.physics_manager.set_decimation(1)
        for target in targets:
            robot.actuators.target_command.set_position_index(value=target)
            for _ in range(substeps):
                scene.write_data_to_sim()
                simulation.step(render=False)
                scene.update(world.dt)
        simulation.physics_manager.set_decimation(substeps)
        return CHUNK * num_envs

    def restore() -> None:
        env.load_state_dict(start)
        world.step(substeps)  # the solver derives its constants again, which is not measured

    return {"environment": full, "world": ours, "bare loop": bare}, restore


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    if find_spec("isaaclab") is None:
        print("isaaclab_world_overhead: not measured, this Python has no Isaac Lab. Type: make isaaclab")
        return
    kinds, restore = works(args.num_envs)
    rates = alternate(kinds, args.repeats, before=restore, clock=time.process_time)
    ratios = {f"{name} / bare loop": ratio(rates[name], rates["bare loop"]) for name in ("environment", "world")}
    report(Path(__file__).stem, rates, ratios, "env steps/s")


if __name__ == "__main__":
    main()
