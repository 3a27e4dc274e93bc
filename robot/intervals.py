# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How sure one can be of a rate that was counted."""

from __future__ import annotations

import math


def wilson(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson score interval of a success rate, (low, high) in [0, 1]; (0, 1) when nothing was tried."""
    if not 0 <= successes <= n:
        raise ValueError(f'{successes} successes of {n} trials is impossible')
    if n == 0:
        return 0.0, 1.0
    rate, z2 = successes / n, z * z
    centre = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)
