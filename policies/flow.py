# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Flow matching on action chunks, the one primitive under cloning, preferences and RL.

Convention (pi0, NORA-1.5): t = 1 is noise, t = 0 is the action; x_t = t * noise + (1 - t) * action;
the target velocity is noise - action; sampling walks x <- x - v / steps from t = 1 to 0.
"""

from __future__ import annotations

import torch

from apprentice.policies.expert import FlowExpert
from apprentice.policies.prefix import Prefix


def sample_time(shape: tuple[int, ...], generator: torch.Generator | None = None) -> torch.Tensor:
    """Flow times in (0, 1], law Beta(1.5, 1): more weight on noisy inputs, as in pi0 and NORA-1.5.

    Drawn by inversion: the distribution function of Beta(1.5, 1) is t ** 1.5.
    """
    uniform = torch.rand(shape, generator=generator)
    return uniform.pow(1 / 1.5) * 0.999 + 0.001


def flow_loss(
    expert: FlowExpert,
    prefix: Prefix,
    actions: torch.Tensor,
    noise: torch.Tensor,
    time: torch.Tensor,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Mean squared velocity error per item, [B].

    Args:
        actions, noise: [B, H, A], normalised.
        time: [B, H] per token; equal times for plain flow matching, 0 for tokens given clean.
        valid: bool [B, H], rows that count; None means all.
    """
    t = time[..., None]
    velocity = expert(t * noise + (1 - t) * actions, time, prefix)
    error = (velocity - (noise - actions)).square().mean(-1)
    if valid is None:
        return error.mean(-1)
    weight = valid.to(error.dtype)
    return (error * weight).sum(-1) / weight.sum(-1).clamp(min=1)


def integrate(expert: FlowExpert, prefix: Prefix, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """Euler integration from ``noise`` [B, H, A] at t = 1 to actions at t = 0."""
    x = noise
    for i in range(steps):
        time = torch.full(x.shape[:2], 1 - i / steps, dtype=x.dtype, device=x.device)
        x = x - expert(x, time, prefix) / steps
    return x
