# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""RA-BC: a step is imitated as far as the progress after it is large among all that was gained.

SARM, arXiv 2509.25358, equations 8 and 9, as LeRobot has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UsualGain:
    """What is gained over a chunk, over the steps of many episodes: mean and standard deviation."""

    mean: float
    std: float

    @classmethod
    def of(cls, gains: Iterable[np.ndarray]) -> UsualGain | None:
        """From the gains [T] of episodes; None without any."""
        found = [np.asarray(each, np.float64) for each in gains if len(each)]
        if not found:
            return None
        together = np.concatenate(found)
        return cls(float(together.mean()), float(together.std()))


def reward_aligned_weights(gain: np.ndarray, usual: UsualGain, kappa: float) -> np.ndarray:
    """Weight of every step, float64 [T] in [0, 1], from d = Phi_{t+C} - Phi_t.

    1 where d > ``kappa``, 0 where d < 0; in between its place between two standard deviations below the mean
    and two above it.
    """
    gain = np.asarray(gain, np.float64)
    soft = np.clip((gain - (usual.mean - 2 * usual.std)) / (4 * usual.std + 1e-6), 0.0, 1.0)
    return np.where(gain > kappa, 1.0, np.where(gain >= 0, soft, 0.0))
