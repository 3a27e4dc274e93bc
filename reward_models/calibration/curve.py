# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""Monotone curves from a score to [0, 1]: isotonic regression and Platt scaling.

Isotonic: least squares under a rising order (pool adjacent violators), read linearly between the pooled
blocks. Platt: P = 1 / (1 + exp(-(a x + b))) with Platt's softened targets (Platt 1999; Niculescu-
Mizil and Caruana 2005). Targets may be fractions, such as progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from apprentice.reward_models.base import RewardModelError

Method = Literal['isotonic', 'platt']
LEAST = 20  # samples below which a curve is not fitted
_KNOTS = 200


@dataclass(frozen=True)
class Curve:
    """A fitted curve.

    Attributes:
        method: isotonic or platt.
        x: float64 [K]; isotonic: ends of the blocks; platt: centre and scale of the scores.
        y: float64 [K]; isotonic: values of the blocks; platt: a and b of the standardised score.
        error: isotonic: float64 [K] standard errors of y; platt: the covariance of (a, b), row by row [4].
        count: samples it was fitted on.
        brier: mean squared error on those samples (not on held-out ones).
    """

    method: Method
    x: np.ndarray
    y: np.ndarray
    error: np.ndarray
    count: int
    brier: float

    def __call__(self, feature: np.ndarray) -> np.ndarray:
        """Phi in [0, 1] of scores of any shape; beyond the fitted range the curve ends flat (isotonic)."""
        feature = np.asarray(feature, np.float64)
        if self.method == 'isotonic':
            return np.interp(feature, self.x, self.y)
        return _sigmoid(self.y[0] * self._standard(feature) + self.y[1])

    def standard_error(self, feature: np.ndarray) -> np.ndarray:
        """Uncertainty of the curve itself at scores of any shape: few samples, large error."""
        feature = np.asarray(feature, np.float64)
        if self.method == 'isotonic':
            return np.interp(feature, self.x, self.error)
        z, phi = self._standard(feature), self(feature)
        aa, ab, _, bb = self.error
        return phi * (1.0 - phi) * np.sqrt(np.maximum(aa * z * z + 2 * ab * z + bb, 0.0))

    def _standard(self, feature: np.ndarray) -> np.ndarray:
        return (feature - self.x[0]) / self.x[1]

    def to_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name).tolist() for name in ('x', 'y', 'error')}
        return {'method': self.method, **arrays, 'count': self.count, 'brier': self.brier}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Curve:
        """Raises RewardModelError for data that is not a rising curve in [0, 1]."""
        try:
            x, y, error = (np.array(data[name], np.float64) for name in ('x', 'y', 'error'))
            curve = cls(data['method'], x, y, error, int(data['count']), float(data['brier']))
        except (KeyError, TypeError, ValueError) as missing:
            raise RewardModelError(f'a calibration curve lacks or has a wrong {missing}') from None
        if curve.method == 'isotonic':
            rising = len(x) > 0 and len(x) == len(y) == len(error) and np.all(np.diff(x) > 0)
            good = bool(rising and np.all(np.diff(y) >= 0) and y[0] >= 0 and y[-1] <= 1)
        else:
            good = curve.method == 'platt' and (len(x), len(y), len(error)) == (2, 2, 4) and x[1] > 0
            good = bool(good and y[0] > 0)
        if not (good and all(np.all(np.isfinite(a)) for a in (x, y, error))):
            raise RewardModelError('a calibration curve does not rise within [0, 1]; calibrate again')
        return curve


def fit(feature: np.ndarray, target: np.ndarray, method: Method) -> Curve:
    """A curve from scores [N] and targets [N] in [0, 1] (done or not, or progress).

    Raises RewardModelError for too few samples, targets that are all alike, and scores that do not rise
    with the target, which no monotone curve can repair.
    """
    feature, target = np.asarray(feature, np.float64), np.asarray(target, np.float64)
    if feature.shape != target.shape or feature.ndim != 1:
        raise RewardModelError(
            f'scores {feature.shape} and targets {target.shape} must be one-dimensional and equally long'
        )
    keep = np.isfinite(feature) & np.isfinite(target)
    feature, target = feature[keep], target[keep]
    if len(feature) < LEAST:
        raise RewardModelError(
            f'{len(feature)} finite samples are too few to calibrate; label at least {LEAST}, of success '
            'and of failure'
        )
    if target.min() < 0 or target.max() > 1:
        raise RewardModelError(f'targets must lie in [0, 1], got [{target.min()}, {target.max()}]')
    if np.ptp(target) == 0 or np.ptp(feature) == 0:
        raise RewardModelError(
            'all targets or all scores are alike; a calibration needs episodes of success and of failure'
        )
    if np.corrcoef(feature, target)[0, 1] <= 0:
        raise RewardModelError(
            'the scores fall as the target rises, so this model cannot be calibrated on these samples; check '
            'labels, instruction and cameras, or use another model'
        )
    return _isotonic(feature, target) if method == 'isotonic' else _platt(feature, target)


def _isotonic(feature: np.ndarray, target: np.ndarray) -> Curve:
    from scipy.optimize import isotonic_regression

    # samples of one score belong together: a curve has one value there
    places, which = np.unique(feature, return_inverse=True)
    weight = np.bincount(which).astype(np.float64)
    mean = np.bincount(which, target) / weight
    result = isotonic_regression(mean, weights=weight)
    starts = np.asarray(result.blocks)[:-1]
    # at most _KNOTS places of about equally many samples; means of a rising curve rise
    group = (np.cumsum(np.add.reduceat(weight, starts)) - 1) * _KNOTS // weight.sum()
    starts = starts[np.r_[True, group[1:] != group[:-1]]]
    count = np.add.reduceat(weight, starts)
    level = np.clip(np.add.reduceat(mean * weight, starts) / count, 0.0, 1.0)
    # flat within a block, linear from one to the next
    ends = np.append(starts[1:], len(places)) - 1
    x, first = np.unique(np.stack([places[starts], places[ends]], axis=1), return_index=True)
    y = np.repeat(level, 2)[first]
    return _with_brier('isotonic', x, y, _neighbours_error(feature, target, x, y), feature, target)


def _neighbours_error(feature: np.ndarray, target: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Standard error of the curve at its knots [K], from the residuals of neighbouring samples."""
    order = np.argsort(feature, kind='stable')
    errors = []
    for rows in np.array_split(order, np.clip(len(order) // LEAST, 1, LEAST)):
        count = len(rows)
        residual = np.mean((target[rows] - np.interp(feature[rows], x, y)) ** 2)
        # after n equal outcomes the next may still differ (rule of succession)
        unseen = (count + 1) / (count + 2) ** 2
        errors.append((feature[rows].mean(), np.sqrt(max(residual, unseen) / count)))
    middles, values = np.array(errors).T
    return np.interp(x, middles, values)


def _platt(feature: np.ndarray, target: np.ndarray) -> Curve:
    centre, scale = float(feature.mean()), float(feature.std())
    design = np.stack([(feature - centre) / scale, np.ones(len(feature))], axis=1)
    positive = float(target.sum())
    high, low = (positive + 1) / (positive + 2), 1 / (len(target) - positive + 2)
    soft = low + (high - low) * target  # finite, also where success and failure never overlap
    beta = np.zeros(2)
    for _ in range(100):
        phi = _sigmoid(design @ beta)
        gradient = design.T @ (soft - phi)
        hessian = (design * (phi * (1 - phi))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        # a step of Newton may overshoot where the curve is flat
        beta = beta + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    phi = _sigmoid(design @ beta)
    hessian = (design * (phi * (1 - phi))[:, None]).T @ design + 1e-9 * np.eye(2)
    covariance = np.linalg.inv(hessian).reshape(-1)
    return _with_brier('platt', np.array([centre, scale]), beta, covariance, feature, target)


def _with_brier(method: Method, x, y, error, feature: np.ndarray, target: np.ndarray) -> Curve:
    curve = Curve(method, x, y, error, len(feature), 0.0)
    brier = float(np.mean((curve(feature) - target) ** 2))
    return Curve(method, x, y, error, len(feature), brier)


def _sigmoid(value: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-np.clip(value, -500, 500)))
