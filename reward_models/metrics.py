# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How good a reward model is, in numbers. Definitions differ between papers; these are ours."""

from __future__ import annotations

import numpy as np


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive scores above a negative, ties counting half; NaN without both."""
    score, positive = np.asarray(score, float), np.asarray(positive, bool)
    count = int(positive.sum()), int((~positive).sum())
    if not all(count):
        return float('nan')
    return float((_ranks(score)[positive].sum() - count[0] * (count[0] + 1) / 2) / (count[0] * count[1]))


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Rank correlation with average ranks for ties; 0 if one side is constant."""
    return pearson(_ranks(np.asarray(a, float)), _ranks(np.asarray(b, float)))


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Linear correlation; 0 if one side is constant."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / norm) if norm > 1e-12 else 0.0


def value_order_correlation(values: np.ndarray) -> float:
    """VOC: rank correlation of a curve [T] with time."""
    return spearman(values, np.arange(len(values)))


def _ranks(values: np.ndarray) -> np.ndarray:
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[index]
