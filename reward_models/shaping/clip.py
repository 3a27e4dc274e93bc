# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Clip: scores of steps never pay, they only cost (arXiv 2410.15115; the formula from second-hand notes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from apprentice.reward_models.base import Trajectory


@dataclass(frozen=True)
class Clip:
    """min(r - ceiling, 0): repeating a good step gains nothing, and length costs.

    Attributes:
        ceiling: eta, in the unit of the score: from here on a step costs nothing. Of scores in [0, 1] the
            default leaves 0 everywhere; give one inside.
    """

    ceiling: float = 0.0
    of_scores: ClassVar[bool] = True

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        return np.minimum(np.asarray(rewards, np.float64) - self.ceiling, 0.0)
