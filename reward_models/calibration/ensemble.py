# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""One pessimistic potential from several models (Coste et al., arXiv 2310.02743)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from apprentice.reward_models.base import RewardModelError


@dataclass(frozen=True)
class Ensemble:
    """Phi = mean_i Phi_i - penalty * std_i, or min_i Phi_i; never outside [0, 1].

    Attributes:
        rule: mean or min.
        penalty: lambda of the mean.
        at_least: models that must have measured; with fewer Phi is NaN.
    """

    rule: Literal['mean', 'min'] = 'mean'
    penalty: float = 1.0
    at_least: int = 1

    def __post_init__(self):
        if not self.penalty >= 0:
            raise RewardModelError(f'ensemble.penalty is {self.penalty}; give 0 or more')
        if self.at_least < 1:
            raise RewardModelError(f'ensemble.at_least is {self.at_least}; give 1 or more')

    def __call__(self, phi: np.ndarray, std: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Phi [B] and its standard deviation [B] of K models [K, B]; NaN marks what was not measured.

        The spread is the disagreement of the models, or with one model its own. The standard deviation holds
        disagreement and the models' own, in squares; NaN if one model does not know its own.
        """
        phi, std = np.atleast_2d(phi).astype(np.float64), np.atleast_2d(std).astype(np.float64)
        if phi.shape != std.shape:
            raise RewardModelError(f'potentials {phi.shape} and deviations {std.shape} must fit [K, B]')
        there = np.isfinite(phi)
        count = there.sum(axis=0)
        some = np.maximum(count, 1)
        mean = np.where(there, phi, 0.0).sum(axis=0) / some
        between = np.sqrt(np.where(there, (phi - mean) ** 2, 0.0).sum(axis=0) / some)
        own = np.sqrt(np.where(there, std**2, 0.0).sum(axis=0) / some)
        if self.rule == 'min':
            value = np.where(there, phi, np.inf).min(axis=0)
        else:
            # one model that does not know its spread is taken at its word here; trust decides about it
            value = mean - self.penalty * np.where(count > 1, between, np.nan_to_num(own))
        missing = count < self.at_least
        total = np.where(missing, np.nan, np.hypot(between, own))
        return np.where(missing, np.nan, np.clip(value, 0.0, 1.0)), total
