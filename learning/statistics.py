# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""The statistics of a report: intervals, paired tests and agreement. Plain numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from apprentice.robot.intervals import wilson as wilson


@dataclass(frozen=True)
class Paired:
    """The same starts before and after: successes in both, one or none; ``p`` is McNemar's, exact."""

    both: int
    only_before: int
    only_after: int
    neither: int
    p: float


def paired(before: Sequence[bool], after: Sequence[bool]) -> Paired:
    """Compare two runs over the same starts, in the same order. Raises ValueError if lengths differ."""
    if len(before) != len(after):
        raise ValueError(f'{len(before)} trials before, {len(after)} after: pairs need the same starts')
    counts = {
        (x, y): sum(1 for b, a in zip(before, after) if (b, a) == (x, y)) for x in (0, 1) for y in (0, 1)
    }
    lost, won = counts[1, 0], counts[0, 1]
    return Paired(counts[1, 1], lost, won, counts[0, 0], mcnemar(lost, won))


def mcnemar(only_before: int, only_after: int) -> float:
    """Exact two-sided McNemar test: the chance of a split at least this uneven if both were equally good."""
    n, k = only_before + only_after, min(only_before, only_after)
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return min(1.0, 2.0 * tail)


def ranks(values: Sequence[float]) -> np.ndarray:
    """Ranks from 1, ties share their mean; float64 [n]."""
    array = np.asarray(values, np.float64)
    _, inverse, counts = np.unique(array, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return ((last - counts + 1 + last) / 2.0)[inverse.reshape(-1)]


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Rank correlation in [-1, 1]; NaN for fewer than three points or a constant side."""
    if len(x) != len(y):
        raise ValueError('spearman needs as many x as y')
    if len(x) < 3:
        return float('nan')
    a, b = ranks(x), ranks(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else float('nan')


def roc_auc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Chance that a success scores above a failure, ties half; NaN if one class is empty."""
    truth = np.asarray(labels, bool)
    positives, negatives = int(truth.sum()), int((~truth).sum())
    if not positives or not negatives:
        return float('nan')
    rank_sum = float(ranks(scores)[truth].sum())
    return (rank_sum - positives * (positives + 1) / 2.0) / (positives * negatives)


@dataclass(frozen=True)
class Sample:
    """One measurement of a reward model, or the truth; ``stamp`` [s], NaN where a field is unknown."""

    episode_id: str
    stamp: float
    progress: float
    done: float


def agreement(samples: Sequence[Sample], truth: Sequence[Sample], tolerance_s: float = 0.051) -> dict:
    """How well one model agrees with the truth, joined by stamp within ``tolerance_s``.

    ``progress_spearman``: over all joined samples. ``success_auc``: the last sample of each episode (done
    probability, else progress) against whether the truth said done by then. ``samples`` and ``episodes``
    count what was joined.
    """
    order = sorted(truth, key=lambda s: s.stamp)
    stamps = np.array([s.stamp for s in order])
    joined = []
    for sample in samples:
        if not len(stamps):
            break
        right = int(np.searchsorted(stamps, sample.stamp))
        near = min(
            (i for i in (right - 1, right) if 0 <= i < len(stamps)),
            key=lambda i: abs(stamps[i] - sample.stamp),
        )
        if abs(stamps[near] - sample.stamp) <= tolerance_s:
            joined.append((sample, order[near]))
    progress = [(s.progress, t.progress) for s, t in joined if math.isfinite(s.progress + t.progress)]
    last: dict[str, tuple[float, Sample, Sample]] = {}
    for s, t in joined:
        if s.episode_id and (s.episode_id not in last or s.stamp >= last[s.episode_id][0]):
            last[s.episode_id] = (s.stamp, s, t)
    ends = [(s.done if math.isfinite(s.done) else s.progress, t.done > 0.5) for _, s, t in last.values()]
    ends = [(score, label) for score, label in ends if math.isfinite(score)]
    return {
        'samples': len(joined),
        'episodes': len(ends),
        'progress_spearman': spearman([a for a, _ in progress], [b for _, b in progress]),
        'success_auc': roc_auc([score for score, _ in ends], [label for _, label in ends]),
    }
