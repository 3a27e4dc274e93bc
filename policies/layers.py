# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Layers that backbone and expert share."""

from __future__ import annotations

import torch
from torch import nn


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
