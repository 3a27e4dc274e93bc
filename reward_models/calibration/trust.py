# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""How much a reward model is believed: w = exp(-(sigma / sigma0)^2) [margin > m] [ood < o]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import RewardModelError


@dataclass(frozen=True)
class Trust:
    """A weight in [0, 1] on the shaping reward.

    It is one number for an episode: a weight that changed between two steps would make the shaping depend on
    the path, so that it could be earned by going round in circles.

    Attributes:
        sigma: sigma0, the standard deviation of Phi at which trust has fallen to 1/e; None: not asked.
        margin: smallest lead over wrong instructions, in the unit of the score; None: not asked.
        ood: largest distance to the calibration set (1 is its 95th percentile); None: not asked.

    What is asked but was not measured (NaN) gives no trust; ask only for what the model measures.
    """

    sigma: float | None = 0.2
    margin: float | None = 0.0
    ood: float | None = 1.0

    def __post_init__(self):
        if self.sigma is not None and not self.sigma > 0:
            raise RewardModelError(f'trust.sigma is {self.sigma}; give a value above 0, or null')

    def __call__(self, std: np.ndarray, margin: np.ndarray, ood: np.ndarray) -> np.ndarray:
        """Weight of every sample [B]."""
        weight = np.ones(np.broadcast(std, margin, ood).shape)
        if self.sigma is not None:
            weight = weight * np.nan_to_num(np.exp(-((np.asarray(std, np.float64) / self.sigma) ** 2)))
        if self.margin is not None:
            weight = weight * (np.asarray(margin) > self.margin)
        if self.ood is not None:
            weight = weight * (np.asarray(ood) < self.ood)
        return weight

    def of_episode(
        self, phi: np.ndarray, std: np.ndarray, margin: np.ndarray, ood: np.ndarray
    ) -> tuple[float, str]:
        """One weight for the samples [B] of one episode, and in words what lowers it to 0.

        Sigma is the root mean square and the ood the median of what was measured; the margin is that at the
        highest potential, because at the start a wrong instruction is as near as the right one.
        """
        phi = np.asarray(phi, np.float64)
        if not np.any(np.isfinite(phi)):
            return 0.0, 'no valid sample'
        std, margin, ood = (np.asarray(a, np.float64)[np.isfinite(phi)] for a in (std, margin, ood))
        best = int(np.argmax(phi[np.isfinite(phi)]))
        sigma = np.sqrt(np.mean(std[np.isfinite(std)] ** 2)) if np.any(np.isfinite(std)) else np.nan
        distance = np.median(ood[np.isfinite(ood)]) if np.any(np.isfinite(ood)) else np.nan
        values = (sigma, margin[best], distance)
        weight = float(self(*(np.asarray(value) for value in values)))
        reasons = []
        for name, limit, value, passes in (
            ('sigma', self.sigma, values[0], np.isfinite(values[0])),
            ('margin', self.margin, values[1], self.margin is None or values[1] > self.margin),
            ('ood', self.ood, values[2], self.ood is None or values[2] < self.ood),
        ):
            if limit is not None and np.isnan(value):
                reasons.append(f'{name} was not measured (trust: {name}: null does not ask for it)')
            elif limit is not None and not passes:
                reasons.append(f'{name} {value:.3g} is beyond {limit:g}')
        return weight, '; '.join(reasons)
