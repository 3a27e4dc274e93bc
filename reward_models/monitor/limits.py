# Copyright 2026 The Apprentice authors. SPDX-License-Identifier: Apache-2.0
"""What is normal: detectors and limits learned from episodes in which the reward model was right, as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from apprentice.reward_models.base import RewardModelError
from apprentice.reward_models.files import read_json, write_json
from apprentice.reward_models.monitor.detector import Detector
from apprentice.reward_models.monitor.drift_detectors import (
    CameraHealth,
    EmbeddingOOD,
    PolicyShift,
    VarianceCollapse,
)
from apprentice.reward_models.monitor.evidence import Evidence
from apprentice.reward_models.monitor.gold_detectors import FalseSuccess, PredicateConflict, ProxyGoldGap
from apprentice.reward_models.monitor.score_detectors import (
    CycleCredit,
    Disagreement,
    InstructionMargin,
    ReversalAsymmetry,
    StaticCredit,
)

DETECTORS: tuple[type[Detector], ...] = (
    ProxyGoldGap,
    InstructionMargin,
    ReversalAsymmetry,
    StaticCredit,
    CycleCredit,
    Disagreement,
    EmbeddingOOD,
    PredicateConflict,
    VarianceCollapse,
    PolicyShift,
    CameraHealth,
    FalseSuccess,
)
LEAST = 10  # episodes in which a number was measured, below which it gets no limit
_FOLDS = 5
_FORMAT = 1


@dataclass(frozen=True)
class Limit:
    """Where an alarm begins.

    Attributes:
        value: NaN: the detector never alarms, too little was measured.
        rate: chance of a false alarm in an episode like those of the calibration set.
        episodes: in which the number was measured.
    """

    value: float = float('nan')
    rate: float = float('nan')
    episodes: int = 0

    def exceeded(self, value: float, high: bool) -> bool:
        """Whether a number is beyond the limit; NaN never is."""
        return value > self.value if high else value < self.value


@dataclass(frozen=True)
class Calibration:
    """Twelve detectors and their limits, for one version of one reward model.

    Attributes:
        false_alarm: the wanted rate per detector and episode.
    """

    model: str
    version: str
    episodes: int
    false_alarm: float
    detectors: tuple[Detector, ...]
    limits: dict[str, Limit] = field(default_factory=dict)

    @classmethod
    def fit(cls, episodes: Sequence[Evidence], false_alarm: float = 0.01) -> Calibration:
        """Fit detectors and limits.

        A limit is the k-th smallest of n numbers with k = ceil((n + 1)(1 - false_alarm)), so a new episode of
        the same kind is beyond it with a chance of at most 1 - k / (n + 1) (split conformal prediction,
        Papadopoulos et al. 2002). With fewer than 1 / false_alarm episodes that is the largest number, and
        the rate 1 / (n + 1) is stated instead. What a detector learns from the set is learned from the other
        four fifths of it when an episode is measured, so that a limit is not flattered.

        Raises RewardModelError for too few episodes and for a mixture of model versions.
        """
        if not 0 < false_alarm < 1:
            raise RewardModelError(f'false_alarm is {false_alarm}; give a rate between 0 and 1')
        if len(episodes) < LEAST:
            raise RewardModelError(
                f'{len(episodes)} calibration episodes; give {LEAST} or more in which the model was right'
            )
        names = {(evidence.model, evidence.version) for evidence in episodes}
        if len(names) > 1:
            raise RewardModelError(
                f'the calibration episodes are scored by {sorted(names)}; use one version of one model'
            )
        detectors = tuple(kind.fitted(episodes) for kind in DETECTORS)
        measured = {detector.name: np.full(len(episodes), np.nan) for detector in detectors}
        for fold in range(_FOLDS):
            inside = [e for i, e in enumerate(episodes) if i % _FOLDS != fold]
            for kind in DETECTORS:
                if kind.fixed is None:
                    detector = kind.fitted(inside)
                    for i in range(fold, len(episodes), _FOLDS):
                        measured[kind.name][i] = detector.measure(episodes[i])
        limits = {d.name: _limit(d, measured[d.name], false_alarm) for d in detectors}
        model, version = names.pop()
        return cls(model, version, len(episodes), false_alarm, detectors, limits)

    @property
    def family_rate(self) -> float:
        """Upper bound of the chance that any detector alarms falsely in an episode: the sum of the rates."""
        rates = [limit.rate for limit in self.limits.values() if np.isfinite(limit.value)]
        return float(min(1.0, sum(rates)))

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        about: dict[str, Any] = {
            'format': _FORMAT,
            'model': self.model,
            'version': self.version,
            'episodes': self.episodes,
            'false_alarm': self.false_alarm,
            'family_rate': self.family_rate,
        }
        about['detectors'] = {
            d.name: {'learned': _plain(asdict(d)), **_plain(asdict(self.limits[d.name]))}
            for d in self.detectors
        }
        write_json(path, about)

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Read what :meth:`save` wrote. Raises RewardModelError naming file and remedy."""
        data = read_json(path)
        try:
            if data['format'] != _FORMAT:
                raise ValueError(f'format {data["format"]}')
            known = {kind.name: kind for kind in DETECTORS}
            detectors, limits = [], {}
            for name, entry in data['detectors'].items():
                learned = {key: _tuples(value) for key, value in entry['learned'].items()}
                detectors.append(known[name](**learned))
                limits[name] = Limit(_number(entry['value']), _number(entry['rate']), entry['episodes'])
            return cls(
                data['model'],
                data['version'],
                data['episodes'],
                data['false_alarm'],
                tuple(detectors),
                limits,
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RewardModelError(
                f'{path} is not a calibration of this version ({type(error).__name__}: {error}); fit it again'
            ) from None


def _limit(detector: Detector, measured: np.ndarray, false_alarm: float) -> Limit:
    values = np.sort(measured[np.isfinite(measured)])
    if detector.fixed is not None:
        return Limit(detector.fixed, detector.rate, 0)
    lowest = getattr(detector, 'lowest', None)
    if lowest is not None:
        return Limit(lowest, 0.01, 0)
    n = len(values)
    if n < LEAST:
        return Limit(episodes=n)
    k = min(n, math.ceil((n + 1) * (1 - false_alarm)))
    value = values[k - 1] + detector.resolution if detector.high else values[n - k] - detector.resolution
    return Limit(float(value), 1 - k / (n + 1), n)


def _plain(value: Any) -> Any:
    """For JSON, which has no NaN: null instead."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _tuples(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return float('nan') if value is None else value


def _number(value: float | None) -> float:
    return float('nan') if value is None else float(value)
