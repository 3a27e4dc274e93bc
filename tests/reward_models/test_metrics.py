# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Metrics against their definitions, ties included, and the judgement of models whose answer is known."""

import numpy as np
import pytest

from apprentice.reward_models.evaluation.evaluate import evaluate
from apprentice.reward_models.evaluation.metrics import (
    average_precision,
    best_of_n,
    calibration_error,
    pair_accuracy,
    roc_auc,
    spearman,
    value_order_correlation,
)
from apprentice.reward_models.evaluation.showing import (
    FAILURE,
    SUCCESS,
    Showing,
    Truth,
    baselines,
    model_curve,
)


def test_auc_is_the_share_of_ordered_pairs():
    rng = np.random.default_rng(0)
    score, positive = rng.integers(0, 6, 60), rng.random(60) < 0.4
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[~positive]]
    assert roc_auc(score, positive) == pytest.approx(np.mean(pairs))
    assert pair_accuracy(score[positive], score[~positive]) == pytest.approx(np.mean(pairs))
    assert np.isnan(roc_auc(score, np.zeros(60, bool)))


def test_rank_correlation():
    assert spearman(np.array([1, 2, 3, 9]), np.array([2, 3, 4, 5])) == pytest.approx(1)
    assert spearman(np.array([1, 2, 2, 3]), np.array([1, 2, 3, 4])) == pytest.approx(0.9486833)
    assert value_order_correlation(np.ones(5)) == 0
    assert value_order_correlation(np.array([3.0, 2.0, 1.0])) == pytest.approx(-1)


def test_average_precision_sums_precision_over_recall():
    # ranked: hit, miss, hit: 1/2 of the recall at precision 1, 1/2 at 2/3
    assert average_precision([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    # all alike: every recall at the share of positives, whatever the order
    assert average_precision([0.5] * 4, [True, False, False, False]) == pytest.approx(0.25)


def test_calibration_error_is_the_weighted_gap():
    probability = np.array([0.05] * 10 + [0.95] * 30)
    happened = np.array([1] + [0] * 9 + [1] * 24 + [0] * 6)
    assert calibration_error(probability, happened) == pytest.approx(0.25 * 0.05 + 0.75 * 0.15)


@pytest.mark.parametrize('n', [1, 3, 20])
def test_best_of_n_is_what_drawing_gives(n):
    rng = np.random.default_rng(n)
    proxy, gold = rng.integers(0, 5, 12), rng.random(12)
    drawn = rng.integers(0, 12, (40_000, n))
    # of tied ones any: a little noise decides
    best = drawn[np.arange(len(drawn)), np.argmax(proxy[drawn] + 1e-6 * rng.random(drawn.shape), axis=1)]
    assert best_of_n(proxy, gold, n) == pytest.approx(gold[best].mean(), abs=0.01)


def attempt(success, wrong=('b',), length=20):
    up = np.linspace(0, 1, length) if success else np.zeros(length)
    frames = np.zeros((length, 1, 4, 4, 3), np.uint8)
    frames[:, 0] = (200 * up).astype(np.uint8)[:, None, None, None]
    stamps = 0.2 * np.arange(length)
    return Truth(frames, stamps, 'a', SUCCESS if success else FAILURE, up, up == 1, 'task', wrong)


def seeing(showing: Showing, text: str):
    """Sees brightness, and reads."""
    value = showing.frames().mean(axis=(1, 2, 3, 4)) / 200 * (text == 'a')
    return value, value


def test_a_model_that_sees_and_reads_keeps_every_bound():
    numbers = evaluate(seeing, [attempt(True), attempt(False), attempt(True)]).numbers
    assert numbers['voc'] == pytest.approx(1)
    assert numbers['voc_rewound'] == pytest.approx(-1)
    assert numbers['auroc'] == numbers['pair_accuracy'] == numbers['auprc'] == 1
    assert numbers['margin'] == pytest.approx(1)
    assert numbers['static_credit'] < 0.02
    assert numbers['false_success'] == 0
    assert numbers['ece'] == pytest.approx(0)


def test_clock_has_perfect_order_and_nothing_else():
    judged = evaluate(baselines(expected_s=3.0)['clock'], [attempt(True), attempt(False)])
    numbers = judged.numbers
    assert numbers['voc'] > 0.9
    assert numbers['voc_rewound'] > 0.9  # it does not see that the video runs backwards
    assert numbers['margin'] == 0
    assert numbers['auroc'] == numbers['pair_accuracy'] == 0.5
    assert numbers['static_credit'] == 1
    assert numbers['false_success'] == 1
    assert judged.counts['failed'] == judged.counts['false_success'] == 1


def test_done_must_last_to_be_believed():
    def flickering(showing, text):
        return np.zeros(len(showing.rows)), np.where(showing.rows % 3 == 2, 0.0, 1.0)

    def lasting(showing, text):
        return np.zeros(len(showing.rows)), np.where(showing.rows % 4 == 3, 0.0, 1.0)

    assert evaluate(flickering, [attempt(False)]).numbers['false_success'] == 0
    assert evaluate(lasting, [attempt(False)]).numbers['false_success'] == 1


def test_best_of_n_shows_a_proxy_that_pays_for_failure():
    items = [attempt(True), attempt(False), attempt(False), attempt(True)]

    def inverted(showing, text):
        value, _ = seeing(showing, text)
        return 1 - value, 1 - value

    good, bad = evaluate(seeing, items).best_of, evaluate(inverted, items).best_of
    assert good[1] == bad[1] == pytest.approx(0.5)
    assert good[256] == pytest.approx(1)
    assert bad[256] == pytest.approx(0)


class Brightness:
    """The smallest reward model."""

    from apprentice.reward_models.base import Needs
    from apprentice.robot.types import RewardKind

    needs, kind, model, version = Needs(), RewardKind.ABS_PROGRESS, 'brightness', '1'

    def __init__(self):
        self.encoded = 0

    def encode(self, frames):
        self.encoded += len(frames)
        return frames.astype(np.float32).mean(axis=(-3, -2))

    def negatives(self, text):
        return []

    def score(self, request):
        from apprentice.reward_models.base import Score

        value = request.emb[:, -1].mean(axis=(1, 2)) / 200
        nothing = np.full(len(value), np.nan, np.float32)
        return Score(
            self.kind, value, nothing, nothing, nothing, np.ones(len(value), bool), self.model, self.version
        )


def test_frames_of_an_attempt_are_encoded_once():
    model, item = Brightness(), attempt(True)
    of = model_curve(model)
    forward = of(Showing.whole(item), 'a')[0]
    backward = of(Showing.rewound(item), 'a')[0]
    of(Showing.whole(item), 'b')
    np.testing.assert_allclose(backward, forward[::-1])
    assert model.encoded == len(item.frames)
    # no done probability: the value is what an attempt is judged by
    numbers = evaluate(of, [item, attempt(False)]).numbers
    assert numbers['auroc'] == 1
    assert np.isnan(numbers['ece'])
