# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Accumulated progress stays in [0, 1], does not drift, and counts nothing twice."""

import numpy as np
import pytest

from apprentice.reward_models.accumulate import ProgressAccumulator, step
from apprentice.reward_models.critic.critic import signed_score


def test_any_sequence_of_scores_stays_bounded():
    rng = np.random.default_rng(0)
    for _ in range(200):
        value = rng.random()
        for delta in rng.uniform(-1, 1, 100) * rng.choice([1.0, 0.1]):
            value = step(value, float(delta))
            assert 0.0 <= value <= 1.0
    assert step(0.3, 1.0) == 1.0
    assert step(0.3, -1.0) == 0.0


@pytest.mark.parametrize('delta', [1.01, -1.5, float('nan')])
def test_scores_out_of_range_are_refused(delta):
    with pytest.raises(ValueError):
        step(0.5, delta)


def test_signed_score_inverts_the_step():
    rng = np.random.default_rng(1)
    before, after = rng.uniform(0.1, 0.9, 500), rng.uniform(0.1, 0.9, 500)
    deltas = signed_score(before, after)
    np.testing.assert_allclose([step(b, float(d)) for b, d in zip(before, deltas)], after, atol=1e-9)


@pytest.mark.parametrize('rate', [1, 2, 5, 10])
def test_denser_samples_do_not_count_twice(rate):
    """Half of what remains is gained each second, whatever the sampling rate."""
    accumulator = ProgressAccumulator(1.0)
    accumulator.start(0.0)
    for k in range(1, 3 * rate + 1):
        stamp = k / rate
        share = 1 - 0.5 ** min(stamp, 1.0)
        progress = accumulator.add(stamp, share, 1 - 0.5**stamp)
    assert progress == pytest.approx(1 - 0.5**3)


def test_a_still_scene_does_not_drift():
    rng = np.random.default_rng(2)
    ends = []
    for _ in range(20):
        accumulator = ProgressAccumulator(1.0)
        accumulator.start(0.0)
        for k in range(1, 61):
            progress = accumulator.add(float(k), float(np.clip(rng.normal(0, 0.02), -1, 1)), 0.0)
        ends.append(progress)
    assert max(ends) < 0.1


def test_start_comes_first_and_scores_are_finite():
    with pytest.raises(ValueError):
        ProgressAccumulator().add(1.0, 0.1, 0.1)
    accumulator = ProgressAccumulator()
    accumulator.start(0.0)
    with pytest.raises(ValueError):
        accumulator.add(1.0, float('nan'), 0.1)
