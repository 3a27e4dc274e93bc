# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Statistics of a LeRobotDataset v3.0: of an episode, and of all of them from those of each.

Names, shapes and types are those of huggingface/lerobot, which appends to a dataset only if they are equal:
numbers as lists, images [3, 1, 1] in [0, 1], ``count`` a list of one. Quantiles of the whole are means of the
episodes' weighted by their frames, as LeRobot has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

QUANTILES = {'q01': 0.01, 'q10': 0.10, 'q50': 0.50, 'q90': 0.90, 'q99': 0.99}
_IMAGES, _PIXELS = 100, 4096  # at most so many frames of an episode, and pixels of each, are looked at
Stats = dict[str, list[Any]]


def of_column(values: np.ndarray) -> Stats:
    """Statistics of a column, [T] or [T, dim]; what is not finite is left out of them, but counted."""
    plain = np.asarray(values)
    finite = plain.astype(np.float64).reshape(len(plain), -1)
    finite = finite[np.all(np.isfinite(finite), axis=1)]
    if not len(finite):  # a reward model that said nothing
        finite = np.zeros((1, finite.shape[1]))
    convert = {'b': bool, 'i': int}.get(plain.dtype.kind, float)
    found: Stats = {
        'min': [convert(value) for value in finite.min(0)],
        'max': [convert(value) for value in finite.max(0)],
    }
    found |= {'mean': finite.mean(0).tolist(), 'std': finite.std(0).tolist()}
    found['count'] = [len(plain)]
    return found | {name: np.quantile(finite, q, axis=0).tolist() for name, q in QUANTILES.items()}


def of_images(images: Any) -> Stats:
    """Statistics of uint8 [T, H, W, 3], from at most 100 frames and some pixels of each."""
    rows = np.unique(np.linspace(0, len(images) - 1, min(len(images), _IMAGES)).astype(int))
    counts = np.zeros((3, 256), np.int64)
    for row in rows:
        pixels = np.asarray(images[int(row)]).reshape(-1, 3)
        pixels = pixels[:: max(1, len(pixels) // _PIXELS)]
        for channel in range(3):
            counts[channel] += np.bincount(pixels[:, channel], minlength=256)
    levels = np.arange(256) / 255
    total = counts.sum(1)
    mean = counts @ levels / total
    std = np.sqrt(np.maximum(counts @ levels**2 / total - mean**2, 0))
    cumulated = counts.cumsum(1)
    present = [np.flatnonzero(channel) for channel in counts]
    found = {
        'min': [levels[where[0]] for where in present],
        'max': [levels[where[-1]] for where in present],
        'mean': mean,
        'std': std,
    }
    for name, q in QUANTILES.items():
        found[name] = [levels[np.searchsorted(c, q * n)] for c, n in zip(cumulated, total)]
    stats = {name: np.reshape(values, (3, 1, 1)).tolist() for name, values in found.items()}
    return {**stats, 'count': [len(rows)]}


def combined(parts: Sequence[dict[str, Stats]]) -> dict[str, Stats]:
    """Statistics of all episodes, from those of each."""
    return {name: _combined([part[name] for part in parts]) for name in parts[0]}


def _combined(parts: Sequence[Stats]) -> Stats:
    counts = np.array([part['count'][0] for part in parts], np.float64)
    total = counts.sum()

    def stacked(name: str) -> np.ndarray:
        return np.array([part[name] for part in parts], np.float64)

    def weighted(values: np.ndarray) -> np.ndarray:
        return np.tensordot(counts / total, values, axes=1)

    mean = weighted(stacked('mean'))
    variance = weighted(stacked('std') ** 2 + (stacked('mean') - mean) ** 2)
    found = {
        'min': stacked('min').min(0).tolist(),
        'max': stacked('max').max(0).tolist(),
        'mean': mean.tolist(),
        'std': np.sqrt(variance).tolist(),
        'count': [int(total)],
    }
    return found | {name: weighted(stacked(name)).tolist() for name in QUANTILES}
