# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Steps of a demonstration, found without labels (arXiv 1612.06699, algorithm 1).

A video is cut so that the features within the pieces vary least. The paper searches all cuts by recursion;
the same optimum comes from a dynamic program over (pieces, frames) in O(n T^2).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from apprentice.reward_models.base import RewardModelError


def segment_costs(features: np.ndarray) -> np.ndarray:
    """Mean over features of the standard deviation in each piece [i, j), [T, T + 1]; inf where j <= i.

    Args:
        features: float [T, D].
    """
    length = len(features)
    x = features.astype(np.float64)
    x = x - x.mean(axis=0)  # smaller numbers lose fewer digits in the difference below
    sums = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x, axis=0)])
    squares = np.concatenate([np.zeros((1, x.shape[1])), np.cumsum(x * x, axis=0)])
    costs = np.full((length, length + 1), np.inf)
    for i in range(length):
        count = np.arange(1, length - i + 1)[:, None]
        mean = (sums[i + 1 :] - sums[i]) / count
        variance = (squares[i + 1 :] - squares[i]) / count - mean**2
        costs[i, i + 1 :] = np.sqrt(np.maximum(variance, 0.0)).mean(axis=1)
    return costs


def discover_steps(features: np.ndarray, count: int, shortest: int = 3, by_length: bool = False) -> list[int]:
    """First frames of the ``count`` steps of one video, the first of them 0.

    Args:
        features: float [T, D] of its frames.
        count: steps; the paper takes 2 to 4 by hand.
        shortest: frames a step has at least.
        by_length: weight the deviation of a step by its length. The paper does not, and may then cut off
            short still pieces at the ends.

    Raises RewardModelError if the video is too short.
    """
    length = len(features)
    if count < 1 or shortest < 1 or length < count * shortest:
        raise RewardModelError(
            f'{length} frames cannot hold {count} steps of at least {shortest}; give longer clips or fewer '
            'steps'
        )
    costs = segment_costs(features)
    if by_length:
        pieces = np.arange(length + 1)[None, :] - np.arange(length)[:, None]
        costs = costs * np.maximum(pieces, 1)
    best = np.full((count + 1, length + 1), np.inf)
    start = np.zeros((count + 1, length + 1), int)
    best[0, 0] = 0.0
    for k in range(1, count + 1):
        for j in range(k * shortest, length + 1):
            i = np.arange((k - 1) * shortest, j - shortest + 1)
            total = best[k - 1, i] + costs[i, j]
            choice = int(np.argmin(total))
            best[k, j], start[k, j] = total[choice], i[choice]
    cuts, end = [], length
    for k in range(count, 0, -1):
        end = int(start[k, end])
        cuts.append(end)
    return cuts[::-1]


def random_steps(length: int, count: int, rng: np.random.Generator) -> list[int]:
    """Cuts in order at random places, the baseline of the paper (ordered random)."""
    return [0, *sorted(int(i) for i in rng.choice(np.arange(1, length), count - 1, replace=False))]


def step_of_frames(starts: Sequence[int], length: int) -> np.ndarray:
    """Number of the step of every frame, int [T]."""
    return np.searchsorted(np.asarray(starts), np.arange(length), side='right') - 1


def jaccard(found: np.ndarray, true: np.ndarray, count: int) -> float:
    """Agreement of two labellings int [T]: intersection over union of each step's frames, mean over steps."""
    shares = []
    for step in range(count):
        union = np.sum((found == step) | (true == step))
        if union:
            shares.append(np.sum((found == step) & (true == step)) / union)
    return float(np.mean(shares))
