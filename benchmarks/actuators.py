"""Models of motors against MuJoCo's own position servo: `python benchmarks/actuators.py`.

1024 Go2s walk by the gait of the trained flat walker from the same start, once with the servo and once with each model
on all joints: its torques are computed four times in a control step, which is one call of the physics with the servo
and four calls with a model. The servo is measured twice, once as a model of its own: the ratio of the two is the noise.
With `--cpu` the physics has one thread and CPU seconds count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from gait import environment, walking
from measure import alternate, ratio_of_rounds, report

from regimen.config.compose import compose_config
from regimen.envs.manager_env import ManagerEnv

CHUNK = 8
SERVO = "servo of MuJoCo"


def network(folder: Path) -> Path:
    """Return the file of a network as large as that of Hwangbo et al. 2019: 6 inputs, 3 layers of 32 softsign units."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for width in (6, 32, 32):
        layers += [torch.nn.Linear(width, 32), torch.nn.Softsign()]
    net = torch.nn.Sequential(*layers, torch.nn.Linear(32, 1))
    torch.jit.save(torch.jit.script(net), str(folder / "net.pt"))
    return folder / "net.pt"


def models(folder: Path) -> dict[str, list[str]]:
    """Return name -> overrides of each measured actuator."""
    file = network(folder)
    texts = {
        "ideal_pd": "func: ideal_pd",
        "dc_motor": "func: dc_motor",
        "ideal_pd, delay [0, 4]": "func: ideal_pd, delay: [0, 4]",
        "actuator_net, 6-32-32-32-1": f"func: actuator_net, params: {{network_file: {file}, input_idx: [0, 2, 4]}}",
    }
    overrides = {name: [f"+env.actuators.legs={{{text}}}"] for name, text in texts.items()}
    return {SERVO: [], "servo again": [], **overrides}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--num-envs", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--cpu", action="store_true", help="one thread, CPU seconds")
    args = parser.parse_args()
    clock = time.process_time if args.cpu else time.perf_counter
    shared = ["task=go2_flat", f"env.num_envs={args.num_envs}", *(["hardware.threads=1"] if args.cpu else [])]
    with tempfile.TemporaryDirectory() as folder:
        _, actions, _ = walking(compose_config(shared), "go2_flat", CHUNK)
        envs: dict[str, ManagerEnv] = {}
        starts: dict[str, Any] = {}
        for name, overrides in models(Path(folder)).items():
            env = envs[name] = ManagerEnv.open(compose_config([*shared, *overrides]))
            env.reset(seed=0)
            for action in actions:  # past the fall from the spawn height
                env.step(action)
            starts[name] = env.state_dict()

        def restore() -> None:
            for name, env in envs.items():
                env.load_state_dict(starts[name])

        works = {name: environment(env, actions) for name, env in envs.items()}
        rates = alternate(works, args.repeats, before=restore, clock=clock)
    servo = rates[SERVO]
    ratios = {f"{name} / {SERVO}": ratio_of_rounds(rates[name], servo) for name in rates if name != SERVO}
    name = Path(__file__).stem + ("_cpu" if args.cpu else "")
    report(name, rates, ratios, "env steps per CPU s" if args.cpu else "env steps/s")


if __name__ == "__main__":
    main()
