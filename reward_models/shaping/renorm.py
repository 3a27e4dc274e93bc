# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""ReNorm: scores of steps centred by the outcome, so that their sign follows it (PPR, arXiv 2509.25598)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from apprentice.reward_models.base import RewardModelError, Trajectory


@dataclass(frozen=True)
class ReNorm:
    """r_t = r_p + r_o - 1: at least 0 in a solved episode, at most 0 in a failed one.

    It holds the outcome already; give the pipeline sparse: 0 with it.

    Attributes:
        over_length: divide by the number of steps. Without it, episodes of unequal length are paid for
            being long, because a solved one collects at least 0 at every step.
    """

    over_length: bool = True
    of_scores: ClassVar[bool] = True

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        """Raises RewardModelError for scores outside [0, 1] and an outcome that is not known."""
        rewards = np.asarray(rewards, np.float64)
        if not np.all((rewards >= 0) & (rewards <= 1)):
            raise RewardModelError('ReNorm takes scores in [0, 1]; calibrate the model first')
        if not np.isfinite(trajectory.outcome):
            raise RewardModelError('ReNorm needs the outcome of the episode; label it success or failure')
        centred = rewards + trajectory.outcome - 1.0
        return centred / len(rewards) if self.over_length and len(rewards) else centred
