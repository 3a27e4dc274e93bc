# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches over robots: what waits, what is dropped, what never is, and whose fault spoils whose samples."""

import threading
import time

import numpy as np
import pytest

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.cache.batcher import BatchConfig, Batcher, encode_together


def batcher(sources=1, **settings):
    return Batcher(BatchConfig(**{'window_s': 0.0, **settings}), sources)


def test_jobs_of_several_robots_come_in_one_batch():
    queue = batcher(sources=3, window_s=1.0)
    threads = [threading.Timer(0.02 * i, queue.put, (f'robot{i}', i)) for i in range(3)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    assert queue.take() == [0, 1, 2]
    assert time.monotonic() - began < 0.5  # all are here: no need to wait for the window
    assert (queue.counts.jobs, queue.counts.batches) == (3, 1)


def test_the_window_ends_the_waiting():
    queue = batcher(sources=3, window_s=0.05)
    queue.put('a', 1)
    began = time.monotonic()
    assert queue.take() == [1]
    assert 0.03 < time.monotonic() - began < 0.5


def test_one_robot_waits_for_nobody():
    queue = batcher(sources=1, window_s=1.0)
    queue.put('a', 1)
    began = time.monotonic()
    assert queue.take() == [1]
    assert time.monotonic() - began < 0.5


def test_old_jobs_are_dropped_but_not_the_first_and_the_last():
    queue = batcher(max_waiting=2)
    queue.put('a', 'first', keep=True)
    for i in range(5):
        queue.put('a', i)
    queue.put('a', 'last', keep=True)
    queue.put('b', 0)
    assert queue.take() == ['first', 3, 4, 'last', 0]
    assert (queue.counts.dropped, queue.counts.lost) == (3, 0)


def test_the_newest_come_first_when_behind():
    queue = batcher(sources=4, max_waiting=2, max_batch=3)
    for moment in (0, 1):
        for robot in 'abcd':
            queue.put(robot, f'{robot}{moment}')
    assert queue.take() == ['b1', 'c1', 'd1']  # a0 and a1 wait on; b0, c0 and d0 have been passed
    assert queue.counts.dropped == 3
    assert queue.take() == ['a0', 'a1']


def test_kept_jobs_go_before_the_newest():
    queue = batcher(sources=3, max_waiting=2, max_batch=2)
    queue.put('a', 'a0')
    queue.put('a', 'a last', keep=True)
    queue.put('b', 'b0')
    queue.put('c', 'c0')
    assert queue.take() == ['a last', 'c0']
    assert queue.take() == ['b0']
    assert queue.counts.dropped == 1  # a0: its robot has a newer one that is through


@pytest.mark.parametrize('seed', range(20))
def test_order_of_a_robot_holds_and_nothing_kept_is_lost(seed):
    rng = np.random.default_rng(seed)
    queue = batcher(sources=4, max_waiting=2, max_batch=3)
    sent, kept, got = 0, set(), []
    for _ in range(200):
        for _ in range(rng.integers(0, 4)):
            robot, keep = int(rng.integers(4)), bool(rng.random() < 0.2)
            queue.put(robot, (robot, sent), keep)
            kept |= {(robot, sent)} if keep else set()
            sent += 1
        if len(queue) and rng.random() < 0.5:
            got += queue.take()
    while len(queue):
        got += queue.take()
    for robot in range(4):
        numbers = [number for each, number in got if each == robot]
        assert numbers == sorted(numbers)
    assert kept <= set(got)
    assert len(got) + queue.counts.dropped == sent
    assert queue.counts.lost == 0


def test_the_queue_is_bounded_even_for_what_is_kept():
    queue = batcher(max_waiting=2, max_kept=5)
    for i in range(50):
        queue.put('a', i, keep=True)
    assert len(queue) == 5
    assert queue.counts.lost == 45


def test_in_order_nothing_is_passed():
    queue = batcher(sources=2, max_waiting=64, max_batch=3, newest_first=False)
    for i in range(7):
        queue.put('ab'[i % 2], i)
    assert [queue.take(), queue.take(), queue.take()] == [[0, 1, 2], [3, 4, 5], [6]]
    assert queue.counts.dropped == 0


def test_closing_wakes_who_waits():
    queue, got = batcher(), []
    thread = threading.Thread(target=lambda: got.append(queue.take()))
    thread.start()
    queue.close()
    thread.join(5.0)
    assert got == [[]]
    queue.put('a', 1)
    assert queue.take() == []


@pytest.mark.parametrize('settings', [{'window_s': 2.0}, {'window_s': -0.1}, {'max_batch': 0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(RewardModelError):
        BatchConfig(**settings)


def test_images_of_one_size_go_in_one_call_and_a_bad_one_is_alone():
    calls = []

    def encode(images):
        calls.append(len(images))
        if (images == 13).all(axis=(1, 2, 3)).any():
            raise RuntimeError('unlucky')
        return images.mean(axis=(1, 2)).astype(np.float32)

    small, large = np.full((4, 4, 3), 1, np.uint8), np.full((8, 8, 3), 2, np.uint8)
    found = encode_together(encode, [small, large, small + 2])
    assert calls == [2, 1]
    np.testing.assert_array_equal(np.stack(found)[:, 0], [1, 2, 3])
    found = encode_together(encode, [small, np.full((4, 4, 3), 13, np.uint8), small])
    assert [isinstance(each, RuntimeError) for each in found] == [False, True, False]
