# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What the detectors have in common: one number per episode, and a limit learned from good episodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, TypeVar

import numpy as np

from apprentice.reward_models.monitor.evidence import Evidence

Self = TypeVar('Self', bound='Detector')


class Level(IntEnum):
    """What is asked for, weakest first; each includes those before. Values equal RewardHealth.msg."""

    OK = 0
    FLAG = 1
    DOWN_WEIGHT = 2
    FREEZE = 3
    SPARSE = 4
    STOP = 5


@dataclass(frozen=True)
class Detector:
    """One number per episode. The fields are what was learned from the calibration set; no other state.

    Attributes:
        high: whether an alarm is above the limit; else below.
        resolution: what is added to the limit: smaller excesses mean nothing.
        response: asked for when alarms persist.
        strongest: the response grows up to this one while they go on.
        fixed: a limit that does not depend on the calibration set; None: learned.
        rate: of false alarms per episode at the fixed limit.
    """

    name: ClassVar[str] = ''
    about: ClassVar[str] = ''
    high: ClassVar[bool] = True
    resolution: ClassVar[float] = 0.0
    response: ClassVar[Level] = Level.DOWN_WEIGHT
    strongest: ClassVar[Level] = Level.SPARSE
    fixed: ClassVar[float | None] = None
    rate: ClassVar[float] = float('nan')

    @classmethod
    def fitted(cls: type[Self], episodes: Sequence[Evidence]) -> Self:
        """What is normal, from episodes in which the reward model was right."""
        return cls()

    def measure(self, evidence: Evidence) -> float:
        """The number of this episode; NaN where it cannot be measured."""
        raise NotImplementedError

    def at_most(self, evidence: Evidence) -> Level:
        """The strongest response in the situation of this episode."""
        return self.strongest


def mean_of(values: np.ndarray) -> float:
    """Mean of what is finite; NaN where nothing is."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float('nan')


def largest(*values: float) -> float:
    """The largest finite number; NaN where there is none."""
    known = [value for value in values if np.isfinite(value)]
    return max(known) if known else float('nan')
