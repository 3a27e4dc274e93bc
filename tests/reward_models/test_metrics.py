# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Metrics against their definitions, ties included."""

import numpy as np
import pytest

from apprentice.reward_models.evaluate import Truth, baselines, evaluate
from apprentice.reward_models.metrics import roc_auc, spearman, value_order_correlation


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 6, 60), rng.random(60) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    assert roc_auc(score, positive) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_auc(score, np.zeros(60, bool)))


def test_rank_correlation():
    assert spearman(np.array([1, 2, 3, 9]), np.array([2, 3, 4, 5])) == pytest.approx(1)
    assert spearman(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 4])) == pytest.approx(0.9486833)
    assert value_order_correlation(np.ones(5)) == 0
    assert value_order_correlation(np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)


def test_clock_has_perfect_order_but_knows_no_wrong_instruction():
    frames = np.zeros((20, 1, 4, 4, 3), np.uint8)
    up = np.linspace(0, 1, 20)
    items = [Truth(frames, 'a', up, up == 1, True), Truth(frames, 'a', 0 * up, up > 2, False)]
    numbers = evaluate(baselines()['clock'], items, lambda text: ['b'])
    assert numbers['voc'] == pytest.approx(1)
    assert numbers['voc_reversed'] == pytest.approx(1)  # it does not see that the video runs backwards
    assert numbers['margin'] == 0
    assert numbers['end_auc'] == 0.5
