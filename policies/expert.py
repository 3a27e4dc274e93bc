# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow-matching action expert: attends layer by layer to the backbone (NORA-1.5, pi0)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from apprentice.policies.layers import feed_forward, merge_heads, sinusoidal, split_heads
from apprentice.policies.prefix import Prefix


@dataclass(frozen=True)
class ExpertConfig:
    """Sizes of :class:`FlowExpert`; heads and head width are copied from the backbone's layout."""

    width: int = 128
    layers: int = 2


class ExpertBlock(nn.Module):
    """Attention over prefix and action tokens, modulated per token by the flow time (adaLN-zero)."""

    def __init__(self, width: int, heads: int, head_dim: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(width, 3 * heads * head_dim), nn.Linear(heads * head_dim, width)
        self.mlp = feed_forward(width, 2)
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(
        self,
        x: torch.Tensor,
        time: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(time).chunk(6, -1)
        h = self.norm_attention(x) * (1 + scale_a) + shift_a
        q, k, v = (split_heads(p, self.heads) for p in self.qkv(h).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(
            q, torch.cat([keys, k], 2), torch.cat([values, v], 2), attn_mask=mask[:, None, None, :]
        )
        x = x + gate_a * self.out(merge_heads(mixed))
        return x + gate_m * self.mlp(self.norm_mlp(x) * (1 + scale_m) + shift_m)


class FlowExpert(nn.Module):
    """Velocity field over action chunks, given a prefix.

    Args:
        action_dim: columns of a chunk.
        horizon: rows of a chunk.
        layout: (layers, heads, head_dim) of the backbone's keys and values.
    """

    def __init__(self, action_dim: int, horizon: int, layout: tuple[int, int, int], config: ExpertConfig):
        super().__init__()
        self.config = config
        backbone_layers, heads, head_dim = layout
        self.reads = [i * backbone_layers // config.layers for i in range(config.layers)]
        width = config.width
        self.enter = nn.Linear(action_dim, width)
        self.position = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(ExpertBlock(width, heads, head_dim) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, action_dim)

    def forward(self, x: torch.Tensor, t: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        """Velocity [B, H, A] at noisy actions ``x`` [B, H, A] and per-token times ``t`` [B, H]."""
        time = self.time(sinusoidal(t, self.config.width).to(x.dtype))
        h = self.enter(x) + self.position
        mask = torch.cat([prefix.mask, prefix.mask.new_ones(x.shape[:2])], 1)
        for block, layer in zip(self.blocks, self.reads):
            h = block(h, time, prefix.keys[layer], prefix.values[layer], mask)
        return self.leave(self.norm(h))
