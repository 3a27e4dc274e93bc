# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Which pairs to ask about: where members disagree, or where an answer tells most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.preferences.ensemble import win_probabilities


def disagreement(rewards: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Standard deviation over members of P(left is better), [P], from rewards [M, N] (PEBBLE's rule)."""
    return win_probabilities(rewards, pairs).std(axis=0)


def information_gain(rewards: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """What an answer tells about which member is right, nats [P]: H(mean p) - mean H(p) (arXiv 1112.5745).

    Unlike disagreement, pairs that every member finds undecided gain nothing.
    """
    p = win_probabilities(rewards, pairs)
    return _entropy(p.mean(axis=0)) - _entropy(p).mean(axis=0)


RULES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    'disagreement': disagreement,
    'information': information_gain,
}


def choose_pairs(
    rewards: np.ndarray | None,
    count: int,
    rng: np.random.Generator,
    rule: str = 'information',
    clips: int = 0,
    groups: np.ndarray | None = None,
    candidates: int = 2000,
    most: int = 3,
    known: set[tuple[int, int]] | None = None,
) -> np.ndarray:
    """Pairs to ask about next, int64 [at most count, 2], best first.

    Args:
        rewards: [M, N] of an ensemble; None, before the first answer: random pairs of ``clips`` clips.
        count: pairs wanted.
        rng: draws the candidates.
        rule: 'disagreement', 'information' or 'random'.
        clips: number of clips, where there are no rewards yet.
        groups: int [N], e.g. the instruction of each clip; only clips of one group are compared.
        candidates: random pairs among which to choose.
        most: pairs of one batch in which a clip may stand, so that a batch does not ask one thing many times.
        known: pairs (smaller, larger) that are answered already.
    """
    if rule not in (*RULES, 'random'):
        raise RewardModelError(f'rule is {rule!r}; use one of {[*RULES, "random"]}')
    number = clips if rewards is None else rewards.shape[1]
    if number < 2:
        raise RewardModelError(f'{number} clips make no pair; record more episodes')
    group = np.zeros(number, int) if groups is None else np.asarray(groups)
    drawn = rng.integers(0, number, (max(candidates, 4 * count), 2))
    known = known or set()
    seen: dict[tuple[int, int], tuple[int, int]] = {}
    for a, b in drawn.tolist():
        key = (min(a, b), max(a, b))
        if a != b and group[a] == group[b] and key not in known:
            seen.setdefault(key, (a, b))
    pairs = np.array(list(seen.values()), np.int64).reshape(-1, 2)
    if rule != 'random' and rewards is not None and len(pairs):
        pairs = pairs[np.argsort(-RULES[rule](rewards, pairs), kind='stable')]
    used = np.zeros(number, int)
    chosen: list[tuple[int, int]] = []
    for a, b in pairs:
        if len(chosen) == count:
            break
        if used[a] < most and used[b] < most:
            used[[a, b]] += 1
            chosen.append((int(a), int(b)))
    return np.array(chosen, np.int64).reshape(-1, 2)


def _entropy(p: np.ndarray) -> np.ndarray:
    p = np.clip(p.astype(np.float64), 1e-12, 1 - 1e-12)  # in half the digits 1 - 1e-12 is 1
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))
