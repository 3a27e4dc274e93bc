# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Energies of an action chunk and their weighted sum (NORA-1.5, arXiv 2511.14659, equations 6 to 8).

With predicted features z, features z_g of a goal frame and the demonstrated chunk a*, all as means ::

    end       |z - z_end|         the last frame of the demonstration
    sub       |z - z_sub|         the demonstrated frame after as many rows as the chunk has
    deviation |a - a*|            in standard deviations of each joint's relative action
    cost      sum_i weight_i * energy_i / scale_i

``scale_i`` is the mean standard deviation of an energy among chunks proposed at one moment, so that a weight
says how much an energy counts in a ranking, whatever its unit. NORA-1.5 adds raw energies and weighs the
deviation by 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from apprentice.reward_models.base import RewardModelError

TERMS = ('end', 'sub', 'deviation')
SMALLEST_SCALE = 1e-6


@dataclass(frozen=True)
class EnergyWeights:
    """What counts how much, in units of ``scale``.

    The defaults were chosen, once, on the starts 47 000 000 to 47 000 059 of the simulated pick task, which
    are neither trained on nor in the bench. The optimum is flat. On a real robot NORA-1.5 gained by the
    subgoal and hardly by the deviation alone: measure before relying on them.
    """

    end: float = 0.25
    sub: float = 0.25
    deviation: float = 1.0


@dataclass(frozen=True)
class EnergyScales:
    """Standard deviation of each energy among chunks of one moment; see :func:`scales_of`."""

    end: float = 1.0
    sub: float = 1.0
    deviation: float = 1.0


@dataclass(frozen=True)
class EnergySettings:
    """How energies become a cost.

    Attributes:
        weights: of the terms; a weight of 0 leaves a term out.
        scales: what each energy is divided by.
        ahead: rows from now to the subgoal in a demonstration; 0: as many as the chunk has.
    """

    weights: EnergyWeights = field(default_factory=EnergyWeights)
    scales: EnergyScales = field(default_factory=EnergyScales)
    ahead: int = 0

    def __post_init__(self) -> None:
        for name in TERMS:
            weight, scale = getattr(self.weights, name), getattr(self.scales, name)
            if not (np.isfinite(weight) and weight >= 0):
                raise RewardModelError(f'weight of {name} is {weight}; give a finite number, 0 or more')
            if not (np.isfinite(scale) and scale >= SMALLEST_SCALE):
                raise RewardModelError(f'scale of {name} is {scale}; train again, it must be positive')

    def cost(self, energies: Mapping[str, np.ndarray]) -> np.ndarray:
        """Weighted sum of the energies that are there, each divided by its scale; same shape, at least 0.

        Raises RewardModelError if no term with a weight is there.
        """
        used = [name for name in TERMS if name in energies and getattr(self.weights, name) > 0]
        if not used:
            wanted = [name for name in TERMS if getattr(self.weights, name) > 0]
            raise RewardModelError(
                f'nothing to compare with: give a goal (end), a demonstration (sub) or its chunk '
                f'(deviation); weights are set for {wanted}'
            )
        parts = [getattr(self.weights, name) / getattr(self.scales, name) * energies[name] for name in used]
        return np.sum(parts, axis=0)


def scales_of(energies: Mapping[str, np.ndarray]) -> EnergyScales:
    """Scales from energies [S, n] of n chunks at each of S moments; terms that are missing get 1.

    A pair of chunks is compared at one moment, so the mean of the moment does not matter and is not kept.
    """
    found = {
        name: max(float(np.mean(np.std(values, axis=1))), SMALLEST_SCALE) for name, values in energies.items()
    }
    return EnergyScales(**found)
