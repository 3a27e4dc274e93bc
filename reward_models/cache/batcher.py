# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Jobs of several cameras and robots, collected for a few milliseconds into one encoder call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from apprentice.reward_models.base import RewardModelError

T = TypeVar('T')


@dataclass(frozen=True)
class BatchConfig:
    """How jobs become batches.

    Attributes:
        window_s: how long the first job of a batch waits for those of other sources [s]; 5 to 20 ms are
            short beside an encoder call and long beside the jitter between robots of the same rate.
        max_batch: jobs in one batch.
        max_waiting: jobs of one source that may wait; the oldest ones beyond it are dropped.
        max_kept: jobs of one source that must not be dropped and may wait all the same. Only an encoder that
            has been stuck for many episodes fills it; then the oldest is lost, and counted as ``lost``.
        newest_first: what is new matters more than what is old. False: all in order of arrival.
    """

    window_s: float = 0.01
    max_batch: int = 32
    max_waiting: int = 2
    max_kept: int = 64
    newest_first: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.window_s <= 1.0:
            raise RewardModelError(
                f'window_s must lie in [0, 1], got {self.window_s}; 0.005 to 0.02 is usual'
            )
        if min(self.max_batch, self.max_waiting, self.max_kept) < 1:
            raise RewardModelError('max_batch, max_waiting and max_kept must be at least 1')


@dataclass
class BatchCounts:
    """Since the start: jobs and batches handed out, jobs dropped because newer ones waited, jobs lost."""

    jobs: int = 0
    batches: int = 0
    dropped: int = 0
    lost: int = 0


@dataclass(frozen=True)
class _Waiting(Generic[T]):
    number: int
    source: Hashable
    job: T
    keep: bool
    since: float


class Batcher(Generic[T]):
    """A bounded queue between threads that gives batches.

    Jobs of one source always come out in the order in which they went in, because scores accumulate. When
    more waits than fits into a batch, jobs to keep come first, then the newest; older ones of a source whose
    newer job was taken are dropped.

    Args:
        config: see there.
        sources: how many sources there are; a batch with a job of each waits for nobody else.
    """

    def __init__(self, config: BatchConfig | None = None, sources: int = 1):
        self.config, self.sources = config or BatchConfig(), max(1, sources)
        self.counts = BatchCounts()
        self._queue: list[_Waiting[T]] = []
        self._wake = threading.Condition()
        self._number, self._closed = 0, False

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, source: Hashable, job: T, keep: bool = False) -> None:
        """Queue a job; ``keep``: of the first and the last frame of an episode, which are never dropped."""
        with self._wake:
            if self._closed:
                return
            same = [w for w in self._queue if w.source == source and w.keep == keep]
            if len(same) >= (self.config.max_kept if keep else self.config.max_waiting):
                self._queue.remove(same[0])
                if keep:
                    self.counts.lost += 1
                else:
                    self.counts.dropped += 1
            self._number += 1
            self._queue.append(_Waiting(self._number, source, job, keep, time.monotonic()))
            self._wake.notify()

    def take(self) -> list[T]:
        """The next batch, oldest job first; waits for one. Empty once the batcher is closed."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closed)
            while not self._closed and not self._full():
                left = self._queue[0].since + self.config.window_s - time.monotonic()
                if left <= 0 or not self._wake.wait(left):
                    break
            if self._closed:
                return []
            taken = self._choose()
            self.counts.jobs += len(taken)
            self.counts.batches += 1
            return [w.job for w in taken]

    def close(self) -> None:
        """Wake ``take``, which returns empty from now on; what waits is forgotten."""
        with self._wake:
            self._closed = True
            self._queue.clear()
            self._wake.notify_all()

    def _full(self) -> bool:
        return len(self._queue) >= self.config.max_batch or (
            len({w.source for w in self._queue}) >= self.sources
        )

    def _choose(self) -> list[_Waiting[T]]:
        size, queue = self.config.max_batch, self._queue
        if len(queue) <= size or not self.config.newest_first:
            self._queue = queue[size:]
            return queue[:size]
        chosen = [w for w in queue if w.keep][:size]
        newest: dict[Hashable, int] = {}  # of each source: the newest job that was chosen
        for waiting in chosen:
            newest[waiting.source] = waiting.number
        for waiting in reversed([w for w in queue if not w.keep]):
            if len(chosen) < size and waiting.number > newest.get(waiting.source, 0):
                chosen.append(waiting)
                newest[waiting.source] = waiting.number
        taken = {w.number for w in chosen}
        rest = [w for w in queue if w.number not in taken]
        self._queue = [w for w in rest if w.keep or w.number > newest.get(w.source, 0)]
        self.counts.dropped += len(rest) - len(self._queue)
        return sorted(chosen, key=lambda w: w.number)


def encode_together(
    encode: Callable[[np.ndarray], np.ndarray], images: Sequence[np.ndarray]
) -> list[np.ndarray | Exception]:
    """Embeddings [D] of single images uint8 [H, W, 3], images of one size in one call.

    A call that fails is repeated image by image, so that one robot's fault does not spoil the samples of
    the others; an image that fails again gives its exception.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(images):
        groups.setdefault(image.shape, []).append(i)
    found: dict[int, np.ndarray | Exception] = {}
    for members in groups.values():
        try:
            found.update(zip(members, encode(np.stack([images[i] for i in members])), strict=True))
            continue
        except Exception as error:
            if len(members) == 1:
                found[members[0]] = error
                continue
        for i in members:
            try:
                found[i] = encode(images[i][None])[0]
            except Exception as error:
                found[i] = error
    return [found[i] for i in range(len(images))]
