"""The other party of `benchmarks/vintix.py`: the public Vintix code out of a clone, its model, cache and training loop.

The clone is never part of this repository: `--peer DIR` names the folder that holds its package `vintix`. What the
clone computes stays as it is but for three things, said here and printed:

1. its attention runs on flash-attn, which no CPU has: in its place stands torch's scaled_dot_product_attention with
   the same projections, the same norms of queries and keys, and the same ALiBi slopes as a mask, which is made once
   for a length and not for each layer;
2. it asks for half precision in words that only CUDA knows. Here it computes with float32, its cache too, or, measured
   beside it, with 16 bits: its weights and its cache in bfloat16, and torch's autocast for a CPU around each action;
3. nothing is sent to wandb, and the training loop's own bar is silent.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

TASK = "benchmark"
CHANGES = (
    "public Vintix: attention on torch SDPA with the same ALiBi (no flash-attn here), float32 or bfloat16, wandb silent"
)


@dataclass
class Sizes:
    """What both parties are built with; the defaults are the public `standard` of the seed (context 2048)."""

    context: int = 2048
    layers: int = 12
    heads: int = 8
    hidden: int = 514
    feedforward: int = 2056
    reward_dim: int = 2
    observations: int = 45
    actions: int = 12


@dataclass
class PeerConfig:
    """Configuration in the clone's own words, as its trainer's dataclass holds it."""

    context_len: int
    action_emb_dim: int
    observation_emb_dim: int
    reward_emb_dim: int
    hidden_dim: int
    transformer_depth: int
    transformer_heads: int
    intermediate_size: int
    batch_size: int = 1
    grad_accum_steps: int = 1
    attn_dropout: float = 0.0
    residual_dropout: float = 0.0
    normalize_qk: bool = True
    bias: bool = True
    parallel_residual: bool = False
    shared_attention_norm: bool = False
    norm_class: str = "LayerNorm"
    mlp_class: str = "GptNeoxMLP"
    inner_ep_pos_enc: bool = False
    norm_acs: bool = False
    norm_obs: bool = True
    optimizer: str = "Adam"
    lr: float = 3e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.1
    precision: str = "bf16"  # the branch without a loss scaler; without CUDA its autocast computes in float32
    clip_grad: float | None = None
    local_rank: int = 0
    stats_path: str = ""
    load_ckpt: str | None = None
    dataset_config: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, sizes: Sizes, **others: Any) -> PeerConfig:
        """Return the configuration of a model of `sizes`."""
        width = (sizes.hidden - sizes.reward_dim) // 2
        return cls(
            context_len=sizes.context,
            action_emb_dim=width,
            observation_emb_dim=width,
            reward_emb_dim=sizes.reward_dim,
            hidden_dim=sizes.hidden,
            transformer_depth=sizes.layers,
            transformer_heads=sizes.heads,
            intermediate_size=sizes.feedforward,
            **others,
        )


@lru_cache(maxsize=2)
def _bias(slopes: tuple[float, ...], queries: int, keys: int) -> torch.Tensor:
    """Return ALiBi's bias (1, heads, queries, keys), -inf where a key lies after its query; the last sees all.

    Four dimensions: with fewer torch takes its slow way on a CPU.
    """
    distance = torch.arange(keys) - torch.arange(keys - queries, keys)[:, None]
    bias = torch.tensor(slopes)[:, None, None] * distance
    return bias.masked_fill(distance > 0, float("-inf"))[None]


def _attention(
    self: Any,
    x: torch.Tensor,
    k_cache: torch.Tensor | None = None,
    v_cache: torch.Tensor | None = None,
    cache_seqlens: int | None = None,
) -> torch.Tensor:
    """Stand in for the clone's attention: x (B, L, D) to (B, L, D); a cache (B, T, H, d) is written in place."""
    batch, length, _ = x.shape
    q, k, v = self.in_proj(x).reshape(batch, length, 3, self.num_heads, -1).unbind(2)
    if self.normalize_qk:
        q, k = self.q_norm(q), self.k_norm(k)
    if k_cache is not None and v_cache is not None and cache_seqlens is not None:
        end = cache_seqlens + length
        k_cache[:, cache_seqlens:end], v_cache[:, cache_seqlens:end] = k, v
        k, v = k_cache[:, :end], v_cache[:, :end]
    bias = _bias(self.slopes_given, length, k.shape[1])
    out = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=bias)
    return self.out_proj(out.transpose(1, 2).reshape(batch, length, -1))


def _silent_wandb() -> types.ModuleType:
    module = types.ModuleType("wandb")
    module.log = lambda *_, **__: None  # type: ignore[attr-defined]
    return module


class Peer:
    """The public code of a clone, ready to be measured.

    Args:
        folder: holds the package `vintix`.

    Raises:
        SystemExit: no such package there.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / "vintix" / "vintix.py").is_file():
            raise SystemExit(f"--peer {folder}: no vintix/vintix.py in it; name the folder that holds the package")
        sys.path.insert(0, str(folder))
        kept = sys.modules.get("wandb")
        sys.modules["wandb"] = _silent_wandb()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns that flash-attn is missing: that is what we replace
            self.model_code = importlib.import_module("vintix.nn.model")
            self.train_code = importlib.import_module("vintix.training.utils.train_utils")
            self.data_code = importlib.import_module("vintix.data.torch_dataloaders")
            self.schedule_code = importlib.import_module("vintix.training.utils.schedule")
        if kept is None:
            del sys.modules["wandb"]
        else:
            sys.modules["wandb"] = kept
        self.train_code.tqdm = lambda batches: batches
        attention = self.model_code.FlashAliBiCausalSelfAttention
        attention.forward = _attention
        attention.slopes_given = property(lambda self: tuple(self.alibi_slopes.tolist()))

    def model(self, sizes: Sizes) -> Any:
        """Return its model of `sizes` on random weights, in evaluation."""
        rng = np.random.default_rng(0)
        about: dict[str, Any] = {"group_name": "group", "action_type": "continuous", "reward_scale": 1.0}
        about |= {"observation_shape": {"proprio": [sizes.observations]}, "action_dim": sizes.actions}
        for name, width in (("obs", sizes.observations), ("acs", sizes.actions)):
            about[f"{name}_mean"] = rng.standard_normal(width).tolist()
            about[f"{name}_std"] = rng.uniform(0.5, 2, width).tolist()
        model = self.train_code.Vintix()
        model.init_model(asdict(PeerConfig.of(sizes)), {TASK: about})
        return model.eval()

    def decoder(self, sizes: Sizes, steps: int, half: bool) -> Callable[[], int]:
        """Return work: `steps` actions of one robot whose context is full, through its cache.

        The context is made up: a prompt of one step less than the context, and a cache of that length.
        """
        kind = torch.bfloat16 if half else torch.float32
        model, rng = self.model(sizes).to(kind), np.random.default_rng(0)
        rows = sizes.context - 1
        observations = rng.standard_normal((rows, sizes.observations), dtype=np.float32)
        actions = rng.uniform(-1, 1, (rows, sizes.actions)).astype(np.float32)
        prompt = (list(observations), list(actions), rng.random(rows).tolist(), (np.arange(rows) % 200).tolist())
        model.reset_model(TASK, use_cache=True, torch_dtype=torch.bfloat16, prompt=prompt)
        model._cache = model.init_cache(1, kind, torch.device("cpu"))
        model._cache.k_cache.normal_()
        model._cache.v_cache.normal_()
        model._cache.cache_seqlens, model._precomp_cache = rows, True
        given = rng.standard_normal((64, sizes.observations), dtype=np.float32)

        def decode() -> int:
            with _quiet(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                for step in range(steps):
                    model.get_next_action(given[step % 64], 0.5)
            return steps

        return decode

    def trainer(self, sizes: Sizes, batch: int, histories: Path, windows: int) -> Callable[[], int]:
        """Return work: its training loop on `windows` windows of a folder of histories, in tokens.

        Args:
            sizes: of the model.
            batch: windows a step.
            histories: folder of `*.h5` and `<its name>.json`, in the layout that both read.
            windows: a multiple of `batch`.
        """
        config = PeerConfig.of(sizes, batch_size=batch, dataset_config={TASK: {"reward_scale": 1.0}})
        names, config.stats_path = {histories.name: "group"}, str(histories.parent / "stats.json")
        with _quiet():
            Path(config.stats_path).write_text(json.dumps(self.train_code.compute_stats(str(histories.parent), names)))
        data = self.data_code.MultiTaskMapDataset(
            str(histories.parent), names, sizes.context, sizes.context // 8, ep_sparsity=1, preload=True
        )
        loader = torch.utils.data.DataLoader(
            torch.utils.data.Subset(data, range(windows)), batch, shuffle=True, collate_fn=lambda rows: rows
        )
        device = torch.device("cpu")
        model, optimizer = self.train_code.initialize_model(config, data.metadata, device)
        schedule = self.schedule_code.cosine_annealing_with_warmup(optimizer, 10, 10_000)

        def train() -> int:
            with _quiet():
                self.train_code.train_loop(
                    config, 0, 1, model, optimizer, schedule, None, loader, device, torch.bfloat16
                )
            return windows * sizes.context

        return train


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep quiet what it prints, and that its autocast for CUDA does nothing on a CPU."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        warnings.simplefilter("ignore")
        yield
