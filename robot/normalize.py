# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Normalisation statistics. Missing, mismatched or degenerate statistics raise; nothing passes unscaled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

FIELDS = ('mean', 'std', 'low', 'high')


class StatisticsError(ValueError):
    """Statistics are missing or unusable; the message names the key, the fault and the remedy."""


@dataclass(frozen=True)
class Statistics:
    """Per-dimension statistics of one vector, float64 [dim]; ``low``/``high``: 1 % and 99 % quantiles."""

    mean: np.ndarray
    std: np.ndarray
    low: np.ndarray
    high: np.ndarray
    count: int

    @classmethod
    def of(cls, values: np.ndarray, names: Sequence[str], what: str) -> Statistics:
        """Statistics of ``values`` [N, dim]. Raises StatisticsError for NaN or a constant dimension."""
        values = np.asarray(values, np.float64)
        if not np.all(np.isfinite(values)):
            raise StatisticsError(f'{what}: {np.sum(~np.isfinite(values))} values are not finite')
        low, high = np.quantile(values, [0.01, 0.99], axis=0)
        statistics = cls(values.mean(0), values.std(0), low, high, len(values))
        statistics.check(names, what)
        return statistics

    def with_floor(self, share: float, which: np.ndarray) -> Statistics:
        """The same, no ``std`` of the dimensions ``which`` [dim] below ``share`` of the largest among them.

        A dimension that hardly moved holds little but noise, which its own scale would make as large in a
        loss as the movement of the others.
        """
        largest = self.std[which].max(initial=0.0)
        return replace(self, std=np.where(which, np.maximum(self.std, share * largest), self.std))

    def check(self, names: Sequence[str], what: str) -> None:
        """Raise StatisticsError unless the statistics can normalise a vector with these dimensions."""
        for field in FIELDS:
            values = getattr(self, field)
            if values.shape != (len(names),):
                raise StatisticsError(
                    f'{what}.{field}: {values.shape} numbers for {len(names)} dimensions {list(names)}'
                )
            if not np.all(np.isfinite(values)):
                raise StatisticsError(f'{what}.{field} holds NaN or infinity; compute the statistics again')
        for name, std, low, high in zip(names, self.std, self.low, self.high):
            if std < 1e-6 or high - low < 1e-6:
                raise StatisticsError(
                    f'{what}: {name} hardly varies (std {std:.2g}, range {high - low:.2g}); dividing by that '
                    'would magnify noise. Record more varied data or leave the joint out'
                )

    def to_dict(self) -> dict[str, Any]:
        return {**{field: getattr(self, field).tolist() for field in FIELDS}, 'count': self.count}

    @classmethod
    def from_dict(cls, data: dict[str, Any], names: Sequence[str], what: str) -> Statistics:
        """Read and check. Raises StatisticsError naming what is missing."""
        missing = [key for key in (*FIELDS, 'count') if key not in data]
        if missing:
            raise StatisticsError(
                f'{what}: statistics lack {missing}; retrain or copy the complete checkpoint'
            )
        arrays = {field: np.asarray(data[field], np.float64) for field in FIELDS}
        statistics = cls(**arrays, count=int(data['count']))
        statistics.check(names, what)
        return statistics
