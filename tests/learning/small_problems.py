# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Two problems of reinforcement learning whose answers are known."""

from __future__ import annotations

import torch

from apprentice.learning.rl.base import ChunkBatch, Sizes

BANDIT = Sizes(feature=2, rows=2, actions=1)
BEST = 1.06  # of the side that the feature names; the modes of the flow are at 1 and -1


def bandit_reward(feature: torch.Tensor, chunk: torch.Tensor, best: float = BEST) -> torch.Tensor:
    """[B]: 1 for the best chunk, less by the mean squared distance to it."""
    return 1 - (chunk - best * feature[:, :1, None]).square().mean((1, 2))


def flow(noise: torch.Tensor) -> torch.Tensor:
    """A black box with two modes: noise [..., 2, 1] to a chunk about 1 or -1. The best noise is 0.6."""
    return torch.sign(noise[..., :1, :]) + 0.1 * noise


def contexts(size: int, g: torch.Generator) -> torch.Tensor:
    """Features [B, 2]: the side, 1 or -1, and something that means nothing."""
    side = torch.randint(2, (size, 1), generator=g) * 2.0 - 1
    return torch.cat([side, torch.randn(size, 1, generator=g)], 1)


def bandit(size: int, g: torch.Generator, spread: float = 0.0, candidates: int = 6) -> ChunkBatch:
    """One-step episodes of 2 rows; what was executed is a candidate, changed by noise of size 0.1.

    Args:
        spread: above 0, executed chunks are instead uniform in [-spread, spread].
    """
    feature = contexts(size, g)
    noise = torch.randn(size, candidates, 2, 1, generator=g).clamp(-2.5, 2.5)
    chunks = flow(noise)
    action = chunks[:, 0] + 0.1 * torch.randn(size, 2, 1, generator=g)
    if spread:
        action = (torch.rand(size, 2, 1, generator=g) * 2 - 1) * spread
    return ChunkBatch(
        feature=feature,
        action=action,
        valid=torch.ones(size, 2, dtype=torch.bool),
        reward=bandit_reward(feature, action),
        discount=torch.zeros(size),
        next_feature=torch.full_like(feature, float('nan')),
        candidates=chunks,
        next_candidates=chunks,
        human=torch.zeros(size, dtype=torch.bool),
        noise=noise,
        next_noise=noise,
    )


CHAIN = Sizes(feature=3, rows=2, actions=1)
GAMMA = 0.9
# of going on (chunk of 1) from each of three states, two rows a chunk; giving up (chunk of -1) is worth 0
CHAIN_VALUES = torch.tensor([GAMMA**4, GAMMA**2, 1.0])


def chain(size: int, g: torch.Generator) -> ChunkBatch:
    """Three states in a row; going on from the last one succeeds with reward 1, giving up ends with 0."""
    place = torch.randint(3, (size,), generator=g)
    goes_on = torch.rand(size, generator=g) < 0.5
    ends = ~goes_on | (place == 2)
    eye = torch.eye(3)
    plans = torch.tensor([1.0, -1.0])[None, :, None, None].expand(size, 2, 2, 1)
    return ChunkBatch(
        feature=eye[place],
        action=torch.where(goes_on, 1.0, -1.0)[:, None, None].expand(size, 2, 1),
        valid=torch.ones(size, 2, dtype=torch.bool),
        reward=(goes_on & (place == 2)).float(),
        discount=torch.where(ends, 0.0, GAMMA**2),
        next_feature=eye[(place + 1).clamp(max=2)],
        candidates=plans,
        next_candidates=plans,
        human=torch.zeros(size, dtype=torch.bool),
    )
