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


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the precision-recall curve (AUPRC), tied scores taken together; NaN without positives."""
    score, positive = np.asarray(score, float), np.asarray(positive, bool)
    if not positive.any():
        return float('nan')
    order = np.argsort(-score, kind='stable')
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # last of each run of ties
    found = np.cumsum(positive[order])[ends]
    precision, recall = found / (ends + 1), found / positive.sum()
    return float(np.sum(np.diff(recall, prepend=0.0) * precision))


def pair_accuracy(good: np.ndarray, bad: np.ndarray) -> float:
    """Share of all (good, bad) pairs in which the good one scores higher; ties count half."""
    good, bad = np.asarray(good, float), np.asarray(bad, float)
    if not len(good) or not len(bad):
        return float('nan')
    difference = good[:, None] - bad
    return float(np.mean((difference > 0) + 0.5 * (difference == 0)))


def calibration_error(probability: np.ndarray, happened: np.ndarray, bins: int = 10) -> float:
    """ECE: mean of |mean probability - frequency| over ``bins`` equal bins of [0, 1], weighted by count."""
    probability, happened = np.asarray(probability, float), np.asarray(happened, float)
    which = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = [
        (which == b).sum() * abs(probability[which == b].mean() - happened[which == b].mean())
        for b in np.unique(which)
    ]
    return float(np.sum(gaps) / max(1, len(probability)))


def best_of_n(proxy: np.ndarray, gold: np.ndarray, n: int) -> float:
    """Expected gold score of the best of ``n`` by the proxy, drawn with replacement; exact, ties shared."""
    proxy, gold = np.asarray(proxy, float), np.asarray(gold, float)
    _, which, counts = np.unique(proxy, return_inverse=True, return_counts=True)
    upto = np.cumsum(counts) / len(proxy)
    chance = upto**n - (upto - counts / len(proxy)) ** n  # that the best is of this value
    means = np.bincount(which, gold) / counts
    return float(np.sum(chance * means))
