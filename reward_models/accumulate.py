# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""From signed pair scores to one progress value in [0, 1] that can neither run away nor drift."""

from __future__ import annotations

import math

DEADBAND = 0.05  # pair scores smaller than this are noise of a still scene


def step(value: float, delta: float) -> float:
    """One accumulation step: v + (1 - v) c forward, v (1 + c) backward; stays in [0, 1].

    ``delta`` is c in [-1, 1]: the share of what remains that was gained, or of what was reached that was
    lost. VLAC applies the first form to losses too, which is unbounded below.
    """
    if not -1.0 <= delta <= 1.0:
        raise ValueError(f'delta must lie in [-1, 1], got {delta}')
    return value + (1.0 - value) * delta if delta >= 0 else value * (1.0 + delta)


class ProgressAccumulator:
    """Progress of one episode from pair scores at a fixed stride and an absolute anchor.

    The accumulated value alone drifts (its fixed point under zero-mean noise is 0.5); the anchor, the
    progress that one look at the present frame (beside the first one) gives, pulls it back: progress is
    their mean. Samples may be denser than the stride: each starts from the newest sample at least one stride
    older, so nothing is counted twice.

    Args:
        stride_s: seconds between the two frames of a pair.
    """

    def __init__(self, stride_s: float = 1.0):
        if not stride_s > 0:
            raise ValueError(f'stride_s must be positive, got {stride_s}')
        self.stride_s = stride_s
        self._samples: list[tuple[float, float]] = []  # (stamp, accumulated value), oldest first

    def base(self, stamp: float) -> float | None:
        """Stamp of the sample that a pair ending at ``stamp`` must start from; None before the first."""
        if not self._samples:
            return None
        old = [s for s, _ in self._samples if s <= stamp - self.stride_s + 1e-6]
        return old[-1] if old else self._samples[0][0]

    def start(self, stamp: float, value: float = 0.0) -> None:
        """The first frame; ``value`` is its progress in [0, 1] where the model can tell."""
        self._samples = [(stamp, min(1.0, max(0.0, value)))]

    def add(self, stamp: float, delta: float, anchor: float) -> float:
        """Progress at ``stamp`` from the pair (base(stamp), stamp) and the anchor of ``stamp``."""
        base = self.base(stamp)
        if base is None or not math.isfinite(delta) or not math.isfinite(anchor):
            raise ValueError('start() comes first, and scores must be finite')
        before = next(value for s, value in self._samples if s == base)
        accumulated = step(before, 0.0 if abs(delta) < DEADBAND else delta)
        first = self._samples[0]
        recent = [sample for sample in self._samples[1:] if sample[0] > stamp - 3 * self.stride_s]
        self._samples = [first, *recent, (stamp, accumulated)]
        return min(1.0, max(0.0, 0.5 * accumulated + 0.5 * anchor))
