# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Flow matching on action chunks, the one primitive under cloning, preferences and RL.

Convention (pi0, NORA-1.5): t = 1 is noise, t = 0 is the action; x_t = t * noise + (1 - t) * action;
the target velocity is noise - action; sampling walks x <- x - v / steps from t = 1 to 0.
"""

from __future__ import annotations

import torch

from apprentice.policies.expert import FlowExpert
from apprentice.policies.prefix import Prefix
from apprentice.policies.rtc import Guidance


def sample_time(
    shape: tuple[int, ...], generator: torch.Generator | None = None, alpha: float = 1.5
) -> torch.Tensor:
    """Flow times in (0, 1], law Beta(alpha, 1): more weight on noisy inputs, 1.5 as in pi0 and NORA-1.5.

    Drawn by inversion: the distribution function of Beta(alpha, 1) is t ** alpha. 1 is uniform.
    """
    uniform = torch.rand(shape, generator=generator)
    return uniform.pow(1 / alpha) * 0.999 + 0.001


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


def integrate(
    expert: FlowExpert, prefix: Prefix, noise: torch.Tensor, steps: int, guidance: Guidance | None = None
) -> torch.Tensor:
    """Euler integration from ``noise`` [B, H, A] at t = 1 to actions at t = 0.

    The expert is given one time for all rows, [1, 1], unless guidance gives some of them clean.
    """
    x = noise
    clean = guidance is not None and bool(guidance.fixed.any())
    for i in range(steps):
        t = 1 - i / steps
        time = torch.full((1, 1), t, dtype=x.dtype, device=x.device)
        if guidance is not None and clean:
            x, time = guidance.hold(x, time)
        velocity = expert(x, time, prefix)
        if guidance is not None:
            velocity = guidance.steer(velocity, x, t)
        x = x - velocity / steps
    if guidance is not None and clean:
        x, _ = guidance.hold(x, torch.zeros_like(x[..., 0]))
    return x
