"""Full environment on sim=genesis against a bare loop of the same scene: `python benchmarks/genesis_overhead.py`.

Both step the same Go2s from the same states with the same actions: the bare loop sets targets, steps, and reads
positions, velocities, accelerations, torques, links and contacts, with what Genesis offers and no more. The ratio is
that of environment steps a second, in seconds of the processor: Genesis on a CPU has one thread.
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

CHUNK = 25


def works(num_envs: int, dt: float) -> tuple[dict[str, Callable[[], int]], Callable[[], None]]:
    """Return the two kinds of work and what puts both at the same start; the policy acted beforehand, neither pays."""
    decimation = round(0.02 / dt)
    overrides = ["task=go2_flat", "sim=genesis", f"env.num_envs={num_envs}", f"sim.dt={dt}"]
    config = compose_config([*overrides, f"env.decimation={decimation}"])
    env, actions, start = walking(config, "go2_flat", CHUNK)
    scene, robot, dofs = env.world.scene, env.world.entity, env.world._dofs

    def full() -> int:
        for action in actions:
            env.step(action)
        return CHUNK * num_envs

    def bare() -> int:
        for action in actions:
            robot.control_dofs_position(env.default_joint_pos + config.env.actions.scale * action, dofs)
            for _ in range(decimation):
                scene.step()
            robot.get_qpos(), robot.get_dofs_velocity(), robot.get_dofs_acc(), robot.get_dofs_control_force()
            robot.get_links_pos(), robot.get_links_quat(), robot.get_links_vel(), robot.get_links_ang()
            robot.get_contacts(with_entity=env.world._plane, is_padded=True)
        return CHUNK * num_envs

    return {"environment": full, "bare loop": bare}, lambda: env.load_state_dict(start)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=256)
    parser.add_argument("--dt", type=float, default=0.005)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    if find_spec("genesis") is None:
        print("genesis_overhead: not measured, Genesis is not installed. Type: make genesis")
        return
    kinds, restore = works(args.num_envs, args.dt)
    rates = alternate(kinds, args.repeats, before=restore, clock=time.process_time)
    ratios = {"environment / bare loop": ratio(rates["environment"], rates["bare loop"])}
    report(Path(__file__).stem, rates, ratios, "env steps/s")


if __name__ == "__main__":
    main()
