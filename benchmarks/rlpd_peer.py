"""The other party of `benchmarks/rlpd_updates.py`: HIL-SERL's own agent in JAX, out of a clone.

The clone is never part of this repository: `--peer DIR` names it. `serl_launcher.agents.continuous.sac.SACAgent` is
imported from it, with its critics, actor, multiplier and optimisers, and its `update` runs as it stands. What is ours
is said here, and printed:

1. modules that only other parts of the package use (tensorflow, wandb, …) are replaced by empty ones;
2. `jax.tree_map`, which JAX has removed, is its present form;
3. an encoder that returns the observation as it is: the agent without one expects images;
4. XLA computes on one thread.

It needs jax, flax, optax, distrax, chex, einops and tensorflow-probability.
"""

from __future__ import annotations

import importlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

CHANGES = "HIL-SERL: stubs for tensorflow and wandb, jax.tree_map restored, observations without encoder, one thread"
UNUSED = ("tensorflow", "wandb", "requests", "imageio", "matplotlib", "matplotlib.pyplot", "tqdm", "gym", "cv2")
EVERYTHING = frozenset({"actor", "critic", "temperature"})


class HilSerl:
    """Its agent, with layer norm and tanh as its `make_sac_pixel_agent` has them, on observations of vectors."""

    def __init__(self, clone: Path, ensemble: int, subset: int | None, hidden: int, width: int, actions: int) -> None:
        """Import and build it.

        Args:
            clone: of github.com/rail-berkeley/hil-serl.
            ensemble: critics E.
            subset: of them in the target; None for all.
            hidden: width of the two hidden layers.
            width: d of the observation.
            actions: A.
        """
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["JAX_PLATFORMS"] = "cpu"
        import flax.linen as nn
        import flax.training.checkpoints  # noqa: F401  before tensorflow is an empty module
        import jax

        self.jax = jax
        if not hasattr(jax, "tree_map"):
            jax.tree_map = jax.tree_util.tree_map
        for name in UNUSED:
            sys.modules.setdefault(name, MagicMock())
        if (package := str(clone / "serl_launcher")) not in sys.path:
            sys.path.insert(0, package)
        sac = importlib.import_module("serl_launcher.agents.continuous.sac")

        class State(nn.Module):
            """The observation as it is."""

            @nn.compact
            def __call__(self, obs: Any, train: bool = False, stop_gradient: bool = False) -> Any:
                return obs["state"]

        layers = {"hidden_dims": [hidden, hidden], "activations": nn.tanh, "use_layer_norm": True}
        layers["activate_final"] = True
        body = sac.ensemblize(partial(sac.MLP, **layers), ensemble)(name="critic_ensemble")
        critic = partial(sac.Critic, encoder=State(), network=body)(name="critic")
        gauss = {"tanh_squash_distribution": True, "std_parameterization": "exp", "std_min": 1e-5, "std_max": 5}
        actor = sac.Policy(encoder=State(), network=sac.MLP(**layers), action_dim=actions, name="actor", **gauss)
        geq = {"constraint_shape": (), "constraint_type": "geq", "name": "temperature"}
        temperature = sac.GeqLagrangeMultiplier(init_value=1e-2, **geq)
        sizes = {"critic_ensemble_size": ensemble, "critic_subsample_size": subset}
        first = ({"state": np.zeros((1, width), np.float32)}, np.zeros((1, actions), np.float32))
        parts = {"actor_def": actor, "critic_def": critic, "temperature_def": temperature}
        key = jax.random.PRNGKey(0)
        self.agent = sac.SACAgent.create(key, *first, **parts, discount=0.97, image_keys=("state",), **sizes)

    def batch(self, rows: dict[str, np.ndarray]) -> Any:
        """Return a minibatch of its kind from `obs`, `next_obs`, `action`, `reward` and `mask`."""
        from flax.core import frozen_dict

        obs = {"observations": {"state": rows["obs"]}, "next_observations": {"state": rows["next_obs"]}}
        rest = {"actions": rows["action"], "rewards": rows["reward"], "masks": rows["mask"]}
        return frozen_dict.freeze(obs | rest)

    def update(self, batches: list[Any], cta_ratio: int) -> int:
        """Update as its learner does: critics alone, and in every `cta_ratio`-th update everything; return how many."""
        for number, batch in enumerate(batches, 1):
            names = EVERYTHING if number % cta_ratio == 0 else frozenset({"critic"})
            self.agent, _ = self.agent.update(batch, networks_to_update=names)
        self.jax.block_until_ready(self.agent.state.params)
        return len(batches)
