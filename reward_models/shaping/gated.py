# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Gated accumulation: small rewards count only once what matters more was reached (G-RA, arXiv 2508.10548).

R = sum_i R_i [R_j > v_j for all j of higher priority]. Summing without gates pays for looking busy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.base import RewardModelError, Trajectory


@dataclass(frozen=True)
class GatedAccumulation:
    """Keeps the rewards of an episode if every gate is passed, and else sets them to 0.

    Attributes:
        gates: name -> threshold that must be exceeded: ``outcome``, or one of the trajectory's signals
            (safety, ...). An outcome that is not known does not pass.
    """

    gates: dict = field(default_factory=lambda: {'outcome': 0.5})

    def __call__(self, rewards: np.ndarray, trajectory: Trajectory) -> np.ndarray:
        """Raises RewardModelError for a gate the trajectory has no signal for."""
        values = {'outcome': trajectory.outcome, **trajectory.signals}
        missing = sorted(set(self.gates) - set(values))
        if missing:
            raise RewardModelError(f'gates ask for {missing}; the episode has: {sorted(values)}')
        passed = all(bool(values[name] > limit) for name, limit in self.gates.items())
        return np.asarray(rewards, np.float64) * passed
