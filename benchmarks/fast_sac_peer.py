"""The other parties of `benchmarks/fast_sac.py`: the learners of public holosoma and FastTD3, out of clones.

The clones are never part of this repository: `--peer DIR` names one. Networks, ring and normaliser are imported from
it, and its update functions are read out of the file of its training, which could not be imported without a simulator.
What they compute stays as it is. What is ours is the loop around them, with the lines of theirs, and this, said here
and printed:

1. no automatic mixed precision (the loss scaler is there, and off), everything on the CPU;
2. `torch.compile` only with `--compile`, and then for all parties alike;
3. no means of the scalars for a log;
4. FastTD3's learning rates are plain numbers; its networks have the widths of the others, where its own are larger.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional

CHANGES = "public code: mixed precision off, on the CPU, no means of scalars for a log, all widths those of ours"
HOLOSOMA, FAST_TD3 = "agents/fast_sac/fast_sac_agent.py", "fast_td3/train.py"


@dataclass
class Sizes:
    """What all parties are built with; observations and actions are those of task k1_walk."""

    envs: int
    steps: int  # in the ring, of each env
    batch: int
    updates: int
    policy_frequency: int
    actor: int
    critic: int
    observations: int = 82
    actions: int = 22
    atoms: int = 101
    v_min: float = -20.0
    v_max: float = 20.0
    log_std_max: float = 0.0
    alpha: float = 0.001
    entropy: float = 0.0  # the temperature holds, in units of -1 for each action
    gamma: float = 0.97
    tau: float = 0.05
    rate: float = 3e-4
    decay: float = 1e-3

    @property
    def each(self) -> int:
        """Transitions of one env in a minibatch."""
        return max(1, self.batch // self.envs)


@dataclass
class Step:
    """What one step of all envs leaves: made up, the same for all parties.

    Attributes:
        obs, following: (N, d), before and after.
        action: (N, A).
        reward: (N,).
        ended, cut: (N,) bool, episodes that ended, and those of them that were only cut off.
    """

    obs: torch.Tensor
    action: torch.Tensor
    reward: torch.Tensor
    ended: torch.Tensor
    cut: torch.Tensor
    following: torch.Tensor


def find(folder: Path) -> type[Holosoma] | type[FastTD3]:
    """Return the learner that a clone holds.

    Raises:
        SystemExit: neither of the two.
    """
    for name, party in ((HOLOSOMA, Holosoma), (FAST_TD3, FastTD3)):
        if next(folder.rglob(name), None):
            return party
    raise SystemExit(f"--peer {folder}: neither {HOLOSOMA} nor {FAST_TD3} in it; name a clone of holosoma or FastTD3")


def _functions(path: Path, names: tuple[str, ...], known: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Return functions of a file by name, wherever in it they are defined, seeing the globals `known`."""
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    if missing := set(names) - {node.name for node in found}:
        raise SystemExit(f"{path}: no function {', '.join(sorted(missing))}: another version than this file knows")
    future = ast.parse("from __future__ import annotations").body
    module = ast.Module([*future, *found], type_ignores=[])
    exec(compile(module, str(path), "exec"), known)
    return {name: known[name] for name in names}


def _load(path: Path) -> types.ModuleType:
    """Return the module of a clone's file, under a name of its own: the benchmark is called `fast_sac`, too."""
    spec = importlib.util.spec_from_file_location(f"holosoma_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _standing_in(names: dict[str, dict[str, Any]]) -> Iterator[None]:
    """Have modules that need not be there hold a few names."""
    kept = {name: sys.modules.get(name) for name in names}
    for name, content in names.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    yield
    for name, module in kept.items():
        if module is None:
            del sys.modules[name]
        else:
            sys.modules[name] = module


class Holosoma:
    """The learner of public holosoma's FastSAC.

    Args:
        folder: the clone.
        sizes: of everything.
        compiled: whether its updates go through torch.compile, as it does by default.
    """

    name = "public holosoma"

    def __init__(self, folder: Path, sizes: Sizes, compiled: bool) -> None:
        here = next(folder.rglob(HOLOSOMA)).parent
        sys.path.insert(0, str(here))
        with _standing_in({"holosoma": {}, "holosoma.config_types": {},
                           "holosoma.config_types.algo": {"FastSACConfig": object}}):  # fmt: skip
            code, parts = _load(here / "fast_sac.py"), _load(here / "fast_sac_utils.py")
        sys.path.remove(str(here))
        self.sizes = sizes
        self.config = SimpleNamespace(
            gamma=sizes.gamma, max_grad_norm=0.0, use_autotune=True, amp=False, amp_dtype="bf16", use_symmetry=False
        )
        self.device, self.is_multi_gpu, self.target_entropy = torch.device("cpu"), False, -sizes.actions * sizes.entropy
        self.scaler, self.env = torch.amp.GradScaler("cpu", enabled=False), SimpleNamespace(num_envs=sizes.envs)
        self._build(code, parts)
        self._take_methods(here / "fast_sac_agent.py")
        wrap: Callable[[Any], Any] = torch.compile if compiled else lambda function: function
        self.update_main, self.update_pol = (wrap(self.methods[name]) for name in ("_update_main", "_update_pol"))
        self.normalise = [wrap(norm.forward) for norm in (self.obs_normalizer, self.critic_obs_normalizer)]

    def _build(self, code: Any, parts: Any) -> None:
        """Do what its `setup` does."""
        s, cpu = self.sizes, self.device
        about: dict[str, Any] = {"obs_keys": ["obs"], "n_act": s.actions, "device": cpu}
        about["obs_indices"] = {"obs": {"start": 0, "end": s.observations, "size": s.observations}}
        self.actor = code.Actor(
            num_envs=s.envs, hidden_dim=s.actor, log_std_max=s.log_std_max, log_std_min=-5.0, **about
        )
        about |= {"num_atoms": s.atoms, "v_min": s.v_min, "v_max": s.v_max, "hidden_dim": s.critic}
        self.qnet, self.qnet_target = code.Critic(**about), code.Critic(**about)
        self.qnet_target.load_state_dict(self.qnet.state_dict())
        self.log_alpha = torch.tensor([math.log(s.alpha)], requires_grad=True)
        adam: dict[str, Any] = {"lr": s.rate, "fused": True, "betas": (0.9, 0.95)}
        self.q_optimizer = torch.optim.AdamW(list(self.qnet.parameters()), weight_decay=s.decay, **adam)
        self.actor_optimizer = torch.optim.AdamW(list(self.actor.parameters()), weight_decay=s.decay, **adam)
        self.alpha_optimizer = torch.optim.AdamW([self.log_alpha], **adam)
        self.obs_normalizer, self.critic_obs_normalizer = (
            parts.EmpiricalNormalization(shape=s.observations, device=cpu) for _ in range(2)
        )
        self.rb = parts.SimpleReplayBuffer(
            s.envs, s.steps, s.observations, s.actions, s.observations, gamma=s.gamma, device=cpu
        )

    def _take_methods(self, path: Path) -> None:
        from tensordict import TensorDict

        known = {"torch": torch, "F": functional, "TensorDict": TensorDict, "autocast": torch.autocast}
        known["contextmanager"] = contextlib.contextmanager
        names = ("_maybe_amp", "_update_main", "_update_pol", "_sample_and_prepare_batches")
        self.methods = {
            name: types.MethodType(function, self) for name, function in _functions(path, names, known).items()
        }
        self._maybe_amp = self.methods["_maybe_amp"]  # the others call it

    def add(self, step: Step) -> None:
        """Write a step into its ring."""
        self.rb.extend(transition(step) | {"critic_observations": step.obs})

    def act(self, obs: torch.Tensor, mean: bool) -> torch.Tensor:
        """Return its actions (N, A) for observations (N, d), drawn or at the mean."""
        with torch.no_grad():
            return self.actor.explore(self.obs_normalizer(obs, update=False), deterministic=mean)

    def batches(self) -> list[Any]:
        """Return the minibatches of one env step, normalised."""
        s = self.sizes
        return list(self.methods["_sample_and_prepare_batches"](s.each, s.updates, *self.normalise))

    def learn(self) -> int:
        """Do what its `learn` does after an env step; return the updates."""
        for i, data in enumerate(self.batches()):
            self.update_main(data)
            if i % self.sizes.policy_frequency == 1:
                self.update_pol(data)
            with torch.no_grad():
                sources = [p.data for p in self.qnet.parameters()]
                targets = [p.data for p in self.qnet_target.parameters()]
                torch._foreach_mul_(targets, 1.0 - self.sizes.tau)
                torch._foreach_add_(targets, sources, alpha=self.sizes.tau)
        return self.sizes.updates


class FastTD3:
    """The learner of public FastTD3: a deterministic actor, no temperature, no layer norm.

    Args:
        folder: the clone.
        sizes: of everything.
        compiled: whether its updates go through torch.compile, as it does by default.
    """

    name = "public FastTD3"

    def __init__(self, folder: Path, sizes: Sizes, compiled: bool) -> None:
        here = next(folder.rglob(FAST_TD3)).parent
        sys.path.insert(0, str(here))
        code, parts = importlib.import_module("fast_td3"), importlib.import_module("fast_td3_utils")
        sys.path.remove(str(here))
        self.sizes, s, cpu = sizes, sizes, torch.device("cpu")
        about: dict[str, Any] = {"n_obs": s.observations, "n_act": s.actions, "device": cpu}
        if "sim_type" in code.Critic.__init__.__annotations__:  # a normalisation of later versions, off by default
            about |= {"sim_type": "", "sim_dimension": 64, "seq_len": 8}
        self.actor = code.Actor(num_envs=s.envs, init_scale=0.01, hidden_dim=s.actor, **about)
        about |= {"num_atoms": s.atoms, "v_min": s.v_min, "v_max": s.v_max, "hidden_dim": s.critic}
        self.qnet, self.qnet_target = code.Critic(**about), code.Critic(**about)
        self.qnet_target.load_state_dict(self.qnet.state_dict())
        self.rb = parts.SimpleReplayBuffer(
            s.envs, s.steps, s.observations, s.actions, s.observations, gamma=s.gamma, device=cpu
        )
        wrap: Callable[[Any], Any] = torch.compile if compiled else lambda function: function
        self.normaliser = parts.EmpiricalNormalization(shape=s.observations, device=cpu)
        self.normalise, self.ended = wrap(self.normaliser.forward), torch.zeros(s.envs, dtype=torch.bool)
        functions = _functions(here / "train.py", ("update_main", "update_pol", "soft_update"), self._globals())
        self.update_main, self.update_pol = wrap(functions["update_main"]), wrap(functions["update_pol"])
        self.soft_update = functions["soft_update"]

    def _globals(self) -> dict[str, Any]:
        """Return what its update functions see, as its `main` makes it, of its own defaults."""
        s, adam = self.sizes, torch.optim.AdamW
        args = SimpleNamespace(gamma=s.gamma, use_cdq=True, disable_bootstrap=False, use_grad_norm_clipping=False,
                               max_grad_norm=0.0)  # fmt: skip
        known: dict[str, Any] = {"torch": torch, "F": functional, "autocast": torch.autocast, "args": args}
        known |= {"amp_device_type": "cpu", "amp_dtype": torch.bfloat16, "amp_enabled": False}
        known |= {"scaler": torch.amp.GradScaler("cpu", enabled=False), "device": torch.device("cpu")}
        known |= {"envs": SimpleNamespace(asymmetric_obs=False), "action_low": -1.0, "action_high": 1.0}
        known |= {"policy_noise": 0.001, "noise_clip": 0.5, "actor": self.actor}
        known |= {"qnet": self.qnet, "qnet_target": self.qnet_target}
        known["q_optimizer"] = adam(list(self.qnet.parameters()), lr=s.rate, weight_decay=s.decay)
        known["actor_optimizer"] = adam(list(self.actor.parameters()), lr=s.rate, weight_decay=s.decay)
        return known

    def add(self, step: Step) -> None:
        """Write a step into its ring."""
        self.rb.extend(transition(step))
        self.ended = step.ended

    def act(self, obs: torch.Tensor, mean: bool) -> torch.Tensor:
        """Return its actions (N, A) for observations (N, d), with its noise or without."""
        self.normaliser.train(not mean)
        with torch.no_grad():
            scaled = self.normalise(obs)
            action: torch.Tensor = self.actor.explore(scaled, dones=None if mean else self.ended, deterministic=mean)
        self.normaliser.train()
        return action

    def learn(self) -> int:
        """Do what its loop does after an env step; return the updates."""
        s = self.sizes
        logs: dict[str, torch.Tensor] = {}
        for i in range(s.updates):
            data = self.rb.sample(s.each)
            data["observations"] = self.normalise(data["observations"])
            data["next"]["observations"] = self.normalise(data["next"]["observations"])
            logs = self.update_main(data, logs)
            if i % s.policy_frequency == 1:
                logs = self.update_pol(data, logs)
            self.soft_update(self.qnet, self.qnet_target, s.tau)
        return s.updates


def transition(step: Step) -> dict[str, Any]:
    """Return a step in the words of both clones."""
    following = {"observations": step.following, "critic_observations": step.following, "rewards": step.reward}
    following |= {"dones": step.ended.long(), "truncations": step.cut.long()}
    return {"observations": step.obs, "actions": step.action, "next": following}
