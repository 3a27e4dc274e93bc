# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Statistics raise where others pass data through."""

import numpy as np
import pytest

from apprentice.robot.normalize import Statistics, StatisticsError

NAMES = ('a', 'b')


def test_round_trip():
    values = np.random.default_rng(0).normal(size=(100, 2))
    statistics = Statistics.of(values, NAMES, 'state')
    again = Statistics.from_dict(statistics.to_dict(), NAMES, 'state')
    np.testing.assert_allclose(again.mean, values.mean(0))
    np.testing.assert_allclose(again.std, values.std(0))
    assert again.count == 100


def test_degenerate_and_nan_raise():
    values = np.random.default_rng(0).normal(size=(100, 2))
    values[:, 1] = 3.0
    with pytest.raises(StatisticsError, match='b hardly varies'):
        Statistics.of(values, NAMES, 'action')
    values[3, 1] = np.nan
    with pytest.raises(StatisticsError, match='not finite'):
        Statistics.of(values, NAMES, 'action')


@pytest.mark.parametrize('key', ['mean', 'std', 'low', 'high', 'count'])
def test_missing_key_is_named(key):
    data = Statistics.of(np.random.default_rng(0).normal(size=(9, 2)), NAMES, 's').to_dict()
    del data[key]
    with pytest.raises(StatisticsError, match=key):
        Statistics.from_dict(data, NAMES, 's')


def test_other_dimension_raises():
    data = Statistics.of(np.random.default_rng(0).normal(size=(9, 2)), NAMES, 's').to_dict()
    with pytest.raises(StatisticsError, match='3 dimensions'):
        Statistics.from_dict(data, ('a', 'b', 'c'), 's')


def test_a_joint_that_hardly_moved_is_scaled_as_the_others_are():
    rng = np.random.default_rng(0)
    moved, still, gripper = rng.normal(0, 0.2, 500), rng.normal(0, 0.004, 500), rng.normal(0, 0.002, 500)
    found = Statistics.of(np.stack([moved, still, gripper], 1), ['a', 'b', 'g'], 'action')
    floored = found.with_floor(0.1, np.array([True, True, False]))
    np.testing.assert_allclose(floored.std, [found.std[0], 0.1 * found.std[0], found.std[2]])
    np.testing.assert_array_equal(floored.mean, found.mean)
