# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The flow-matching action expert: attends layer by layer to the backbone (NORA-1.5, pi0)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from apprentice.policies.layers import PrefixBlock, layers_read, query_heads, rotation_after, sinusoidal
from apprentice.policies.prefix import Prefix


@dataclass(frozen=True)
class ExpertConfig:
    """Sizes of :class:`FlowExpert`; key heads and head width are copied from the backbone's layout.

    Attributes:
        width, layers: its own; layer i reads layer i * backbone layers / layers of the backbone.
        heads: of the queries, a multiple of the key heads; 0 takes as many.
        rope_theta: base of rotary positions of action tokens, which go on after the prefix; 0: none,
            -1: that of the backbone. For backbones whose keys are rotated.
    """

    width: int = 128
    layers: int = 2
    heads: int = 0
    rope_theta: float = 0.0


class ExpertBlock(PrefixBlock):
    """Attention over prefix and action tokens, modulated per token by the flow time (adaLN-zero)."""

    def __init__(self, width: int, heads: int, key_heads: int, head_dim: int):
        super().__init__(width, heads, key_heads, head_dim, affine=False)
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
        rotation: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> torch.Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = self.modulation(time).chunk(6, -1)
        h = self.norm_attention(x) * (1 + scale_a) + shift_a
        mixed, _, _ = self.attend(h, keys, values, mask[:, None, None, :], rotation)
        x = x + gate_a * mixed
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
        backbone_layers, key_heads, self.head_dim = layout
        heads = query_heads(config.heads, key_heads, 'expert.heads')
        self.reads = layers_read(config.layers, backbone_layers)
        width = config.width
        self.enter = nn.Linear(action_dim, width)
        self.position = nn.Parameter(torch.randn(horizon, width) * 0.02)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(
            ExpertBlock(width, heads, key_heads, self.head_dim) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, action_dim)

    def forward(self, x: torch.Tensor, t: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        """Velocity [B, H, A] at noisy actions ``x`` [B, H, A] and per-token times ``t`` [B, H] or [1, 1]."""
        time = self.time(sinusoidal(t, self.config.width).to(x.dtype))
        h = self.enter(x) + self.position
        mask = torch.cat([prefix.mask, prefix.mask.new_ones(x.shape[:2])], 1)
        rotation = rotation_after(prefix.mask, 0, x.shape[1], self.head_dim, self.config.rope_theta)
        for block, layer in zip(self.blocks, self.reads):
            h = block(h, time, prefix.keys[layer], prefix.values[layer], mask, rotation)
        return self.leave(self.norm(h))
