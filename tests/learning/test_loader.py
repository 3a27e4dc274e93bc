# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches: in one order whatever reads them, from the right place after a resume, shared without a gap."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch
from clone_rig import make_episodes

from apprentice.learning.dataset import Samples
from apprentice.learning.distributed import Ranks
from apprentice.learning.loader import Loader

SIZE = 8


@pytest.fixture(scope='module')
def samples() -> Samples:
    return Samples.of(make_episodes(), 8)


def batches(samples: Samples, count: int, seed: int = 0, **options) -> list:
    with Loader(samples.chunks, np.arange(len(samples)), SIZE, np.random.default_rng(seed), **options) as it:
        return [it.next() for _ in range(count)]


@pytest.mark.parametrize(('workers', 'ahead'), [(1, 1), (3, 2), (2, 7)])
def test_threads_do_not_change_the_order(samples, workers, ahead):
    plain = batches(samples, 9, workers=0)
    for one, other in zip(plain, batches(samples, 9, workers=workers, ahead=ahead)):
        assert torch.equal(one.batch.actions, other.batch.actions)
        assert torch.equal(one.batch.inputs.images['front'], other.batch.inputs.images['front'])
        assert one.state == other.state
    index = np.random.default_rng(0).integers(len(samples), size=SIZE)
    assert torch.equal(plain[0].batch.actions, torch.from_numpy(samples.chunks.actions[index]))


@pytest.mark.parametrize('workers', [0, 2])
def test_the_state_of_a_batch_leads_to_the_next_one(samples, workers):
    whole = batches(samples, 6, workers=workers)
    rng = np.random.default_rng(99)
    rng.bit_generator.state = whole[2].state
    with Loader(samples.chunks, np.arange(len(samples)), SIZE, rng, workers=workers) as loader:
        for expected in whole[3:]:
            assert torch.equal(loader.next().batch.actions, expected.batch.actions)


def test_processes_share_a_batch(samples):
    whole = batches(samples, 3)
    shares = [batches(samples, 3, share=Ranks(rank, 3).share) for rank in range(3)]
    for number, expected in enumerate(whole):
        together = torch.cat([mine[number].batch.actions for mine in shares])
        assert torch.equal(together, expected.batch.actions)
        for mine in shares:
            assert (mine[number].size, float(mine[number].total)) == (SIZE, SIZE)
            assert len(mine[number].batch) < SIZE


def test_only_the_given_rows_are_drawn(samples):
    rows = np.array([3, 5])
    with Loader(samples.chunks, rows, SIZE, np.random.default_rng(0)) as loader:
        drawn = torch.cat([loader.next().batch.inputs.state for _ in range(5)]).unique(dim=0)
    assert torch.equal(drawn, torch.from_numpy(samples.chunks.state[rows]).unique(dim=0))


def slow(samples: Samples, seconds: float):
    """Chunks whose pictures take their time, and how many are read at once, at most."""
    running, most = [0], [0]
    lock = threading.Lock()

    class Slow:
        def __getitem__(self, index):
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            time.sleep(seconds)
            with lock:
                running[0] -= 1
            return samples.chunks.images['front'][index]

    chunks = Samples.of(make_episodes(), 8).chunks
    chunks.images = {'front': Slow()}
    return chunks, most


def test_reading_goes_on_while_the_batch_before_is_used(samples):
    """Reading takes 40 ms, using 50 ms: one after the other would be 90 ms a batch."""
    chunks, _ = slow(samples, 0.04)
    waited = []
    with Loader(chunks, np.arange(len(samples)), SIZE, np.random.default_rng(0), workers=2) as loader:
        for _ in range(8):
            began = time.perf_counter()
            loader.next()
            waited.append(time.perf_counter() - began)
            time.sleep(0.05)
    assert np.median(waited[2:]) < 0.02


def test_what_is_read_ahead_is_bounded(samples):
    chunks, most = slow(samples, 0.01)
    with Loader(chunks, np.arange(len(samples)), SIZE, np.random.default_rng(0), workers=3) as loader:
        for _ in range(6):
            loader.next()
        assert 1 < most[0] <= 3
        assert len(loader._waiting) <= 3


def test_an_error_while_reading_is_raised_where_the_batch_is_used(samples):
    class Broken:
        def __getitem__(self, index):
            raise OSError('the disk is gone')

    chunks = Samples.of(make_episodes(), 8).chunks
    chunks.images = {'front': Broken()}
    with (
        Loader(chunks, np.arange(9), SIZE, np.random.default_rng(0)) as loader,
        pytest.raises(OSError, match='the disk is gone'),
    ):
        loader.next()
