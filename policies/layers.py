# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Layers that backbone, flow expert and token head share."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[B, T, D] to [B, heads, T, D / heads]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: torch.Tensor) -> torch.Tensor:
    """[B, heads, T, head_dim] to [B, T, D]."""
    return x.transpose(1, 2).flatten(2)


def feed_forward(width: int, factor: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, factor * width), nn.GELU(), nn.Linear(factor * width, width))


def sinusoidal(t: torch.Tensor, width: int, low: float = 4e-3, high: float = 4.0) -> torch.Tensor:
    """Sine-cosine features [..., width] of ``t`` [...] with periods from ``low`` to ``high`` (as in pi0)."""
    fraction = torch.linspace(0, 1, width // 2, device=t.device)
    period = low * (high / low) ** fraction
    angle = t[..., None] * (2 * torch.pi / period)
    return torch.cat([angle.sin(), angle.cos()], -1)


def rotary(position: torch.Tensor, head_dim: int, theta: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines [B, 1, T, head_dim] of rotary positions [B, T], halves as in Llama and Qwen."""
    frequency = theta ** (-torch.arange(0, head_dim, 2, device=position.device) / head_dim)
    angle = (position[..., None] * frequency).repeat(1, 1, 2)[:, None]
    return angle.cos(), angle.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Queries or keys [B, heads, T, head_dim] turned by their positions."""
    first, second = x.chunk(2, -1)
    return x * cos.to(x.dtype) + torch.cat([-second, first], -1) * sin.to(x.dtype)


class PrefixBlock(nn.Module):
    """What transformer layers that read a backbone share: attention over prefix and own tokens, and an MLP.

    Args:
        heads, key_heads: of the queries, and of the keys and values; the former a multiple of the latter.
        affine: whether the norms have weights of their own; false where something else modulates them.
    """

    def __init__(self, width: int, heads: int, key_heads: int, head_dim: int, affine: bool):
        super().__init__()
        self.heads, self.key_heads = heads, key_heads
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=affine)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=affine)
        self.sizes = [heads * head_dim, key_heads * head_dim, key_heads * head_dim]
        self.qkv, self.out = nn.Linear(width, sum(self.sizes)), nn.Linear(heads * head_dim, width)
        self.mlp = feed_forward(width, 2)

    def attend(
        self,
        h: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        mask: torch.Tensor,
        rotation: tuple[torch.Tensor, torch.Tensor] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Attention of T tokens over K earlier ones (a prefix, say) and themselves.

        Args:
            h: [B, T, width].
            keys, values: [B, key_heads, K, head_dim].
            mask: bool [B, 1, 1 or T, K + T].
            rotation: of the own queries and keys, see :func:`rotary`.

        Returns:
            What is to be added, [B, T, width], and all keys and values, [B, key_heads, K + T, head_dim].
        """
        projected, counts = self.qkv(h).split(self.sizes, -1), (self.heads, self.key_heads, self.key_heads)
        q, k, v = (split_heads(p, count) for p, count in zip(projected, counts))
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        read_k, read_v = k, v
        if self.heads != self.key_heads:  # grouped queries
            groups = self.heads // self.key_heads
            read_k, read_v = (x.repeat_interleave(groups, 1) for x in (k, v))
        mixed = functional.scaled_dot_product_attention(q, read_k, read_v, attn_mask=mask)
        return self.out(merge_heads(mixed)), k, v


def query_heads(wanted: int, key_heads: int, setting: str) -> int:
    """Heads of the queries; 0 takes as many as the keys have. Raises ValueError naming the ``setting``."""
    if wanted % key_heads:
        raise ValueError(
            f'{setting} is {wanted}; use a multiple of the {key_heads} key heads of the backbone'
        )
    return wanted or key_heads


def layers_read(layers: int, backbone_layers: int) -> list[int]:
    """The backbone layer that each of ``layers`` reads, spread evenly from the first."""
    return [i * backbone_layers // layers for i in range(layers)]


def rotation_after(
    prefix_mask: torch.Tensor, begin: int, count: int, head_dim: int, theta: float
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Rotary cosines and sines of own tokens ``begin`` to ``begin + count``, which go on after the prefix
    (mask bool [B, P]). None for theta 0."""
    if not theta:
        return None
    own = torch.arange(begin, begin + count, device=prefix_mask.device)
    return rotary(prefix_mask.sum(1, keepdim=True) + own, head_dim, theta)
