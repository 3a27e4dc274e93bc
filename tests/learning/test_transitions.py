# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Every transition comes back as it was put in; nothing is made up at the ends."""

import numpy as np
import pytest

from apprentice.learning.transitions import TransitionBuffer

SIZE = (12, 16)


def image(number: int) -> np.ndarray:
    """A picture whose pixels tell its number and their place."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return np.stack([np.full(SIZE, number), rows, columns], axis=-1).astype(np.uint8)


def fill(buffer: TransitionBuffer, lengths, terminal=True, first=0) -> None:
    """Episodes in which observation number k has state k, action k + 0.5 and reward k."""
    number = first
    for length in lengths:
        buffer.start({'front': image(number)}, np.array([number]))
        for step in range(length):
            last = step == length - 1
            buffer.add(
                np.array([number + 0.5]),
                float(number),
                {'front': image(number + 1)},
                np.array([number + 1]),
                terminal=last and terminal,
                timeout=last and not terminal,
            )
            number += 1
        number += 1


def test_a_row_and_its_successor():
    buffer = TransitionBuffer(64, {'front': SIZE}, 1, 1)
    fill(buffer, [5, 3, 7])
    assert len(buffer) == 15
    batch = buffer.sample(200, gamma=0.9, shift=False)
    number = batch.state[:, 0]
    np.testing.assert_array_equal(batch.next_state[:, 0], number + 1)
    np.testing.assert_array_equal(batch.action[:, 0], number + 0.5)
    np.testing.assert_array_equal(batch.reward, number)
    np.testing.assert_array_equal(batch.images['front'][:, 3, 4, 0], number)
    np.testing.assert_array_equal(batch.next_images['front'][0], image(int(number[0]) + 1))
    ends = np.isin(number, [4, 8, 16])
    assert ends.any()
    np.testing.assert_allclose(batch.discount, np.where(ends, 0, 0.9), rtol=1e-6)
    assert set(number) == set(range(5)) | {6, 7, 8} | set(range(10, 17))


def test_time_outs_keep_their_last_observation():
    buffer = TransitionBuffer(32, {'front': SIZE}, 1, 1)
    fill(buffer, [4], terminal=False)
    batch = buffer.sample(50, gamma=0.5, shift=False)
    assert np.all(batch.discount == 0.5)
    assert batch.next_state.max() == 4


def test_returns_of_several_steps_stop_at_the_end():
    buffer = TransitionBuffer(32, {'front': SIZE}, 1, 1)
    fill(buffer, [4], terminal=True)
    fill(buffer, [4], terminal=False, first=10)
    batch = buffer.sample(300, steps=3, gamma=0.5, shift=False)
    for state, following, reward, discount in zip(
        batch.state[:, 0], batch.next_state[:, 0], batch.reward, batch.discount, strict=True
    ):
        start = 0 if state < 10 else 10
        taken = min(3, start + 4 - int(state))
        assert following == state + taken
        assert reward == pytest.approx(sum(0.5**k * (state + k) for k in range(taken)))
        ended = following == 4
        assert discount == pytest.approx(0 if ended else 0.5**taken)


def test_a_full_ring_forgets_the_oldest_and_mixes_nothing():
    buffer = TransitionBuffer(20, {'front': SIZE}, 1, 1)
    fill(buffer, [6] * 9)
    batch = buffer.sample(500, steps=2, shift=False)
    assert len(buffer) < 20
    assert batch.state.min() >= 63 - 20
    assert np.all((batch.next_state - batch.state >= 1) & (batch.next_state - batch.state <= 2))
    np.testing.assert_array_equal(batch.images['front'][:, 0, 0, 0], batch.state[:, 0])


def test_the_shift_moves_a_window_over_replicated_borders():
    buffer = TransitionBuffer(8, {'front': SIZE}, 1, 1, pixels=3)
    fill(buffer, [1])
    batch = buffer.sample(400)
    rows, columns = batch.images['front'][:, :, 0, 1], batch.images['front'][:, 0, :, 2]
    moved = set()
    for row, column in zip(rows.astype(int), columns.astype(int), strict=True):
        down = next(d for d in range(-3, 4) if np.array_equal(row, np.clip(np.arange(12) + d, 0, 11)))
        right = next(d for d in range(-3, 4) if np.array_equal(column, np.clip(np.arange(16) + d, 0, 15)))
        moved.add((down, right))
    assert len(moved) > 40  # of 49
    assert np.all(batch.images['front'][..., 0] == 0)


def test_equal_seeds_draw_equal_batches():
    one, two = (TransitionBuffer(32, {'front': SIZE}, 1, 1, seed=3) for _ in range(2))
    fill(one, [9])
    fill(two, [9])
    np.testing.assert_array_equal(one.sample(16).images['front'], two.sample(16).images['front'])


def test_bad_input_changes_nothing():
    buffer = TransitionBuffer(32, {'front': SIZE}, 1, 1)
    with pytest.raises(ValueError, match='no transition'):
        buffer.sample(1)
    with pytest.raises(ValueError, match=r'start\(\)'):
        buffer.add(np.zeros(1), 0.0, {'front': image(0)}, np.zeros(1))
    buffer.start({'front': image(0)}, np.zeros(1))
    good = {'action': np.zeros(1), 'reward': 0.0, 'images': {'front': image(1)}, 'state': np.ones(1)}
    for wrong in (
        {'reward': float('nan')},
        {'action': np.array([np.inf])},
        {'action': np.zeros(2)},
        {'state': np.array([np.nan])},
        {'images': {}},
        {'images': {'front': np.zeros(SIZE, np.uint8)}},
    ):
        with pytest.raises(ValueError, match=r'expected|finite'):
            buffer.add(**{**good, **wrong})
    assert len(buffer) == 0
    buffer.add(**good)
    assert len(buffer) == 1
    assert buffer.sample(1).next_state[0, 0] == 1


def test_images_are_kept_once():
    buffer = TransitionBuffer(100, {'front': (128, 128), 'wrist': (128, 128)}, 7, 7)
    assert buffer.nbytes / 100 < 115_000
