# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Potential-based shaping: F = gamma Phi(s') - Phi(s) leaves the best policy the best (Ng et al., 1999).

What breaks it: a potential that is not 0 at a true terminal. Then ending there is paid, also in failure. At a
time-out the episode goes on elsewhere, the learner bootstraps, and the potential stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from apprentice.reward_models.base import RewardModelError, Trajectory


@dataclass(frozen=True)
class PotentialShaping:
    """Adds scale * (gamma Phi' - Phi), with Phi' = 0 where the episode ends in success or failure.

    Attributes:
        scale: kappa; about 0.1 to 1 of the success signal.
    """

    scale: float = 1.0
    of_scores: ClassVar[bool] = False  # it adds to a chain that begins with 0

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        """float64 [T]. Raises RewardModelError for a potential that is missing or outside [0, 1]."""
        phi = np.array(trajectory.potential, np.float64)
        if not np.all((phi >= 0) & (phi <= 1)):
            raise RewardModelError(
                'the potential is not everywhere in [0, 1]; calibrate the model, and drop samples that are '
                'not valid'
            )
        before, after = phi[:-1], phi[1:].copy()
        if trajectory.terminal and len(after):
            after[-1] = 0.0
        return rewards + self.scale * (trajectory.discount * after - before)
