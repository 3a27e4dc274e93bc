# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Delta: a step earns what it is better than the next (arXiv 2410.15115; formula from second-hand notes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from apprentice.reward_models.base import Trajectory


@dataclass(frozen=True)
class Delta:
    """r_k - r_(k+1), the last one kept: the undiscounted sum from step k on is r_k, however many follow."""

    of_scores: ClassVar[bool] = True

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        rewards = np.asarray(rewards, np.float64)
        return rewards - np.append(rewards[1:], 0.0)
