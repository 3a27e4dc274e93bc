# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames that show what the last encoded one of their camera showed: they need no encoder call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np

from apprentice.reward_models.base import RewardModelError

GRID = 8  # cells along a side


def largest_change(first: np.ndarray, second: np.ndarray) -> float:
    """Mean absolute pixel difference [0, 1] of two uint8 [H, W, 3], in the one of 8 x 8 cells that has most.

    A mean over the whole image would hide a gripper that closes: it fills a hundredth of the picture.
    """
    difference = np.maximum(first, second) - np.minimum(first, second)
    height, width = difference.shape[:2]
    rows = np.linspace(0, height, min(GRID, height), endpoint=False).astype(int)
    columns = np.linspace(0, width, min(GRID, width), endpoint=False).astype(int)
    sums = np.add.reduceat(difference.sum(axis=2, dtype=np.uint32), rows, axis=0)
    sums = np.add.reduceat(sums, columns, axis=1)
    sizes = np.outer(np.diff([*rows, height]), np.diff([*columns, width])) * difference.shape[2]
    return float((sums / sizes).max() / 255.0)


class StillFrames:
    """Of every camera the last frame that was encoded, and its embedding.

    A new frame is compared with that one, not with the one before it, so that a slow change adds up until it
    is seen. Thread-safe.

    Args:
        threshold: a frame counts as still below this difference, see :func:`largest_change`; 0: never. A
            hundredth is about the noise of a camera.
        cameras: how many are remembered; the one unused for longest is forgotten.
    """

    def __init__(self, threshold: float = 0.01, cameras: int = 64):
        if not 0.0 <= threshold < 1.0:
            raise RewardModelError(f'the threshold of still frames must lie in [0, 1), got {threshold}')
        self.threshold, self.skipped = threshold, 0
        self._cameras, self._lock = cameras, threading.Lock()
        self._last: OrderedDict[Hashable, tuple[np.ndarray, np.ndarray]] = OrderedDict()

    def get(self, camera: Hashable, frame: np.ndarray) -> np.ndarray | None:
        """The embedding of the last encoded frame if ``frame`` shows the same; None: encode it."""
        if not self.threshold:
            return None
        with self._lock:
            last = self._last.get(camera)
        if last is None or last[0].shape != frame.shape or largest_change(last[0], frame) >= self.threshold:
            return None
        with self._lock:
            self.skipped += 1
            if camera in self._last:
                self._last.move_to_end(camera)
        return last[1]

    def put(self, camera: Hashable, frame: np.ndarray, emb: np.ndarray) -> None:
        """Remember a frame that was encoded."""
        if not self.threshold or not np.all(np.isfinite(emb)):
            return
        with self._lock:
            self._last[camera] = (frame, emb)
            self._last.move_to_end(camera)
            while len(self._last) > self._cameras:
                self._last.popitem(last=False)

    def forget(self, camera: Hashable) -> None:
        """Encode the next frame of a camera whatever it shows, e.g. the first one of an episode."""
        with self._lock:
            self._last.pop(camera, None)
