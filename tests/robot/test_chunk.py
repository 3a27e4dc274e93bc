# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Following a chunk: rows are reached on their time, delay skips rows, a merge does not jump."""

import numpy as np
import pytest

from apprentice.robot.chunk import next_setpoint, row_at
from apprentice.robot.types import ActionChunk

CHUNK = ActionChunk(stamp=10.0, actions=np.arange(1.0, 5.0)[:, None], dt=0.1)


@pytest.mark.parametrize(
    ('now', 'row'), [(10.0, 0), (10.05, 0), (10.1, 1), (10.35, 3), (10.4, None), (9.9, 0)]
)
def test_rows(now, row):
    assert row_at(CHUNK, now) == row


@pytest.mark.parametrize('period', [0.1, 0.05, 0.02, 0.01])
def test_each_row_is_reached_on_its_time(period):
    setpoint, ticks = np.zeros(1), round(0.1 / period)
    for row in range(4):
        for tick in range(ticks):
            followed = next_setpoint(CHUNK, setpoint, 10.0 + row * 0.1 + tick * period, period)
            assert followed is not None
            setpoint = followed[0]
        np.testing.assert_allclose(setpoint, CHUNK.actions[row], atol=1e-6)
    assert next_setpoint(CHUNK, setpoint, 10.4, period) is None


def test_late_chunk_starts_at_the_row_that_is_due():
    followed = next_setpoint(CHUNK, np.zeros(1), 10.25, 0.05)
    assert followed is not None
    setpoint, row = followed
    assert row == 2
    np.testing.assert_allclose(setpoint, 3.0)


def test_large_stamps():
    stamp = 1_795_396_131.1
    chunk = ActionChunk(stamp, np.ones((8, 1)), 0.1)
    rows = [row_at(chunk, stamp + 0.05 * k) for k in range(16)]
    assert rows == [k // 2 for k in range(16)]
