# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What a reward head is good for beside reward: sorting out answers, sorting out data, best of n.

After IXC-2.5-Reward (arXiv 2501.12368), which uses one head for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.evaluation.metrics import pearson
from apprentice.reward_models.preferences.comparisons import Comparison, as_arrays
from apprentice.reward_models.preferences.ensemble import FitConfig, fit, win_probabilities


def answer_credibility(
    clips: np.ndarray, comparisons: Sequence[Comparison], config: FitConfig | None = None, folds: int = 5
) -> np.ndarray:
    """Probability of each given answer under an ensemble that has not seen it, float [P]; NaN for ties.

    Small ones are likely slips. Raises RewardModelError with fewer comparisons than folds.
    """
    if len(comparisons) < folds:
        raise RewardModelError(f'{len(comparisons)} comparisons do not make {folds} folds; answer more pairs')
    config = config or FitConfig()
    fold = np.random.default_rng(config.seed).permutation(len(comparisons)) % folds
    credible = np.full(len(comparisons), np.nan)
    for part in range(folds):
        held = np.flatnonzero(fold == part)
        rest = [c for c, f in zip(comparisons, fold, strict=True) if f != part]
        rewards = fit(clips, rest, config).rewards(clips)
        pairs, answers, _ = as_arrays([comparisons[int(i)] for i in held])
        p = win_probabilities(rewards, pairs).mean(axis=0)
        credible[held] = np.where(answers == 0, p, np.where(answers == 1, 1 - p, np.nan))
    return credible


def without_slips(
    comparisons: Sequence[Comparison], credible: np.ndarray, least: float = 0.1
) -> list[Comparison]:
    """The comparisons whose answers are at least so credible (:func:`answer_credibility`); ties stay."""
    return [c for c, p in zip(comparisons, credible, strict=True) if not p < least]


def length_constrained(
    comparisons: Sequence[Comparison], lengths: np.ndarray, limit: float
) -> list[Comparison]:
    """Drop pairs whose winner is much longer than its loser, so that length is not what is learned.

    Args:
        lengths: float [N] of the clips (duration or path length), all positive.
        limit: largest log(winner / loser) that stays. It decides how much of the bias goes and can turn it
            round: see :func:`tuned_length_limit`.
    """
    log_length = np.log(np.asarray(lengths, float))
    kept = []
    for c in comparisons:
        gap = log_length[c.left] - log_length[c.right]
        longer = gap if c.answer == 'left' else -gap
        if c.answer == 'equal' or longer <= limit:
            kept.append(c)
    return kept


def tuned_length_limit(
    clips: np.ndarray,
    comparisons: Sequence[Comparison],
    lengths: np.ndarray,
    limits: Sequence[float],
    config: FitConfig | None = None,
) -> float:
    """The limit of :func:`length_constrained` whose reward correlates least with length, either way.

    For clips among which length should not matter, such as those of equal outcome.
    """
    log_length = np.log(np.asarray(lengths, float))
    best = (np.inf, float('inf'))
    for limit in (*limits, float('inf')):
        some = length_constrained(comparisons, lengths, limit)
        if some:
            reward = fit(clips, some, config).rewards(clips).mean(axis=0)
            best = min(best, (abs(pearson(reward, log_length)), limit))
    return best[1]


def best_share(rewards: np.ndarray, share: float, caution: float = 1.0) -> np.ndarray:
    """Numbers of the best clips or demonstrations by mean - caution * std of rewards [M, N], best first."""
    if not 0 < share <= 1:
        raise RewardModelError(f'share is {share}; it must lie in (0, 1]')
    order = np.argsort(-cautious(rewards, caution), kind='stable')
    return order[: max(1, round(share * len(order)))]


def best_of_n(rewards: np.ndarray, caution: float = 1.0) -> int:
    """The candidate with the largest mean - caution * std over members, from rewards [M, N].

    An ensemble's caution is what keeps the best of many from being the one it is most wrong about.
    """
    return int(np.argmax(cautious(rewards, caution)))


def cautious(rewards: np.ndarray, caution: float) -> np.ndarray:
    """mean - caution * std over members, [N]."""
    return rewards.mean(axis=0) - caution * rewards.std(axis=0)


def sure_pairs(rewards: np.ndarray, pairs: np.ndarray, times: float = 2.0) -> list[Comparison]:
    """Pairs the ensemble decides itself, to train a policy on: |gap| > times * sqrt(std_a^2 + std_b^2).

    The weight of each is the ensemble's probability of its answer.
    """
    mean, std = rewards.mean(axis=0), rewards.std(axis=0)
    found = []
    p = win_probabilities(rewards, pairs).mean(axis=0)
    for (a, b), q in zip(pairs.tolist(), p, strict=True):
        if abs(mean[a] - mean[b]) > times * np.hypot(std[a], std[b]):
            left = bool(mean[a] > mean[b])
            answer = Comparison(a, b, 'left' if left else 'right')
            found.append(replace(answer, weight=float(q if left else 1 - q)))
    return found
