# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Kinds of scores to [0, 1] by what their unit means, before (or without) a calibration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.robot.types import RewardKind

_UNIT_RANGE = (RewardKind.ABS_PROGRESS, RewardKind.SUCCESS_PROB)
_FREE = (RewardKind.CLIP_SIM, RewardKind.LOG_PROB)  # only a calibration knows which value is good


@dataclass(frozen=True)
class Units:
    """What cannot be read off a value.

    Attributes:
        seconds: time constant tau of SECONDS_TO_GO [s]: Phi = exp(-v / tau).
        low, high: declared bounds of COST and REWARD, in their own unit.
    """

    seconds: float = 10.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if not self.seconds > 0:
            raise RewardModelError(f'units.seconds is {self.seconds}; give a time constant above 0 s')
        if (self.low is None) != (self.high is None):
            raise RewardModelError('units: give both bounds, low and high, or none')
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise RewardModelError(f'units: low {self.low} must be below high {self.high}')


def is_potential(kind: RewardKind) -> bool:
    """Whether values of this kind lie in [0, 1] and mean how far the task is."""
    return kind in _UNIT_RANGE


def to_feature(kind: RewardKind, value: np.ndarray, units: Units) -> np.ndarray:
    """float64 [B] that rises with success; what a calibration curve takes.

    LOG_PROB stays in nats and is never normalised over a trajectory: that would let every failure end at 1
    (a flaw of the published TOPReward, arXiv 2602.19313). Raises RewardModelError for pair scores, which must
    be accumulated first, for labels, and for a COST or REWARD without declared bounds.
    """
    value = np.asarray(value, np.float64)
    if kind in _UNIT_RANGE or kind in _FREE:
        return value
    if kind == RewardKind.SECONDS_TO_GO:
        return np.exp(-np.maximum(value, 0.0) / units.seconds)
    if kind in (RewardKind.COST, RewardKind.REWARD):
        if units.low is None or units.high is None:
            raise RewardModelError(
                f'{kind.name} has no scale of its own; declare its bounds (units: low, high)'
            )
        share = np.clip((value - units.low) / (units.high - units.low), 0.0, 1.0)
        return 1.0 - share if kind == RewardKind.COST else share
    if kind == RewardKind.PROGRESS_DELTA:
        raise RewardModelError(
            'a pair score is no potential; accumulate it first (reward_models/accumulate.py) and pass the '
            'progress as ABS_PROGRESS'
        )
    raise RewardModelError(f'{kind.name} is a label, not a score; it is never calibrated')


def uncalibrated(kind: RewardKind, value: np.ndarray, units: Units) -> np.ndarray:
    """Phi float64 [B] by the meaning of the unit alone.

    A log-probability becomes its probability. Raises RewardModelError where only a calibration can tell.
    """
    if kind == RewardKind.CLIP_SIM:
        raise RewardModelError(
            'a similarity does not say which value is good; calibrate the model '
            '(ScoreCalibrator.fit on labelled episodes, saved beside the weights)'
        )
    feature = to_feature(kind, value, units)
    if kind == RewardKind.LOG_PROB:
        return np.exp(np.minimum(feature, 0.0))
    return np.clip(feature, 0.0, 1.0)


def slope_to_feature(kind: RewardKind, value: np.ndarray, units: Units) -> np.ndarray:
    """|d feature / d value| float64 [B], which turns a standard deviation in the score's unit."""
    value = np.asarray(value, np.float64)
    if kind == RewardKind.SECONDS_TO_GO:
        return np.exp(-np.maximum(value, 0.0) / units.seconds) / units.seconds
    if kind in (RewardKind.COST, RewardKind.REWARD) and units.low is not None and units.high is not None:
        return np.full(value.shape, 1.0 / (units.high - units.low))
    return np.ones(value.shape)


def uncalibrated_slope(kind: RewardKind, value: np.ndarray, units: Units) -> np.ndarray:
    """|d Phi / d value| float64 [B] of :func:`uncalibrated`; d exp(v) / d v is exp(v) again."""
    slope = slope_to_feature(kind, value, units)
    if kind == RewardKind.LOG_PROB:
        slope = slope * np.exp(np.minimum(np.asarray(value, np.float64), 0.0))
    return slope
