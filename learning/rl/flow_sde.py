# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Flow-SDE: sampling a chunk with one stochastic step, whose likelihood is an exact Gaussian.

The probability flow dx = v dt (t = 1 noise, t = 0 action, v = noise - action) has the same marginals as

    dx = [v + s^2 / (2 t) * (x + (1 - t) v)] dt + s dw,   s = a * sqrt(t / (1 - t)),

because x + (1 - t) v is the predicted noise, which is -t times the score (Flow-GRPO, arXiv 2505.05470; piRL,
arXiv 2510.25889). One step k of the sampler, drawn for each chunk, is a step of this equation, the others are
Euler steps of the flow; given the step and what came before it, the chunk is decided by one Gaussian draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from apprentice.policies.noise import Noise, draw
from apprentice.policies.prefix import Prefix

Velocity = Callable[[torch.Tensor, torch.Tensor, Prefix], torch.Tensor]


@dataclass
class Chain:
    """The stochastic step of B chunks.

    Attributes:
        before, after: [B, H, A], the chunk in the making before and after it.
        step: int64 [B], which of the sampler's steps it was.
    """

    before: torch.Tensor
    after: torch.Tensor
    step: torch.Tensor


def moments(
    velocity: torch.Tensor, x: torch.Tensor, t: torch.Tensor, delta: float, noise: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [B, H, A] and deviation [B, 1, 1] of one stochastic step from time ``t`` to ``t - delta``.

    Args:
        velocity, x: [B, H, A].
        t: [B, 1, 1]. At t = 1, where s is infinite, 1 - t is taken as ``delta`` (as Flow-GRPO does).
        noise: a.
    """
    scale = noise * (t / (1 - t).clamp(min=delta)).sqrt()
    drift = velocity + scale.square() / (2 * t) * (x + (1 - t) * velocity)
    return x - drift * delta, scale * math.sqrt(delta)


def sample_chain(
    velocity: Velocity,
    prefix: Prefix,
    size: tuple[int, int, int],
    steps: int,
    noise: float = 0.5,
    rows: int = 0,
    generator: Noise = None,
) -> tuple[torch.Tensor, Chain]:
    """Chunks [B, H, A], normalised, and their stochastic steps.

    Args:
        velocity: an expert, ``velocity(x, t, prefix)``.
        size: (B, H, A).
        steps: of the sampler.
        noise: a; 0: no stochastic step, the policy as it is deployed.
        rows: leading rows that get noise, those that are executed; 0: all.
        generator: one for all, or one for each chunk.
    """
    batch, rows = size[0], rows or size[1]
    device = prefix.mask.device
    x = draw(torch.randn, batch, size[1:], generator).to(device)
    fresh = draw(torch.randn, batch, size[1:], generator).to(device)
    uniform = draw(torch.rand, batch, (), generator).to(device)
    chosen = (uniform * steps).long().clamp(max=steps - 1)
    before, after, delta = x, x, 1 / steps
    for number in range(steps):
        t = 1 - number / steps
        v = velocity(x, torch.full((1, 1), t, dtype=x.dtype, device=device), prefix)
        following = x - v * delta
        if noise > 0:
            mean, deviation = moments(
                v, x, torch.full((1, 1, 1), t, dtype=x.dtype, device=device), delta, noise
            )
            here = (chosen == number)[:, None, None]
            noisy = here & (torch.arange(size[1], device=device) < rows)[:, None]
            following = torch.where(noisy, mean + deviation * fresh, following)
            before, after = torch.where(here, x, before), torch.where(here, following, after)
        x = following
    return x, Chain(before, after, chosen)


def step_of_chain(
    velocity: Velocity, prefix: Prefix, chain: Chain, steps: int, noise: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean [B, H, A] and deviation [B, 1, 1] of the stochastic step under (other) weights."""
    t = (1 - chain.step.to(chain.before.dtype) / steps)[:, None]
    return moments(velocity(chain.before, t, prefix), chain.before, t[..., None], 1 / steps, noise)


def log_likelihood(
    mean: torch.Tensor, deviation: torch.Tensor, after: torch.Tensor, rows: int = 0
) -> torch.Tensor:
    """Log-density [B] of the stochastic step, summed over the leading ``rows`` (0: all) and columns."""
    rows = rows or after.shape[1]
    z = (after - mean)[:, :rows] / deviation
    normaliser = deviation.log() + 0.5 * math.log(2 * math.pi)
    return (-0.5 * z.square() - normaliser).sum((-1, -2))


def divergence(
    mean: torch.Tensor, other: torch.Tensor, deviation: torch.Tensor, rows: int = 0
) -> torch.Tensor:
    """Kullback-Leibler divergence [B] of two stochastic steps of equal deviation; exact."""
    rows = rows or mean.shape[1]
    return (0.5 * ((mean - other)[:, :rows] / deviation).square()).sum((-1, -2))
