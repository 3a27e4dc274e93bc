# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Batches for training, gathered by threads while the one before is trained on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from apprentice.learning.dataset import Batch, Chunks


@dataclass
class Loaded:
    """A batch, or this process' share of one.

    Attributes:
        batch: the samples of the share.
        size: samples of the whole batch.
        total: sum of the weights of the whole batch, float32.
        state: of the random generator after the batch was drawn; a resumed run goes on from there.
    """

    batch: Batch
    size: int
    total: torch.Tensor
    state: dict[str, Any]


class Loader:
    """Batches in an order that depends on the generator alone, not on threads.

    The rows of each batch are drawn here, one batch after the other; threads copy what is in these rows
    (numpy lets go of the interpreter meanwhile), which may be in memory or mapped from a file.

    Args:
        chunks: all samples.
        rows: int [N], those to draw from.
        size: samples of a batch.
        rng: draws the rows; moves on as batches are gathered ahead.
        share: of a batch, what to gather.
        workers: threads; 0 gathers when a batch is asked for.
        ahead: batches that are gathered before they are asked for.
        pin: into memory from which copies to a GPU do not wait.
    """

    def __init__(
        self,
        chunks: Chunks,
        rows: np.ndarray,
        size: int,
        rng: np.random.Generator,
        share: Callable[[int], slice] = lambda size: slice(0, size),
        workers: int = 1,
        ahead: int = 2,
        pin: bool = False,
    ):
        self._chunks, self._rows, self._size, self._rng = chunks, rows, size, rng
        self._share, self._pin = share, pin
        self._pool = ThreadPoolExecutor(workers, 'loader') if workers else None
        self._ahead = max(ahead, workers)
        self._waiting: deque[Future[Loaded]] = deque()

    def next(self) -> Loaded:
        """The next batch. Raises what reading it raised."""
        if self._pool is None:
            return self._gather(*self._draw())
        while len(self._waiting) <= self._ahead:
            self._waiting.append(self._pool.submit(self._gather, *self._draw()))
        return self._waiting.popleft().result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _draw(self) -> tuple[np.ndarray, dict[str, Any]]:
        index = self._rows[self._rng.integers(len(self._rows), size=self._size)]
        return index, dict(self._rng.bit_generator.state)

    def _gather(self, index: np.ndarray, state: dict[str, Any]) -> Loaded:
        total = torch.from_numpy(self._chunks.weight[index]).sum()
        batch = self._chunks.select(index[self._share(self._size)]).tensors()
        if self._pin:
            batch = batch.each(torch.Tensor.pin_memory)
        return Loaded(batch, self._size, total, state)
