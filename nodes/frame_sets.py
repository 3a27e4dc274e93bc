# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Frames of several cameras joined into sets of one moment, by stamp of capture."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from sensor_msgs.msg import Image

from apprentice.robot.spec import CameraSpec

_KEPT = 16  # frames per camera, and complete sets
_EPSILON = 1e-6


@dataclass(frozen=True)
class FrameSet:
    """One frame of every camera; ``stamp`` [s] is the first camera's, ``received`` [s] wall time."""

    stamp: float
    received: float
    images: dict[str, Image]


class FrameSets:
    """Joins frames whose stamps differ by half a frame period at most (lock-step: not at all).

    Args:
        cameras: the first one gives the sets their stamps.
        exact: demand equal stamps.
    """

    def __init__(self, cameras: Sequence[CameraSpec], exact: bool):
        self._names = [camera.name for camera in cameras]
        self._tolerance = {c.name: _EPSILON if exact else 0.5 / c.rate_hz + _EPSILON for c in cameras}
        self._frames: dict[str, deque[tuple[float, Image]]] = {n: deque(maxlen=_KEPT) for n in self._names}
        self._delivered = -1.0
        self.recent: deque[FrameSet] = deque(maxlen=_KEPT)
        self.count = 0

    def add(self, name: str, stamp: float, image: Image, received: float) -> list[FrameSet]:
        """Take a frame; returns the sets it completes, oldest first. Frames that go back are dropped."""
        frames = self._frames[name]
        if frames and stamp <= frames[-1][0]:
            return []
        frames.append((stamp, image))
        complete = []
        for moment, _ in list(self._frames[self._names[0]]):
            if moment <= self._delivered:
                continue
            images = {n: self._nearest(n, moment) for n in self._names}
            found = {n: image for n, image in images.items() if image is not None}
            if len(found) == len(images):
                self._delivered = moment
                complete.append(FrameSet(moment, received, found))
        self.recent.extend(complete)
        self.count += len(complete)
        return complete

    def missing(self) -> list[str]:
        """Cameras that lag behind the newest of the others by a frame period or more, or never came."""
        newest = max((frames[-1][0] for frames in self._frames.values() if frames), default=None)
        return [
            name
            for name, frames in self._frames.items()
            if not frames or (newest is not None and frames[-1][0] < newest - 2 * self._tolerance[name])
        ]

    def _nearest(self, name: str, stamp: float) -> Image | None:
        difference, image = min(
            ((abs(s - stamp), image) for s, image in self._frames[name]),
            key=lambda item: item[0],
            default=(float('inf'), None),
        )
        return image if difference <= self._tolerance[name] else None
