"""What one process of `gpu.py` measures: `python gpu_peer.py <name> <JSON of arguments>` prints JSON.

`mjlab_training` and `isaaclab_training` are the trainings of these libraries without Regimen, in their interpreters.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP = 10
"""Steps that do not count: kernels are compiled and graphs captured in them."""


def timed(step: Callable[[], object], units: int, seconds: float, device: str) -> dict[str, float]:
    """Return units a second of a step that is repeated for some seconds, after a warm-up."""
    import torch

    def finished() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    for _ in range(WARM_UP):
        step()
    count, begin = 0, finished()
    while (now := finished()) - begin < seconds:
        step()
        count += 1
    return {"rate": count * units / (now - begin)}


def env_steps(task: str, sim: str, envs: int, seconds: float, device: str) -> dict[str, float]:
    """Return env steps a second of a task under random actions."""
    import torch

    from regimen.config.compose import compose_config
    from regimen.envs import open_env

    hardware = "gpu" if device.startswith("cuda") else "cpu"
    config = compose_config([f"task={task}", f"sim={sim}", f"env.num_envs={envs}", f"hardware={hardware}"])
    env = open_env(config)
    env.reset(seed=0)

    def step() -> None:
        env.step(0.3 * torch.randn(envs, env.io.num_actions, device=env.device))

    return timed(step, envs, seconds, device)


def raw_steps(task: str, envs: int, seconds: float, device: str) -> dict[str, float]:
    """Return env steps a second of the physics alone: captured steps of MuJoCo Warp with the same model."""
    import mujoco
    import mujoco_warp as mjw
    import warp as wp

    from regimen.config.compose import compose_config
    from regimen.envs.robots.model_check import compile_model
    from regimen.envs.robots.robot import load

    config = compose_config([f"task={task}", "sim=mujoco"])
    compiled = compile_model(load(config.env.robot), config.sim.dt, None)
    state = mujoco.MjData(compiled)
    mujoco.mj_resetDataKeyframe(compiled, state, 0) if compiled.nkey else mujoco.mj_forward(compiled, state)
    with wp.ScopedDevice(device):
        model = mjw.put_model(compiled)
        data = mjw.put_data(compiled, state, nworld=envs, nconmax=64, njmax=128 + 16 * compiled.nu)
        mjw.step(model, data)
        graph = None
        if device.startswith("cuda"):
            with wp.ScopedCapture() as capture:
                for _ in range(config.env.decimation):
                    mjw.step(model, data)
            graph = capture.graph

        def step() -> None:
            if graph is not None:
                wp.capture_launch(graph)
                return
            for _ in range(config.env.decimation):
                mjw.step(model, data)

        return timed(step, envs, seconds, device)


def updates(size: str, seconds: float, device: str) -> dict[str, float]:
    """Return updates a second of FastSAC's learner, on made-up transitions."""
    import fast_sac
    import torch

    torch.manual_seed(0)
    sizes = fast_sac.SIZES[size]
    on_gpu = device.startswith("cuda")
    agent = fast_sac.ours(sizes, fast_sac.steps(sizes), ("policy",), compiled=on_gpu, device=device, amp=on_gpu)
    return timed(lambda: fast_sac.learn(agent), sizes.updates, seconds, device)


def decoding(size: str, envs: int, seconds: float, device: str) -> dict[str, float]:
    """Return tokens a second of a Vintix that acts, its context full."""
    import vintix

    decode = vintix.decoder(vintix.SIZES[size], envs, 1, half=device.startswith("cuda"), device=device)
    return timed(decode, envs, seconds, device)


def mjlab_training(task: str, envs: int, iterations: int, device: str) -> dict[str, float]:
    """Return samples a second of mjlab's own training, as its script `train` builds it."""
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.rl import MjlabOnPolicyRunner, RslRlVecEnvWrapper
    from mjlab.tasks.registry import load_env_cfg, load_rl_cfg, load_runner_cls
    from mjlab.utils.torch import configure_torch_backends

    configure_torch_backends()
    device = "cuda:0" if device == "cuda" else device
    cfg, agent = load_env_cfg(task), load_rl_cfg(task)
    cfg.scene.num_envs, cfg.seed, agent.logger = envs, agent.seed, "tensorboard"
    env = RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg=cfg, device=device), clip_actions=agent.clip_actions)
    settings = dataclasses.asdict(agent)
    steps = agent.num_steps_per_env
    runner = (load_runner_cls(task) or MjlabOnPolicyRunner)(env, settings, None, device)
    return _learned(runner, envs * steps, iterations, device)


def isaaclab_training(
    task: str, envs: int, iterations: int, device: str, assets: str, kernels: str
) -> dict[str, float]:
    """Return samples a second of Isaac Lab's own training by rsl_rl, as its script builds it."""
    from importlib import metadata

    os.environ |= {"ISAACSIM_ASSET_ROOT": assets, "WARP_CACHE_PATH": kernels}
    import gymnasium
    from isaaclab.app import launch_simulation
    from isaaclab_rl.rsl_rl import RslRlVecEnvWrapper, handle_deprecated_rsl_rl_cfg
    from isaaclab_tasks.utils.hydra import resolve_task_config
    from rsl_rl.runners import OnPolicyRunner

    device = "cuda:0" if device == "cuda" else device
    cfg, agent = resolve_task_config(task, "rsl_rl_cfg_entry_point", overrides=[])
    cfg.sim.device, cfg.scene.num_envs, cfg.seed = device, envs, 0
    with launch_simulation(cfg, {"device": device}):
        agent = handle_deprecated_rsl_rl_cfg(agent, metadata.version("rsl-rl-lib"))
        agent.device = device
        env = RslRlVecEnvWrapper(gymnasium.make(task, cfg=cfg), clip_actions=agent.clip_actions)
        runner = OnPolicyRunner(env, agent.to_dict(), None, device)
        return _learned(runner, envs * agent.num_steps_per_env, iterations, device)


def _learned(runner: Any, samples: int, iterations: int, device: str) -> dict[str, float]:
    """Return samples a second of a runner of rsl_rl, after two iterations that do not count."""
    import torch

    def finished() -> float:
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()

    runner.learn(num_learning_iterations=2, init_at_random_ep_len=True)
    begin = finished()
    runner.learn(num_learning_iterations=iterations)
    return {"rate": iterations * samples / (finished() - begin)}


WORKS: dict[str, Callable[..., dict[str, float]]] = {
    work.__name__: work for work in (env_steps, raw_steps, updates, decoding, mjlab_training, isaaclab_training)
}

if __name__ == "__main__":
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print while they start
    found = WORKS[sys.argv[1]](**json.loads(sys.argv[2]))
    print(json.dumps(found), file=out, flush=True)
    os._exit(0)  # the end of a simulator is not waited for
