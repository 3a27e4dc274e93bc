# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Ensembles are pessimistic, trust falls with doubt, and one frame does not make it done."""

import numpy as np
import pytest

from apprentice.reward_models.base import DoneDetector, RewardModelError
from apprentice.reward_models.calibration.done import DoneConfig, KOfN
from apprentice.reward_models.calibration.ensemble import Ensemble
from apprentice.reward_models.calibration.trust import Trust


def test_disagreement_lowers_the_potential():
    phi = np.array([[0.5, 0.9, 0.2], [0.5, 0.1, np.nan]])
    std = np.array([[0.0, 0.0, 0.1], [0.0, 0.0, np.nan]])
    value, sigma = Ensemble(penalty=1.0)(phi, std)
    np.testing.assert_allclose(value, [0.5, 0.5 - 0.4, 0.2 - 0.1])
    np.testing.assert_allclose(sigma, [0.0, 0.4, 0.1])
    np.testing.assert_allclose(Ensemble('min')(phi, std)[0], [0.5, 0.1, 0.2])
    np.testing.assert_array_equal(np.isnan(Ensemble(at_least=2)(phi, std)[0]), [False, False, True])
    assert Ensemble(penalty=10.0)(phi, std)[0].min() == 0.0


def test_the_pessimist_is_not_fooled_where_one_member_sees_through_it():
    """Best of 200 under the proxy: four of five members love the exploit, which is worth nothing."""
    rng = np.random.default_rng(0)
    gold = 0.7 * rng.random(200)
    members = np.clip(gold + rng.normal(0, 0.05, (5, 200)), 0, 1)
    gold[:20], members[:, :20], members[1, :20] = 0.0, 1.0, 0.0
    best = {
        name: gold[np.argmax(ensemble(members, np.zeros_like(members))[0])]
        for name, ensemble in (('mean', Ensemble(penalty=0.0)), ('low', Ensemble()), ('min', Ensemble('min')))
    }
    assert best['mean'] == 0.0
    assert min(best['low'], best['min']) > 0.6


def test_trust_is_the_product_of_three():
    trust = Trust(sigma=0.2, margin=0.1, ood=1.0)
    np.testing.assert_allclose(
        trust(np.array([0.0, 0.2, 0.0, 0.0]), np.array([0.2, 0.2, 0.1, 0.2]), np.array([0.5, 0.5, 0.5, 1.0])),
        [1.0, np.exp(-1), 0.0, 0.0],
    )


def test_what_was_not_measured_gives_no_trust_unless_not_asked():
    nan = np.full(3, np.nan)
    phi = np.array([0.1, 0.5, 0.9])
    weight, reason = Trust().of_episode(phi, np.zeros(3), np.ones(3), nan)
    assert weight == 0.0
    assert 'ood was not measured' in reason
    weight, reason = Trust(ood=None).of_episode(phi, np.zeros(3), np.ones(3), nan)
    assert (weight, reason) == (1.0, '')
    assert Trust(sigma=None, margin=None, ood=None).of_episode(phi, nan, nan, nan)[0] == 1.0
    assert Trust().of_episode(nan, nan, nan, nan) == (0.0, 'no valid sample')


def test_an_episode_has_one_trust_and_its_margin_is_that_of_the_best_moment():
    phi = np.array([0.0, 0.5, 0.9])
    lead = np.array([-0.1, 0.1, 0.4])  # nothing is done at the start: no instruction leads there
    assert Trust(margin=0.2).of_episode(phi, np.zeros(3), lead, np.zeros(3))[0] == 1.0
    weight, reason = Trust(margin=0.2).of_episode(phi, np.zeros(3), lead[::-1], np.zeros(3))
    assert weight == 0.0
    assert 'margin -0.1 is beyond 0.2' in reason


def feed(detector, probabilities, veto=()):
    return [
        detector.add(float(i), views, i in veto)
        for i, views in enumerate(
            p if isinstance(p, dict) else {'front': p, 'wrist': p} for p in probabilities
        )
    ]


def test_one_lucky_frame_is_not_done():
    detector = KOfN(DoneConfig(k=3, n=4))
    assert isinstance(detector, DoneDetector)
    assert feed(detector, [0.1, 0.99, 0.1, 0.1, 0.99, 0.1]) == [False] * 6
    detector.reset()
    assert feed(detector, [0.95, 0.1, 0.95, 0.95, 0.1]) == [False, False, False, True, False]


def test_one_view_is_not_enough():
    one = [{'front': 0.99, 'wrist': 0.2}] * 6
    assert not any(feed(KOfN(DoneConfig()), one))
    assert any(feed(KOfN(DoneConfig(views=1)), one))
    assert not any(feed(KOfN(DoneConfig()), [{'front': 0.99, 'wrist': float('nan')}] * 6))


def test_a_predicate_vetoes():
    assert feed(KOfN(DoneConfig(k=2, n=2)), [0.99] * 5, veto=(3,)) == [False, True, True, False, False]


def test_stamps_must_increase_and_settings_must_fit():
    detector = KOfN()
    detector.add(1.0, {})
    with pytest.raises(ValueError, match='must increase'):
        detector.add(1.0, {})
    for wrong in ({'k': 5}, {'k': 0}, {'views': 0}, {'threshold': 2.0}):
        with pytest.raises(RewardModelError):
            DoneConfig(**wrong)
    for part, wrong in ((Ensemble, {'penalty': -1.0}), (Ensemble, {'at_least': 0}), (Trust, {'sigma': 0.0})):
        with pytest.raises(RewardModelError):
            part(**wrong)
