# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Reward reflection (Eureka, arXiv 2310.12931): what each component did over a trial, as a table of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

POINTS = 10


@dataclass(frozen=True)
class Trial:
    """What using a reward gave: by a planner in simulation, or by training a policy.

    Attributes:
        success: share of the episodes in which the instruction was fulfilled, 0 to 1.
        curves: component -> values over the trial, any length of at least 1.
        successes: share fulfilled so far, over the trial.
        episodes: how many.
    """

    success: float
    curves: dict[str, list[float]] = field(default_factory=dict)
    successes: list[float] = field(default_factory=list)
    episodes: int = 0


def table(trial: Trial) -> str:
    """A line for each component and for success: 10 points, then max, mean, min."""
    curves: Mapping[str, list[float]] = {**trial.curves, 'success': trial.successes or [trial.success]}
    return '\n'.join(f'{name}: {_line(values)}' for name, values in curves.items())


def points(values: list[float], count: int = POINTS) -> list[float]:
    """``count`` values, evenly spaced from the first to the last; fewer if there are fewer."""
    if len(values) <= count:
        return list(values)
    chosen = np.linspace(0, len(values) - 1, count).round().astype(int)
    return [float(values[i]) for i in chosen]


def _line(values: list[float]) -> str:
    shown = ', '.join(f'{value:.3g}' for value in points(values))
    return f'[{shown}], max {max(values):.3g}, mean {np.mean(values):.3g}, min {min(values):.3g}'
